"""Dynamic batching: images of many requests share one forward pass on one device.

There is no timer. A lone image runs at once; while a batch runs, the images that arrive form the next one.

Everything but the forward pass happens on the event loop. On a CPU the forward pass does too, because handing a batch
of a few milliseconds to a thread costs more than it saves. On any other device it runs in a thread, because a device
can hang.
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
from models.preprocessing.normalise import TILE_SIDE, Tile, normalise_all

BATCH_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Batches are padded to one of these sizes where the library keeps memory for every size that it has seen."""
TURN_SECONDS = 0.006  # the longest that batches run on the event loop before other callbacks get a turn
SUCCESS_LASTS_SECONDS = 3.0  # how long after a forward pass a device other than the CPU counts as working

log = logging.getLogger(__name__)


class InferenceResult(NamedTuple):
    """The tile that an image was normalised to, and its prediction."""

    tile: Tile
    prediction: Prediction


class QueuedImage(NamedTuple):
    """An image that waits for a batch; since: when it was queued, by perf_counter."""

    picture: Picture | Tile
    future: asyncio.Future[InferenceResult]
    since: float


class BatchItem(NamedTuple):
    """A queued image, normalised."""

    tile: Tile
    future: asyncio.Future[InferenceResult]
    since: float


PredictionOrError = Prediction | InferenceFailed
Observer = Callable[[Sequence[float], float], None]


