import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import DeviceLost, InferenceFailed, NothingDrawn, Overloaded
from models.inference import batcher as batcher_module
from models.inference import networks
from models.inference.batcher import BATCH_SIZES, TURN_SECONDS, DynamicBatcher, InferenceResult
from models.inference.calibration import Calibration
from models.inference.predictor import Prediction, Tiles
from models.inference.torch_predictor import TorchPredictor
from models.preprocessing.decode import Picture
from models.preprocessing.normalise import Tile

MAX_BATCH = BATCH_SIZES[-1]


class GatedPredictor(TorchPredictor):
    """A real predictor that waits while its gate is closed, and fails on demand."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(networks.create("convnet"), Calibration(), "v1")
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
def predictor() -> GatedPredictor:
    return GatedPredictor()


TILES = np.random.default_rng(0).integers(0, 256, (2 * MAX_BATCH + 1, 28, 28), dtype=np.uint8)


def run_with_batcher(
    predictor: GatedPredictor, play: Callable[[DynamicBatcher], Awaitable[Any]], **options: Any
) -> Any:
    """Runs a test with a batcher whose predictor runs in a thread, as on a GPU, unless `options` say otherwise."""

    async def run() -> Any:
        batcher = DynamicBatcher(predictor, **{"inline": False, "timeout": 30, **options})
        batcher.start()
        predictor.batches.clear()
        try:
            return await play(batcher)
        finally:
            predictor.open.set()
            await batcher.close()

    return asyncio.run(run())


def predict(batcher: DynamicBatcher, pixels: np.ndarray) -> asyncio.Future[InferenceResult]:
    return batcher.predict(Tile(pixels, ()))


async def hold(
    batcher: DynamicBatcher, predictor: GatedPredictor, tiles: np.ndarray
) -> list[asyncio.Future[InferenceResult]]:
    """Occupies the batcher with one tile and queues the others behind it."""
    predictor.open.clear()
    predictor.entered.clear()
    first = predict(batcher, tiles[0])
    await asyncio.to_thread(predictor.entered.wait, 30)
    return [first, *(predict(batcher, tile) for tile in tiles[1:])]


@pytest.fixture(scope="module")
def single_predictions() -> list[Prediction]:
    predictor = GatedPredictor()
    return [predictor.predict(tile[None])[0] for tile in TILES]


@pytest.mark.processes
@pytest.mark.parametrize("inline", [True, False])
def test_every_batch_size_gives_each_image_its_own_prediction(
    inline: bool, predictor: GatedPredictor, single_predictions: list[Prediction]
) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        predictor.max_batch_size = 32 if inline else MAX_BATCH
        for count in range(1, 2 * MAX_BATCH + 2):
            predictor.batches.clear()
            batched = await asyncio.gather(*(predict(batcher, tile) for tile in TILES[:count]))
            for one, other in zip(single_predictions, batched, strict=False):
                assert one.digit == other.prediction.digit
                assert one.probabilities == pytest.approx(other.prediction.probabilities, abs=1e-5)
            assert predictor.batches[0] == next(
                size for size in BATCH_SIZES if size >= min(count, predictor.max_batch_size)
            )
            assert len(predictor.batches) == -(-count // predictor.max_batch_size)

    run_with_batcher(predictor, play, inline=inline, max_concurrent_images=1000)


@pytest.mark.parametrize(("share", "largest"), [(1 / 64, 64), (1 / 20, 16), (1 / 2, 2), (3, 1)])
def test_an_inline_batch_is_as_large_as_fits_into_a_turn(
    share: float, largest: int, predictor: GatedPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """share: how much of a turn one image takes."""
    monkeypatch.setattr(predictor, "_time_forward", lambda size: size * share * TURN_SECONDS)

    async def play(batcher: DynamicBatcher) -> None:
        await asyncio.gather(*(predict(batcher, tile) for tile in TILES[:MAX_BATCH]))
        assert predictor.batches[0] == largest

    run_with_batcher(predictor, play, inline=True)


def test_batches_in_a_thread_have_no_time_limit(predictor: GatedPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "_time_forward", lambda size: 1000.0)

    async def play(batcher: DynamicBatcher) -> None:
        assert predictor.max_batch_size == MAX_BATCH

    run_with_batcher(predictor, play, inline=False)


def test_images_that_arrive_during_a_forward_pass_form_the_next_batch(predictor: GatedPredictor) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        futures = await hold(batcher, predictor, TILES[:10])
        predictor.open.set()
        await asyncio.gather(*futures)
        assert predictor.batches == [1, 12]

    run_with_batcher(predictor, play)


def test_a_cancelled_image_is_dropped_and_the_others_are_answered(predictor: GatedPredictor) -> None:
    async def play(batcher: DynamicBatcher) -> list[InferenceResult | BaseException]:
        futures = await hold(batcher, predictor, TILES[:6])
        futures[0].cancel()
        futures[3].cancel()
        predictor.open.set()
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert batcher.dropped == 1, "the batch of the first was already running"
        return results

    results = run_with_batcher(predictor, play)
    assert [isinstance(result, InferenceResult) for result in results] == [False, True, True, False, True, True]
    assert predictor.batches[-1] == 4


@pytest.mark.parametrize("inline", [True, False])
def test_a_failed_batch_fails_its_images_and_the_next_one_works(inline: bool, predictor: GatedPredictor) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        predictor.broken = True
        with pytest.raises(InferenceFailed, match="the device is gone"):
            await predict(batcher, TILES[0])
        assert await batcher.check() == "the device is gone"
        predictor.broken = False
        assert await batcher.check() is None
        assert batcher.failure is None
        assert (await predict(batcher, TILES[0])).prediction.model == "v1"

    run_with_batcher(predictor, play, inline=inline)


def test_a_tile_that_fails_does_not_fail_its_neighbours(predictor: GatedPredictor) -> None:
    predictor.poison = TILES[2]

    async def play(batcher: DynamicBatcher) -> list[InferenceResult | BaseException]:
        return await asyncio.gather(*(predict(batcher, tile) for tile in TILES[:5]), return_exceptions=True)

    results = run_with_batcher(predictor, play)
    assert [isinstance(result, InferenceResult) for result in results] == [True, True, False, True, True]
    assert isinstance(results[2], InferenceFailed)


def test_a_hanging_device_is_reported_until_it_answers(predictor: GatedPredictor) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        futures = await hold(batcher, predictor, TILES[:3])
        for future in futures:
            with pytest.raises(InferenceFailed, match=r"has not answered for 0\.2 s"):
                await future
        assert await batcher.check() == "the device has not answered for 0.2 s"
        with pytest.raises(InferenceFailed, match="has not answered"):
            await predict(batcher, TILES[0])
        predictor.open.set()
        async with asyncio.timeout(30):
            while await batcher.check():
                await asyncio.sleep(0.01)
        assert (await predict(batcher, TILES[0])).prediction.model == "v1"

    run_with_batcher(predictor, play, timeout=0.2)


def test_a_lost_device_is_reported_and_not_tried_again(predictor: GatedPredictor) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        predictor.error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        results = await asyncio.gather(*(predict(batcher, tile) for tile in TILES[:3]), return_exceptions=True)
        assert all(isinstance(result, DeviceLost) for result in results)
        assert batcher.lost
        assert predictor.batches == [3], "single tiles are not tried"

    run_with_batcher(predictor, play)


def test_an_idle_device_that_died_is_found_by_the_next_check(
    predictor: GatedPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(batcher: DynamicBatcher) -> None:
        await predict(batcher, TILES[0])
        predictor.broken = True
        assert await batcher.check() is None, "the last success is recent"
        assert batcher.failure is None
        monkeypatch.setattr(batcher_module, "SUCCESS_LASTS_SECONDS", 0.0)
        assert await batcher.check() == "the device is gone"
        assert batcher.failure == "the device is gone"
        predictor.broken = False
        assert await batcher.check() is None

    run_with_batcher(predictor, play)


def test_an_idle_device_that_hangs_is_found_within_the_timeout(
    predictor: GatedPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher_module, "SUCCESS_LASTS_SECONDS", 0.0)

    async def play(batcher: DynamicBatcher) -> None:
        predictor.open.clear()
        async with asyncio.timeout(20):
            assert await batcher.check() == "the device has not answered for 0.2 s"

    run_with_batcher(predictor, play, timeout=0.2)


def test_concurrent_checks_share_one_forward_pass(predictor: GatedPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "SUCCESS_LASTS_SECONDS", 0.0)

    async def play(batcher: DynamicBatcher) -> None:
        predictor.open.clear()
        checks = [asyncio.create_task(batcher.check()) for _ in range(5)]
        await asyncio.to_thread(predictor.entered.wait, 30)
        checks += [asyncio.create_task(batcher.check()) for _ in range(5)]
        checks.pop(0).cancel()  # a probe that gave up leaves the pass to the others
        await asyncio.sleep(0)
        predictor.open.set()
        assert await asyncio.gather(*checks) == [None] * 9
        assert predictor.batches == [1]

    run_with_batcher(predictor, play)


def test_a_check_on_the_cpu_runs_nothing(predictor: GatedPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "SUCCESS_LASTS_SECONDS", 0.0)

    async def play(batcher: DynamicBatcher) -> None:
        assert await batcher.check() is None
        assert predictor.batches == []

    run_with_batcher(predictor, play, inline=True)


def test_admission_is_refused_above_the_limit() -> None:
    batcher = DynamicBatcher(GatedPredictor(), max_concurrent_images=3)
    batcher.admit(2)
    with pytest.raises(Overloaded, match="INKLING_MAX_CONCURRENT_IMAGES=3") as caught:
        batcher.admit(2)
    assert caught.value.members == {"limit": 3}
    batcher.admit(1)
    batcher.release(3)
    batcher.admit(3)


@pytest.mark.parametrize("inline", [True, False])
def test_closing_answers_queued_images(inline: bool, predictor: GatedPredictor) -> None:
    async def play(batcher: DynamicBatcher) -> list[InferenceResult]:
        futures = [predict(batcher, tile) for tile in TILES[:100]]
        await batcher.close()
        with pytest.raises(InferenceFailed, match="closed"):
            await predict(batcher, TILES[0])
        assert all(future.done() for future in futures)
        return await asyncio.gather(*futures)

    assert len(run_with_batcher(predictor, play, inline=inline)) == 100


def test_an_image_that_cannot_be_normalised_fails_alone(
    predictor: GatedPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batcher survives any exception."""
    original = batcher_module.normalise_all

    def fail(pictures: list[Picture]) -> list[Tile | NothingDrawn]:
        if any((picture.pixels == TILES[1]).all() for picture in pictures):
            raise MemoryError
        return original(pictures)

    monkeypatch.setattr(batcher_module, "normalise_all", fail)

    async def play(batcher: DynamicBatcher) -> list[InferenceResult | BaseException]:
        stroke = np.zeros((28, 28), np.uint8)
        stroke[4:24, 12:16] = 255
        futures = [batcher.predict(Picture(tile)) for tile in (stroke, TILES[1], stroke)]
        return await asyncio.gather(*futures, return_exceptions=True)

    for _ in range(2):
        first, second, third = run_with_batcher(predictor, play)
        assert isinstance(second, InferenceFailed)
        assert isinstance(first, InferenceResult)
        assert isinstance(third, InferenceResult)
