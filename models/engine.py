"""The prediction engine: many callers, one device, batches that form while the previous one runs.

There is no timer: a lone tile goes at once, and under load a batch is whatever arrived during the last forward pass.
One thread owns the predictor, since each thread that calls torch brings a pool of its own.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np

from models.errors import EngineFailed, Overloaded
from models.pictures import Pixels
from models.prediction import Prediction, Predictor

MAX_BATCH = 64

log = logging.getLogger(__name__)


class Engine:
    """Between tiles and predictions. `start` it before use and `close` it afterwards."""

    def __init__(self, predictor: Predictor, queue_limit: int = 256) -> None:
        self.predictor = predictor
        self.queue_limit = queue_limit
        self.failure: str | None = None
        self.dropped = 0
        self._admitted = 0
        self._waiting: deque[tuple[Pixels, Future[Prediction]]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Warms the predictor and begins to answer. Raises EngineFailed."""
        self.warm(self.predictor)
        self._thread.start()

    @staticmethod
    def warm(predictor: Predictor) -> None:
        """Runs the batch sizes that a predictor will see, before it is used. Raises EngineFailed."""
        predictor.warm((1, MAX_BATCH))

    def close(self) -> None:
        """Answers what was accepted, then ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    @contextmanager
    def admit(self, images: int = 1) -> Iterator[None]:
        """Takes a place for each image before any work is done on it. Raises Overloaded when there is no room."""
        if self._admitted + images > self.queue_limit:
            raise Overloaded(
                f"no room for {images} more: {self._admitted} images are being answered, "
                f"the limit is QUEUE_LIMIT={self.queue_limit}",
                self.queue_limit,
            )
        self._admitted += images
        try:
            yield
        finally:
            self._admitted -= images

    async def predict(self, tile: Pixels) -> Prediction:
        """One tile, uint8 [28, 28]. Raises EngineFailed. A caller that is cancelled leaves its batch untouched."""
        return await asyncio.wrap_future(self._submit(tile))

    async def check(self) -> str | None:
        """None when the device answers, else what is wrong; after a failure only a real forward pass can tell."""
        if self.failure is not None:
            try:
                async with asyncio.timeout(5):
                    await self.predict(np.zeros((28, 28), np.uint8))
            except (EngineFailed, TimeoutError):
                return self.failure
        return None

    def _submit(self, tile: Pixels) -> Future[Prediction]:
        future: Future[Prediction] = Future()
        with self._changed:
            if self._closing:
                raise EngineFailed("the engine is closed")
            self._waiting.append((tile, future))
            self._changed.notify()
        return future

    def _run(self) -> None:
        while batch := self._next_batch():
            tiles = np.stack([tile for tile, _ in batch])
            futures = [future for _, future in batch]
            try:
                predictions = self.predictor.predict(tiles)
            except Exception as error:
                self._fail(futures, error)
                continue
            self.failure = None
            for future, prediction in zip(futures, predictions, strict=True):
                future.set_result(prediction)

    def _next_batch(self) -> list[tuple[Pixels, Future[Prediction]]]:
        """Waits for work; empty once the engine is closing and everything is answered."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return []
                found = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
            batch = [(tile, future) for tile, future in found if future.set_running_or_notify_cancel()]
            self.dropped += len(found) - len(batch)
            if batch:
                return batch

    def _fail(self, futures: list[Future[Prediction]], error: Exception) -> None:
        failure = error if isinstance(error, EngineFailed) else EngineFailed(f"prediction failed: {error}")
        if not isinstance(error, EngineFailed):
            log.exception("prediction failed")
        self.failure = str(failure)
        for future in futures:
            future.set_exception(failure)
