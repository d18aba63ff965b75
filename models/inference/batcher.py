"""The prediction batcher: many callers, one device, batches that form while the previous one runs.

A batch is normalised together as well, as far as its pictures may be tiles already.

There is no timer: a lone tile goes at once, and under load a batch is whatever arrived during the last forward pass.
Everything but the forward pass happens on the event loop. On a CPU the forward pass does too: a batch takes
milliseconds, and handing it to a thread and back costs more than a small one. On any other device it runs in a thread
of its own, since a device can hang.
"""

import asyncio
import functools
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from models.errors import DeviceLost, InferenceFailed, Overloaded
from models.inference.predictor import Prediction, Predictor, Tiles
from models.preprocessing.decode import Picture
from models.preprocessing.normalise import Tile, normalise_all

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Batches are padded to one of these: libraries keep memory for every size that they have seen."""
MAX_BATCH = SIZES[-1]
TURN_SECONDS = 0.006
"""About how long batches keep the event loop to themselves, before others have their turn."""

log = logging.getLogger(__name__)


class InferenceResult(NamedTuple):
    """What a picture was normalised to, and what that was read as."""

    tile: Tile
    prediction: Prediction


class QueuedImage(NamedTuple):
    """since: when it began to wait, as perf_counter tells."""

    picture: Picture | Tile
    future: asyncio.Future[InferenceResult]
    since: float


class BatchItem(NamedTuple):
    """A caller's place in a batch."""

    tile: Tile
    future: asyncio.Future[InferenceResult]
    since: float


PredictionOrError = Prediction | InferenceFailed
Observer = Callable[[Sequence[float], float], None]