class DynamicBatcher:
    """Queues images and predicts them in batches, on one event loop. Call `start` before use and `close` afterwards.

    predictor: may be replaced at any time, because each batch keeps the one that it began with.
    max_concurrent_images: the most images in flight. timeout: seconds after which a device that has not finished a
    batch counts as hanging. inline: whether the forward pass runs on the event loop; None decides by the device.
    observe: called after each batch with the seconds that each image waited and the seconds that the batch took.

    failure: why the last batch failed, None if it did not. lost: this process cannot use the device any more.
    dropped: images whose client disconnected before their batch began. admitted: images in flight.
    """

    def __init__(
        self,
        predictor: Predictor,
        max_concurrent_images: int = 256,
        *,
        timeout: float = 1.0,
        inline: bool | None = None,
        observe: Observer = lambda waits, seconds: None,
    ) -> None:
        self.predictor = predictor
        self.max_concurrent_images = max_concurrent_images
        self.timeout = timeout
        self.failure: str | None = None
        self.lost = False
        self.dropped = 0
        self.admitted = 0
        self._observe = observe
        self._queue: deque[QueuedImage] = deque()
        self._active = False
        self._hanging = False
        self._closing = False
        self._turn_ended = 0.0
        self._succeeded = -math.inf
        self._probe: asyncio.Future[InferenceResult] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._tiles = np.zeros((BATCH_SIZES[-1], TILE_SIDE, TILE_SIDE), np.uint8)
        inline = predictor.device == "cpu" if inline is None else inline
        self._thread = None if inline else ThreadPoolExecutor(1, "batcher")

    def start(self) -> None:
        """Warms the predictor. Raises InferenceFailed."""
        self.warm(self.predictor)
        self._succeeded = time.perf_counter()

    def warm(self, predictor: Predictor) -> None:
        """Runs a predictor at the batch sizes that it will see; on the event loop, those that fit into a turn.

        Raises InferenceFailed.
        """
        predictor.warm(BATCH_SIZES, TURN_SECONDS if self._thread is None else math.inf)

    async def close(self) -> None:
        """Refuses new images and waits until those in flight are answered."""
        self._closing = True
        await self._idle.wait()
        if self._thread is not None:
            self._thread.shutdown(wait=not self._hanging)

    def admit(self, images: int = 1) -> None:
        """Counts images as in flight, before any work on them. Raises Overloaded when they exceed the limit."""
        if self.admitted + images > self.max_concurrent_images:
            raise Overloaded(
                f"no room for {images} more images: {self.admitted} are in flight, "
                f"the limit is INKLING_MAX_CONCURRENT_IMAGES={self.max_concurrent_images}",
                limit=self.max_concurrent_images,
            )
        self.admitted += images

    def release(self, images: int = 1) -> None:
        """Ends what `admit` began."""
        self.admitted -= images

    def predict(self, picture: Picture | Tile) -> asyncio.Future[InferenceResult]:
        """Queues a tile, or an image for which `may_be_ready` holds. Cancelling the future leaves its batch untouched.

        Raises InferenceFailed, at once or from the future; the future also raises NothingDrawn.
        """
        if self._closing:
            raise InferenceFailed("the batcher is closed")
        if self._hanging:
            raise InferenceFailed(str(self.failure))
        future: asyncio.Future[InferenceResult] = asyncio.get_running_loop().create_future()
        self._queue.append(QueuedImage(picture, future, time.perf_counter()))
        if not self._active:
            self._active = True
            self._idle.clear()
            self._schedule_batch()
        return future

    async def check(self) -> str | None:
        """Returns None if the device works, otherwise the reason why not.

        Runs a forward pass, which concurrent calls share, after a failure. An idle device can fail unnoticed, so unless
        it is the CPU it also does when no batch has succeeded for SUCCESS_LASTS_SECONDS.
        """
        expired = self._thread is not None and time.perf_counter() - self._succeeded > SUCCESS_LASTS_SECONDS
        if self.failure is None and not expired:
            return None
        try:
            if self._probe is None or self._probe.done():
                self._probe = self.predict(_EMPTY_TILE)
            await asyncio.shield(self._probe)
        except InferenceFailed as error:
            return str(error)
        return None

    def _schedule_batch(self) -> None:
        """Runs a batch after one more iteration of the event loop, so that it includes what arrives in between."""
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._run_batch)

    def _run_batch(self) -> None:
        if self._thread is None:
            self._run_inline()
        elif batch := self._next_batch():
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self.timeout, self._hang, batch)
            tiles = self._stack(batch)
            running = loop.run_in_executor(self._thread, predict_each, self.predictor, tiles, len(batch))
            running.add_done_callback(functools.partial(self._end_batch, batch, time.perf_counter(), timer))

    def _run_inline(self) -> None:
        """Runs one batch, then full ones for as long as the event loop was busy with other callbacks.

        Refusing many requests then does not starve those that were admitted.
        """
        started = time.perf_counter()
        turn = min(started - self._turn_ended, TURN_SECONDS)
        while batch := self._next_batch():
            began = time.perf_counter()
            results = predict_each(self.predictor, self._stack(batch), len(batch))
            self._answer(batch, began, results)
            if len(self._queue) < self.predictor.max_batch_size or time.perf_counter() - started >= turn:
                self._schedule_batch()
                break
        self._turn_ended = time.perf_counter()

    def _next_batch(self) -> list[BatchItem]:
        """Takes the next batch from the queue. An empty one ends the activity until the next image is queued."""
        batch: list[BatchItem] = []
        while self._queue and not batch:
            images: list[QueuedImage] = []
            while self._queue and len(images) < self.predictor.max_batch_size:
                image = self._queue.popleft()
                if image.future.done():
                    self.dropped += 1
                else:
                    images.append(image)
            batch = normalise_images(images)
        if not batch:
            self._active = False
            self._idle.set()
        return batch

    def _stack(self, batch: list[BatchItem]) -> Tiles:
        for i, item in enumerate(batch):
            self._tiles[i] = item.tile.pixels
        size = len(batch)
        return self._tiles[: size if self.predictor.any_size else next(one for one in BATCH_SIZES if one >= size)]

    def _end_batch(
        self,
        batch: list[BatchItem],
        began: float,
        timer: asyncio.TimerHandle,
        running: asyncio.Future[list[PredictionOrError]],
    ) -> None:
        timer.cancel()
        self._hanging = False
        self._answer(batch, began, running.result())
        self._schedule_batch()

    def _answer(self, batch: list[BatchItem], began: float, results: list[PredictionOrError]) -> None:
        ended = time.perf_counter()
        self._observe([began - item.since for item in batch], ended - began)
        self.failure = None
        for item, result in zip(batch, results, strict=True):
            if isinstance(result, InferenceFailed):
                self.failure = str(result)
                self.lost = self.lost or isinstance(result, DeviceLost)
            if item.future.done():  # the client left, or the device answers after its timeout
                continue
            if isinstance(result, InferenceFailed):
                item.future.set_exception(result)
            else:
                item.future.set_result(InferenceResult(item.tile, result))
        if self.failure is None:
            self._succeeded = ended

    def _hang(self, batch: list[BatchItem]) -> None:
        """Fails every image in flight; `predict` refuses more until the device answers after all."""
        self._hanging = True
        self.failure = f"the device has not answered for {self.timeout:g} s"
        log.error(self.failure)
        for future in [item.future for item in batch] + [image.future for image in self._queue]:
            if not future.done():
                future.set_exception(InferenceFailed(self.failure))
        self._queue.clear()
        self._idle.set()


_EMPTY_TILE = Tile(np.zeros((TILE_SIDE, TILE_SIDE), np.uint8), ())


def normalise_images(images: list[QueuedImage]) -> list[BatchItem]:
    """Normalises images together, and fails those that show no digit or cannot be normalised."""
    pictures = [image.picture for image in images if isinstance(image.picture, Picture)]
    try:
        tiles = iter(normalise_all(pictures))
    except Exception as error:
        log.exception("normalising failed")
        if len(images) > 1:  # one image must not fail the others
            return [item for image in images for item in normalise_images([image])]
        images[0].future.set_exception(InferenceFailed(f"normalising failed: {error}"))
        return []
    batch = []
    for picture, future, since in images:
        tile = picture if isinstance(picture, Tile) else next(tiles)
        if isinstance(tile, Tile):
            batch.append(BatchItem(tile, future, since))
        else:
            future.set_exception(tile)
    return batch


def predict_each(predictor: Predictor, tiles: Tiles, count: int) -> list[PredictionOrError]:
    """Predicts the first `count` tiles, and each alone when the batch fails: one tile must not fail the others."""
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
