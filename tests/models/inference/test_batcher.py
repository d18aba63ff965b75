import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import DeviceLost, InferenceFailed, NothingDrawn, Overloaded
from models.inference import batcher as engine_module
from models.inference import networks
from models.inference.batcher import MAX_BATCH, SIZES, TURN_SECONDS, DynamicBatcher, InferenceResult
from models.inference.calibration import Calibration
from models.inference.predictor import Prediction, Predictor, Tiles
from models.preprocessing.decode import Picture
from models.preprocessing.normalise import Tile


class Gate(Predictor):
    """A real predictor that waits, so that a test decides what arrives while a batch runs, and fails on demand."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(networks.create("convnet"), Calibration(), "v1", torch.device("cpu"))
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.batches: list[int] = []
        self.broken = False
        self.error: Exception | None = None
        self.poison: np.ndarray | None = None
        network = self._network
        self._network = lambda inputs: self._forward(network, inputs)

    def _forward(self, network: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        if self.error is not None:
            raise self.error
        return network(inputs)

    def predict(self, tiles: Tiles) -> list[Prediction]:
        self.batches.append(len(tiles))
        self.entered.set()
        self.open.wait(30)
        if self.broken:
            raise InferenceFailed("the device is gone")
        if self.poison is not None and (tiles == self.poison).all(axis=(1, 2)).any():
            raise ValueError("poisoned")
        return super().predict(tiles)


@pytest.fixture
def gate() -> Gate:
    return Gate()


TILES = np.random.default_rng(0).integers(0, 256, (2 * MAX_BATCH + 1, 28, 28), dtype=np.uint8)


def scenario(gate: Gate, play: Callable[[DynamicBatcher], Awaitable[Any]], **options: Any) -> Any:
    """Plays with an batcher that runs the predictor in a thread, as on a GPU, unless told otherwise."""

    async def run() -> Any:
        batcher = DynamicBatcher(gate, **{"inline": False, "patience": 30, **options})
        batcher.start()
        gate.batches.clear()
        try:
            return await play(batcher)
        finally:
            gate.open.set()
            await batcher.close()

    return asyncio.run(run())


def predict(batcher: DynamicBatcher, pixels: np.ndarray) -> asyncio.Future[InferenceResult]:
    return batcher.predict(Tile(pixels, ()))


async def held(batcher: DynamicBatcher, gate: Gate, tiles: np.ndarray) -> list[asyncio.Future[InferenceResult]]:
    """Occupies the batcher with one tile and queues the others behind it."""
    gate.open.clear()
    gate.entered.clear()
    first = predict(batcher, tiles[0])
    await asyncio.to_thread(gate.entered.wait, 30)
    return [first, *(predict(batcher, tile) for tile in tiles[1:])]


@pytest.fixture(scope="module")
def alone() -> list[Prediction]:
    gate = Gate()
    return [gate.predict(tile[None])[0] for tile in TILES]


@pytest.mark.parametrize("inline", [True, False])
def test_every_batch_size_answers_each_caller_with_its_own(inline: bool, gate: Gate, alone: list[Prediction]) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        gate.largest = 32 if inline else MAX_BATCH
        for count in range(1, 2 * MAX_BATCH + 2):
            gate.batches.clear()
            batched = await asyncio.gather(*(predict(batcher, tile) for tile in TILES[:count]))
            for one, other in zip(alone, batched, strict=False):
                assert one.digit == other.prediction.digit
                assert one.probabilities == pytest.approx(other.prediction.probabilities, abs=1e-5)
            assert gate.batches[0] == next(size for size in SIZES if size >= min(count, gate.largest))
            assert len(gate.batches) == -(-count // gate.largest)

    scenario(gate, play, inline=inline, max_concurrent_images=1000)


@pytest.mark.parametrize(("share", "largest"), [(1 / 64, 64), (1 / 20, 16), (1 / 2, 2), (3, 1)])
def test_a_batch_on_the_event_loop_is_as_large_as_fits_into_a_turn(
    share: float, largest: int, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """share: of a turn, that an image takes."""
    monkeypatch.setattr(gate, "_seconds", lambda size: size * share * TURN_SECONDS)

    async def play(batcher: DynamicBatcher) -> None:
        await asyncio.gather(*(predict(batcher, tile) for tile in TILES[:MAX_BATCH]))
        assert gate.batches[0] == largest

    scenario(gate, play, inline=True)


def test_in_a_thread_batches_are_of_any_size(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_seconds", lambda size: 1000.0)

    async def play(batcher: DynamicBatcher) -> None:
        assert gate.largest == MAX_BATCH

    scenario(gate, play, inline=False)


def test_what_arrives_during_a_forward_pass_is_the_next_batch(gate: Gate) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        futures = await held(batcher, gate, TILES[:10])
        gate.open.set()
        await asyncio.gather(*futures)
        assert gate.batches == [1, 12]

    scenario(gate, play)


def test_a_caller_that_left_is_dropped_and_the_others_are_answered(gate: Gate) -> None:
    async def play(batcher: DynamicBatcher) -> list[InferenceResult | BaseException]:
        futures = await held(batcher, gate, TILES[:6])
        futures[0].cancel()
        futures[3].cancel()
        gate.open.set()
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert batcher.dropped == 1, "the first one's batch was running already"
        return results

    results = scenario(gate, play)
    assert [isinstance(result, InferenceResult) for result in results] == [False, True, True, False, True, True]
    assert gate.batches[-1] == 4


@pytest.mark.parametrize("inline", [True, False])
def test_a_failed_batch_fails_its_callers_and_the_next_one_works(inline: bool, gate: Gate) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        gate.broken = True
        with pytest.raises(InferenceFailed, match="the device is gone"):
            await predict(batcher, TILES[0])
        assert await batcher.check() == "the device is gone"
        gate.broken = False
        assert await batcher.check() is None
        assert batcher.failure is None
        assert (await predict(batcher, TILES[0])).prediction.model == "v1"

    scenario(gate, play, inline=inline)


def test_a_tile_that_fails_does_not_fail_its_neighbours(gate: Gate) -> None:
    gate.poison = TILES[2]

    async def play(batcher: DynamicBatcher) -> list[InferenceResult | BaseException]:
        return await asyncio.gather(*(predict(batcher, tile) for tile in TILES[:5]), return_exceptions=True)

    results = scenario(gate, play)
    assert [isinstance(result, InferenceResult) for result in results] == [True, True, False, True, True]
    assert isinstance(results[2], InferenceFailed)


def test_a_device_that_hangs_is_told_from_one_that_works_until_it_answers(gate: Gate) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        futures = await held(batcher, gate, TILES[:3])
        for future in futures:
            with pytest.raises(InferenceFailed, match=r"has not answered for 0\.2 s"):
                await future
        assert await batcher.check() == "the device has not answered for 0.2 s"
        with pytest.raises(InferenceFailed, match="has not answered"):
            await predict(batcher, TILES[0])
        gate.open.set()
        async with asyncio.timeout(30):
            while await batcher.check():
                await asyncio.sleep(0.01)
        assert (await predict(batcher, TILES[0])).prediction.model == "v1"

    scenario(gate, play, patience=0.2)


def test_a_device_that_is_lost_is_said_to_be(gate: Gate) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        gate.error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        results = await asyncio.gather(*(predict(batcher, tile) for tile in TILES[:3]), return_exceptions=True)
        assert all(isinstance(result, DeviceLost) for result in results)
        assert batcher.lost
        assert gate.batches == [3], "nothing more is tried on it"

    scenario(gate, play)


def test_no_room_is_said_before_any_work() -> None:
    batcher = DynamicBatcher(Gate(), max_concurrent_images=3)
    batcher.admit(2)
    with pytest.raises(Overloaded, match="INKLING_MAX_CONCURRENT_IMAGES=3") as caught:
        batcher.admit(2)
    assert caught.value.members == {"limit": 3}
    batcher.admit(1)
    batcher.release(3)
    batcher.admit(3)


@pytest.mark.parametrize("inline", [True, False])
def test_closing_answers_what_was_accepted(inline: bool, gate: Gate) -> None:
    async def play(batcher: DynamicBatcher) -> list[InferenceResult]:
        futures = [predict(batcher, tile) for tile in TILES[:100]]
        await batcher.close()
        with pytest.raises(InferenceFailed, match="closed"):
            await predict(batcher, TILES[0])
        assert all(future.done() for future in futures)
        return await asyncio.gather(*futures)

    assert len(scenario(gate, play, inline=inline)) == 100


def test_pictures_that_can_not_be_normalised_fail_alone(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the error is: the batcher goes on."""
    right = engine_module.normalise_all

    def fail(pictures: list[Picture]) -> list[Tile | NothingDrawn]:
        if any((picture.pixels == TILES[1]).all() for picture in pictures):
            raise MemoryError
        return right(pictures)

    monkeypatch.setattr(engine_module, "normalise_all", fail)

    async def play(batcher: DynamicBatcher) -> list[InferenceResult | BaseException]:
        stroke = np.zeros((28, 28), np.uint8)
        stroke[4:24, 12:16] = 255
        futures = [batcher.predict(Picture(tile)) for tile in (stroke, TILES[1], stroke)]
        return await asyncio.gather(*futures, return_exceptions=True)

    for _ in range(2):
        first, second, third = scenario(gate, play)
        assert isinstance(second, InferenceFailed)
        assert isinstance(first, InferenceResult)
        assert isinstance(third, InferenceResult)