class DynamicBatcher:
    """Between pictures and predictions, on one event loop. `start` it before use and `close` it afterwards.

    max_concurrent_images: the most images in flight; patience: seconds after which a device that does not answer is
    taken to hang; inline: whether the forward pass runs on the event loop, None to decide by the device;
    observe: is told of each batch how long each of its images waited and how long it took, in seconds.

    failure: what was wrong with the last batch, None when it went well; lost: the device will not come back in this
    process; dropped: callers that left before their batch began.
    """

    def __init__(
        self,
        predictor: Predictor,
        max_concurrent_images: int = 256,
        *,
        patience: float = 1.0,
        inline: bool | None = None,
        observe: Observer = lambda waits, seconds: None,
    ) -> None:
        self.predictor = predictor
        self.max_concurrent_images = max_concurrent_images
        self.patience = patience
        self.failure: str | None = None
        self.lost = False
        self.dropped = 0
        self.admitted = 0
        self._observe = observe
        self._waiting: deque[QueuedImage] = deque()
        self._running = False
        self._hanging = False
        self._closing = False
        self._rested = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self._tiles = np.zeros((MAX_BATCH, 28, 28), np.uint8)
        inline = predictor.device.type == "cpu" if inline is None else inline
        self._thread = None if inline else ThreadPoolExecutor(1, "batcher")

    def start(self) -> None:
        """Warms the predictor. Raises InferenceFailed."""
        self.warm(self.predictor)

    def warm(self, predictor: Predictor) -> None:
        """Runs the batch sizes that a predictor will see, before it is used. Raises InferenceFailed.

        On the event loop those are the ones that fit into a turn.
        """
        predictor.warm(SIZES, TURN_SECONDS if self._thread is None else math.inf)

    async def close(self) -> None:
        """Answers what was accepted, then takes no more."""
        self._closing = True
        await self._idle.wait()
        if self._thread is not None:
            self._thread.shutdown(wait=not self._hanging)

    def admit(self, images: int = 1) -> None:
        """Takes a place for each image before any work is done on it. Raises Overloaded when there is no room."""
        if self.admitted + images > self.max_concurrent_images:
            raise Overloaded(
                f"no room for {images} more: {self.admitted} images are being answered, "
                f"the limit is INKLING_MAX_CONCURRENT_IMAGES={self.max_concurrent_images}",
                limit=self.max_concurrent_images,
            )
        self.admitted += images

    def release(self, images: int = 1) -> None:
        """Gives the places back that `admit` took."""
        self.admitted -= images

    def predict(self, picture: Picture | Tile) -> asyncio.Future[InferenceResult]:
        """A tile, or a picture that may be one. Cancelling the future leaves its batch untouched.

        It may raise InferenceFailed, and for a picture NothingDrawn.
        """
        if self._closing:
            raise InferenceFailed("the batcher is closed")
        if self._hanging:
            raise InferenceFailed(str(self.failure))
        future: asyncio.Future[InferenceResult] = asyncio.get_running_loop().create_future()
        self._waiting.append(QueuedImage(picture, future, time.perf_counter()))
        if not self._running:
            self._running = True
            self._idle.clear()
            self._soon(self._run_batch)
        return future

    async def check(self) -> str | None:
        """None when the device answers, else what is wrong; after a failure only a real forward pass can tell."""
        if self.failure is not None:
            try:
                await self.predict(_EMPTY)
            except InferenceFailed:
                return self.failure
        return None

    @staticmethod
    def _soon(callback: Callable[[], None]) -> None:
        """Once the loop has gone round: requests that came in together, or since, go together."""
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, callback)

    def _run_batch(self) -> None:
        if self._thread is None:
            self._run_inline()
        elif callers := self._callers_or_idle():
            loop = asyncio.get_running_loop()
            watch = loop.call_later(self.patience, self._hang, callers)
            tiles = self._stacked(callers)
            running = loop.run_in_executor(self._thread, predict_each, self.predictor, tiles, len(callers))
            running.add_done_callback(functools.partial(self._return, callers, time.perf_counter(), watch))

    def _run_inline(self) -> None:
        """Runs one batch, or full ones for as long as the loop was busy with other things.

        So refusing many does not starve the few that were accepted.
        """
        started = time.perf_counter()
        share = min(started - self._rested, TURN_SECONDS)
        while callers := self._callers_or_idle():
            # A batch takes its predictor once, so that a swap does not touch what is in flight.
            began = time.perf_counter()
            answers = predict_each(self.predictor, self._stacked(callers), len(callers))
            self._tell(callers, began)
            self._answer(callers, answers)
            if len(self._waiting) < self.predictor.largest or time.perf_counter() - started >= share:
                self._soon(self._run_batch)
                break
        self._rested = time.perf_counter()

    def _callers_or_idle(self) -> list[BatchItem]:
        callers = self._next_callers()
        if not callers:
            self._running = False
            self._idle.set()
        return callers

    def _stacked(self, callers: list[BatchItem]) -> Tiles:
        for i, caller in enumerate(callers):
            self._tiles[i] = caller.tile.pixels
        return self._tiles[: next(size for size in SIZES if size >= len(callers))]

    def _next_callers(self) -> list[BatchItem]:
        places: list[BatchItem] = []
        while self._waiting and not places:
            callers: list[QueuedImage] = []
            while self._waiting and len(callers) < self.predictor.largest:
                caller = self._waiting.popleft()
                if caller.future.done():
                    self.dropped += 1
                else:
                    callers.append(caller)
            places = _normalised(callers)
        return places

    def _return(
        self,
        callers: list[BatchItem],
        began: float,
        watch: asyncio.TimerHandle,
        running: asyncio.Future[Sequence[PredictionOrError]],
    ) -> None:
        watch.cancel()
        self._tell(callers, began)
        self._hanging = False
        self._answer(callers, running.result())
        self._soon(self._run_batch)

    def _tell(self, callers: list[BatchItem], began: float) -> None:
        self._observe([began - caller.since for caller in callers], time.perf_counter() - began)

    def _answer(self, callers: list[BatchItem], results: Sequence[PredictionOrError]) -> None:
        self.failure = None
        for (tile, future, _), outcome in zip(callers, results, strict=True):
            if isinstance(outcome, InferenceFailed):
                self.failure = str(outcome)
                self.lost = self.lost or isinstance(outcome, DeviceLost)
            if future.done():  # cancelled while its batch ran
                continue
            if isinstance(outcome, InferenceFailed):
                future.set_exception(outcome)
            else:
                future.set_result(InferenceResult(tile, outcome))

    def _hang(self, places: list[BatchItem]) -> None:
        """Refuses everybody until the device answers after all."""
        self._hanging = True
        self.failure = f"the device has not answered for {self.patience:g} s"
        log.error(self.failure)
        for future in [place.future for place in places] + [caller.future for caller in self._waiting]:
            if not future.done():
                future.set_exception(InferenceFailed(self.failure))
        self._waiting.clear()
        self._idle.set()


_EMPTY = Tile(np.zeros((28, 28), np.uint8), ())


def _normalised(callers: list[QueuedImage]) -> list[BatchItem]:
    """Together; those whose pictures show nothing, or can not be normalised, are told so."""
    found = [caller.picture for caller in callers if isinstance(caller.picture, Picture)]
    try:
        tiles = iter(normalise_all(found))
    except Exception as error:
        log.exception("normalising failed")
        if len(callers) > 1:  # one must not fail others
            return [place for caller in callers for place in _normalised([caller])]
        callers[0].future.set_exception(InferenceFailed(f"normalising failed: {error}"))
        return []
    places = []
    for picture, future, since in callers:
        tile = picture if isinstance(picture, Tile) else next(tiles)
        if isinstance(tile, Tile):
            places.append(BatchItem(tile, future, since))
        else:
            future.set_exception(tile)
    return places


def predict_each(predictor: Predictor, tiles: Tiles, count: int) -> list[PredictionOrError]:
    """What becomes of the first `count` tiles. Where the batch fails each is tried alone: one must not fail others."""
    try:
        return list(predictor.predict(tiles)[:count])
    except InferenceFailed as error:
        if count == 1 or isinstance(error, DeviceLost):
            return [error] * count
    except Exception as error:
        log.exception("prediction failed")
        if count == 1:
            return [InferenceFailed(f"prediction failed: {error}")]
    return [predict_each(predictor, tiles[i : i + 1], 1)[0] for i in range(count)]
