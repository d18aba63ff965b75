import asyncio
import threading

import numpy as np
import pytest
import torch

from models import networks
from models.calibration import Calibration
from models.engine import MAX_BATCH, Engine
from models.errors import EngineFailed, Overloaded
from models.prediction import Prediction, Predictor, Tiles


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

    def predict(self, tiles: Tiles) -> list[Prediction]:
        self.batches.append(len(tiles))
        self.entered.set()
        self.open.wait(30)
        if self.broken:
            raise EngineFailed("the device is gone")
        return super().predict(tiles)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def engine(gate: Gate) -> Engine:
    engine = Engine(gate)
    engine.start()
    yield engine
    gate.open.set()
    engine.close()


TILES = np.random.default_rng(0).integers(0, 256, (2 * MAX_BATCH + 1, 28, 28), dtype=np.uint8)


async def held(engine: Engine, gate: Gate, tiles: np.ndarray) -> list[asyncio.Future[Prediction]]:
    """Occupies the engine with one tile and queues the others behind it."""
    gate.open.clear()
    gate.entered.clear()
    first = asyncio.ensure_future(engine.predict(tiles[0]))
    await asyncio.to_thread(gate.entered.wait, 30)
    others = [asyncio.ensure_future(engine.predict(tile)) for tile in tiles[1:]]
    await asyncio.sleep(0)
    return [first, *others]


@pytest.mark.parametrize("count", range(1, 2 * MAX_BATCH + 2))
def test_every_batch_size_answers_each_caller_with_its_own(count: int, engine: Engine, gate: Gate) -> None:
    single = [gate.predict(tile[None])[0] for tile in TILES[:count]]

    async def together() -> list[Prediction]:
        futures = await held(engine, gate, TILES[:count])
        gate.open.set()
        return await asyncio.gather(*futures)

    for alone, batched in zip(single, asyncio.run(together()), strict=True):
        assert batched.digit == alone.digit
        assert batched.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert max(gate.batches) == max(1, min(count - 1, MAX_BATCH))


def test_a_caller_that_left_is_dropped_and_the_others_are_answered(engine: Engine, gate: Gate) -> None:
    async def scenario() -> list[Prediction | BaseException]:
        futures = await held(engine, gate, TILES[:6])
        futures[3].cancel()
        await asyncio.sleep(0)
        gate.open.set()
        return await asyncio.gather(*futures, return_exceptions=True)

    results = asyncio.run(scenario())
    assert isinstance(results[3], asyncio.CancelledError)
    assert all(isinstance(result, Prediction) for i, result in enumerate(results) if i != 3)
    assert engine.dropped == 1
    assert gate.batches[-1] == 4


def test_a_failed_batch_fails_its_callers_and_the_next_one_works(engine: Engine, gate: Gate) -> None:
    async def scenario() -> None:
        gate.broken = True
        with pytest.raises(EngineFailed, match="the device is gone"):
            await engine.predict(TILES[0])
        assert await engine.check() == "the device is gone"
        gate.broken = False
        assert await engine.check() is None
        assert engine.failure is None
        assert (await engine.predict(TILES[0])).model == "v1"

    asyncio.run(scenario())


def test_no_room_is_said_before_any_work() -> None:
    engine = Engine(Gate(), queue_limit=3)
    with engine.admit(2):
        with pytest.raises(Overloaded, match="QUEUE_LIMIT=3") as caught, engine.admit(2):
            pytest.fail("was admitted")
        assert caught.value.limit == 3
        with engine.admit(1):
            pass
    with engine.admit(3):
        pass


def test_closing_answers_what_was_accepted(gate: Gate) -> None:
    engine = Engine(gate)
    engine.start()

    async def scenario() -> list[Prediction]:
        futures = await held(engine, gate, TILES[:20])
        closing = asyncio.ensure_future(asyncio.to_thread(engine.close))
        gate.open.set()
        answers = await asyncio.gather(*futures)
        await closing
        return answers

    assert len(asyncio.run(scenario())) == 20
    with pytest.raises(EngineFailed, match="closed"):
        asyncio.run(engine.predict(TILES[0]))
