"""What the service does, without HTTP: holds the active version's batcher and answers for it."""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from app.observability.metrics import Metrics, WorkerState
from app.settings import Settings
from models import cpus, devices
from models.errors import InklingError, Overloaded
from models.inference.batcher import DynamicBatcher, InferenceResult
from models.preprocessing.decode import Picture, decode, is_small
from models.preprocessing.normalise import Tile, may_be_ready, normalise
from models.registry.registry import ModelRegistry

FOLLOW_SECONDS = SHOW_SECONDS = 0.5
DECODER_WAIT_SECONDS = 1
"""How long a large picture may wait for a decoder."""
_AT_A_TIME = 16

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Health:
    """reason: why the service can not predict, None when it can."""

    reason: str | None
    model: str
    device: str
    uptime_seconds: float


class Inference:
    """One worker's batcher. `open` before use, `close` afterwards; `follow` swaps to whatever version is activated."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self._opened = time.monotonic()
        self._batcher: DynamicBatcher | None = None
        # A worker's share of the cores: more would only hold more large pictures in memory, and starve the event loops.
        usable = cpus.usable()
        self._decoder_count = max(1, usable // settings.workers_on(usable))
        self._decoders = ThreadPoolExecutor(self._decoder_count, "decode")
        self._free_decoders = asyncio.Semaphore(self._decoder_count)
        self._refused: str | None = None
        self._complaint = ""

    def open(self) -> None:
        """Loads and warms the active version, once. Raises InklingError for whatever the operator can mend."""
        if self._batcher is not None:
            return
        device = devices.resolve(self.settings.device)
        versions = ModelRegistry(self.settings.home)
        versions.seed(self.settings.initial_model)
        predictor = versions.load(versions.active()).predictor(device)
        batcher = DynamicBatcher(predictor, self.settings.max_concurrent_images, observe=self.metrics.batch)
        batcher.start()
        self._batcher = batcher

    async def close(self) -> None:
        """Answers what was accepted, then lets the batcher go."""
        if self._batcher is not None:
            await self._batcher.close()
        self._decoders.shutdown()

    async def follow(self) -> None:
        """Looks at the active version twice a second, for as long as the service runs."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await asyncio.to_thread(self._swap)
            except Exception:  # whatever it was, the next activation deserves another look
                log.exception("could not look at the active version")

    def _swap(self) -> None:
        """Loads and warms a newly activated version beside the old one, which stays if that fails."""
        versions, current = ModelRegistry(self.settings.home), self.batcher.predictor
        name = None
        try:
            name = versions.active()
            if name in (current.model, self._refused):
                return
            predictor = versions.load(name).predictor(current.device)
            self.batcher.warm(predictor)
        except (InklingError, OSError) as error:
            self._refused = name
            if str(error) != self._complaint:
                log.error("%s stays active: %s", current.model, error)
            self._complaint = str(error)
            return
        # A batch takes its predictor once: whatever is in flight ends with the version that it began with.
        self.batcher.predictor = predictor
        self._refused = None
        log.info("swapped from %s to %s", current.model, name)

    @property
    def batcher(self) -> DynamicBatcher:
        if self._batcher is None:
            raise RuntimeError("the service is not open")
        return self._batcher

    def state(self) -> WorkerState:
        """How this worker stands at the moment."""
        batcher = self.batcher
        return WorkerState(
            version=batcher.predictor.model,
            device=str(batcher.predictor.device),
            ready=batcher.failure is None,
            queued=batcher.admitted,
            limit=batcher.max_concurrent_images,
            dropped=batcher.dropped,
        )

    async def show(self) -> None:
        """Lets the other workers know, twice a second, for as long as the service runs."""
        while True:
            self.metrics.publish(self.state())
            await asyncio.sleep(SHOW_SECONDS)

    async def read(self, data: bytes) -> InferenceResult:
        """The bytes of one picture to what it is normalised to and read as. Raises PictureError, InferenceError."""
        batcher = self.batcher
        batcher.admit()
        try:
            picture = self.decode(data) if is_small(data) else await self._decode(data)
            reading = await batcher.predict(picture)
            self.metrics.prediction(reading.prediction)
            return reading
        finally:
            batcher.release()

    async def normalise(self, data: bytes) -> Tile:
        """The bytes of one picture to what the network would see. Raises PictureError, InferenceError."""
        self.batcher.admit()
        try:
            picture = self.decode(data) if is_small(data) else await self._decode(data)
            return picture if isinstance(picture, Tile) else normalise(picture)
        finally:
            self.batcher.release()

    async def read_batch(self, pictures: Sequence[bytes]) -> list[InferenceResult | InklingError]:
        """As `read`, of each picture, with errors in their place. Raises Overloaded when there is no room for all."""
        batcher = self.batcher
        batcher.admit(len(pictures))
        work: list[asyncio.Future[Any]] = []

        def begun(future: asyncio.Future[T]) -> asyncio.Future[T]:
            work.append(future)
            return future

        try:
            decoding: list[Picture | Tile | InklingError | asyncio.Future[Picture | Tile]] = []
            for i, data in enumerate(pictures):
                if not is_small(data):
                    decoding.append(begun(asyncio.create_task(self._decode(data))))
                    continue
                if i % _AT_A_TIME == 0:
                    await asyncio.sleep(0)  # others have their turn
                try:
                    decoding.append(self.decode(data))
                except InklingError as error:
                    decoding.append(error)
            decoded: list[Picture | Tile | InklingError] = [await _outcome(one) for one in decoding]
            reading = [one if isinstance(one, InklingError) else begun(batcher.predict(one)) for one in decoded]
            readings: list[InferenceResult | InklingError] = [await _outcome(one) for one in reading]
            for found in readings:
                if isinstance(found, InferenceResult):
                    self.metrics.prediction(found.prediction)
            return readings
        finally:
            for future in work:
                future.cancel()
            batcher.release(len(pictures))

    def decode(self, data: bytes) -> Picture | Tile:
        """For the batcher: a picture that may be a tile, or else what it is normalised to. Raises PictureError."""
        began = perf_counter()
        try:
            picture = decode(data, self.settings.max_pixels)
            return picture if may_be_ready(picture) else normalise(picture)
        finally:
            self.metrics.decoded(perf_counter() - began)

    async def health(self) -> Health:
        predictor = self.batcher.predictor
        reason = await self.batcher.check()
        return Health(reason, predictor.model, str(predictor.device), round(time.monotonic() - self._opened, 3))

    async def _decode(self, data: bytes) -> Picture | Tile:
        """Off the event loop. Raises Overloaded when no decoder becomes free within a second."""
        try:
            async with asyncio.timeout(DECODER_WAIT_SECONDS):
                await self._free_decoders.acquire()
        except TimeoutError:
            raise Overloaded(
                f"the pictures before this one took longer than {DECODER_WAIT_SECONDS} s to decode",
                limit=self._decoder_count,
            ) from None
        decoding = asyncio.get_running_loop().run_in_executor(self._decoders, self.decode, data)
        decoding.add_done_callback(lambda _: self._free_decoders.release())
        return await asyncio.shield(decoding)


async def _outcome(found: Any) -> Any:
    """What is or will be there; the errors are the picture's own."""
    if not isinstance(found, asyncio.Future):
        return found
    try:
        return await found
    except InklingError as error:
        return error
