"""What the service does, without HTTP: admits, decodes and predicts images with the active version."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from app.observability.metrics import Metrics, WorkerState
from app.settings import Settings
from models import cpus, devices
from models.errors import InferenceFailed, InklingError, VersionError
from models.inference.batcher import TURN_SECONDS, DynamicBatcher, InferenceResult
from models.inference.predictor import Predictor
from models.preprocessing.decode import is_small
from models.preprocessing.decoder_pool import DecoderPool
from models.preprocessing.normalise import Tile, normalise
from models.registry.registry import ModelRegistry

WATCH_SECONDS = PUBLISH_SECONDS = 0.5
RETRY_SECONDS = 30.0
"""How long a version that does not load is left alone: its files may be mended, or its disk mounted again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Health:
    model: str
    device: str
    runtime: str
    uptime_seconds: float


class Inference:
    """One worker's batcher and decoders. `open` before use, `close` afterwards.

    on_swap: called in a thread with the predictor of another version before it takes over.
    """

    def __init__(self, settings: Settings, metrics: Metrics, workers: int = 1) -> None:
        """workers: how many processes share this machine's cores."""
        self.settings = settings
        self.metrics = metrics
        self.on_swap: Callable[[Predictor], None] = lambda predictor: None
        self._opened = time.monotonic()
        self._batcher: DynamicBatcher | None = None
        # A worker's share of the cores. More would hold more large images in memory and starve the event loops.
        self.decoders = DecoderPool(max(1, cpus.usable() // workers), settings.max_pixels, metrics.decoded)
        self._refused_version: str | None = None
        self._refused_at = 0.0
        self._logged_error = ""

    @property
    def batcher(self) -> DynamicBatcher:
        if self._batcher is None:
            raise RuntimeError("open() has not been called")
        return self._batcher

    def open(self, served: str | None = None) -> None:
        """Loads and warms the active version, once. Raises InklingError for what the operator can correct.

        served: what this service has served so far; it goes on with it if the active version cannot be loaded any more,
        and writes nothing. None at the start of the service, which brings HOME up to date.
        """
        if self._batcher is not None:
            return
        device = devices.resolve(self.settings.device)
        registry = ModelRegistry(self.settings.home, self.settings.runtime)
        if served is None:
            registry.seed(self.settings.initial_model)
        try:
            predictor = registry.predictor(registry.active(), device)
        except VersionError as error:
            if served is None:
                raise
            predictor = registry.predictor(served, device)
            log.error("%s; going on with %s, which was served last", error, served)
        batcher = DynamicBatcher(predictor, self.settings.max_concurrent_images, observe=self.metrics.batch)
        batcher.start()
        self._batcher = batcher

    async def close(self) -> None:
        """Answers what was accepted, then closes the batcher and the decoders."""
        if self._batcher is not None:
            await self._batcher.close()
        await self.decoders.close()

    def submit(self, data: bytes) -> asyncio.Future[InferenceResult]:
        """Admits, decodes and predicts one image. Counts it and releases its admission when the future is done.

        A small image is decoded here, so that a caller without a task can use this; any other beside the event loop.
        Raises Overloaded and, for a small image, PictureError or InferenceFailed; the future raises the same errors.
        Cancelling the future ends the work.
        """
        self.batcher.admit()
        try:
            future = self._start(data)
        except BaseException:
            self.batcher.release()
            raise
        future.add_done_callback(self._finish)
        return future

    async def predict_batch(self, images: Sequence[bytes]) -> list[InferenceResult | InklingError]:
        """As `submit`, for each image; one that fails gives its error. Raises Overloaded unless all can be admitted."""
        self.batcher.admit(len(images))
        started: list[asyncio.Future[InferenceResult] | InklingError] = []
        turn_began = perf_counter()
        try:
            for data in images:
                if perf_counter() - turn_began > TURN_SECONDS:
                    await asyncio.sleep(0)
                    turn_began = perf_counter()
                try:
                    started.append(self._start(data))
                except InklingError as error:
                    started.append(error)
            results = [await _result_or_error(one) for one in started]
        finally:
            self.batcher.release(len(images))
            for one in started:
                if isinstance(one, asyncio.Future):
                    one.cancel()
        for result in results:
            if isinstance(result, InferenceResult):
                self.metrics.prediction(result.prediction)
        return results

    async def normalise(self, data: bytes) -> Tile:
        """The tile that the network would see for an image. Raises PictureError and Overloaded."""
        self.batcher.admit()
        try:
            image = self.decoders.decode_small(data) if is_small(data) else await self.decoders.decode(data)
            return image if isinstance(image, Tile) else normalise(image)
        finally:
            self.batcher.release()

    async def health(self) -> Health:
        """The version and device that predict. Raises InferenceFailed with the reason if they cannot."""
        if (reason := await self.batcher.check()) is not None:
            raise InferenceFailed(reason)
        predictor = self.batcher.predictor
        return Health(predictor.model, predictor.device, predictor.runtime, round(time.monotonic() - self._opened, 3))

    def state(self) -> WorkerState:
        """This worker's state, for /metrics."""
        batcher = self.batcher
        return WorkerState(
            version=batcher.predictor.model,
            device=batcher.predictor.device,
            runtime=batcher.predictor.runtime,
            ready=batcher.failure is None,
            queued=batcher.admitted,
            limit=batcher.max_concurrent_images,
            dropped=batcher.dropped,
        )

    async def watch_active_version(self) -> None:
        """Swaps to a newly activated version within WATCH_SECONDS, for as long as the service runs."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await asyncio.to_thread(self._swap)
            except Exception:  # the next activation may succeed
                log.exception("cannot check the active version")

    async def publish_metrics(self) -> None:
        """Shares this worker's metrics with the others every PUBLISH_SECONDS, for as long as the service runs."""
        while True:
            self.metrics.publish(self.state())
            await asyncio.sleep(PUBLISH_SECONDS)

    def _start(self, data: bytes) -> asyncio.Future[InferenceResult]:
        """Decodes and predicts an image that has been admitted."""
        if is_small(data):
            return self.batcher.predict(self.decoders.decode_small(data))
        return asyncio.ensure_future(self._predict_large(data))

    def _finish(self, future: asyncio.Future[InferenceResult]) -> None:
        self.batcher.release()
        if not future.cancelled() and future.exception() is None:
            self.metrics.prediction(future.result().prediction)

    async def _predict_large(self, data: bytes) -> InferenceResult:
        return await self.batcher.predict(await self.decoders.decode(data))

    def _swap(self) -> None:
        """Loads and warms a newly activated version beside the running one, which stays if that fails."""
        registry = ModelRegistry(self.settings.home, self.settings.runtime)
        current = self.batcher.predictor
        name = None
        try:
            name = registry.active()
            if name == current.model:
                return
            if name == self._refused_version and time.monotonic() - self._refused_at < RETRY_SECONDS:
                return
            predictor = registry.predictor(name, current.device)
            self.batcher.warm(predictor)
        except (InklingError, OSError) as error:
            self._refused_version, self._refused_at = name, time.monotonic()
            if str(error) != self._logged_error:
                log.error("%s stays active: %s", current.model, error)
            self._logged_error = str(error)
            return
        self.on_swap(predictor)
        # A batch takes the predictor once, so batches in flight end with the version that they began with.
        self.batcher.predictor = predictor
        self._refused_version = None
        log.info("swapped from %s to %s", current.model, name)


async def _result_or_error(
    started: asyncio.Future[InferenceResult] | InklingError,
) -> InferenceResult | InklingError:
    if isinstance(started, InklingError):
        return started
    try:
        return await started
    except InklingError as error:
        return error
