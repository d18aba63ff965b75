"""What the service does, without HTTP: holds the active version's engine and answers for it."""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from app.observability.metrics import Metrics, State
from app.settings import Settings
from models import cpus, devices
from models.errors import InklingError, Overloaded
from models.inference.batcher import Engine, Reading
from models.preprocessing.decode import Picture, decode, is_small
from models.preprocessing.normalise import Tile, may_be_ready, normalise
from models.registry.registry import Versions

FOLLOW_SECONDS = SHOW_SECONDS = 0.5
PATIENCE_SECONDS = 1
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


class Service:
    """One worker's engine. `open` before use, `close` afterwards; `follow` swaps to whatever version is activated."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self._opened = time.monotonic()
        self._engine: Engine | None = None
        # A worker's share of the cores: more would only hold more large pictures in memory, and starve the event loops.
        usable = cpus.usable()
        self._decoder_count = max(1, usable // settings.workers_on(usable))
        self._decoders = ThreadPoolExecutor(self._decoder_count, "decode")
        self._free_decoders = asyncio.Semaphore(self._decoder_count)
        self._refused: str | None = None
        self._complaint = ""

    def open(self) -> None:
        """Loads and warms the active version, once. Raises InklingError for whatever the operator can mend."""
        if self._engine is not None:
            return
        device = devices.resolve(self.settings.device)
        versions = Versions(self.settings.home)
        versions.seed(self.settings.model)
        predictor = versions.load(versions.active()).predictor(device)
        engine = Engine(predictor, self.settings.queue_limit, observe=self.metrics.batch)
        engine.start()
        self._engine = engine

    async def close(self) -> None:
        """Answers what was accepted, then lets the engine go."""
        if self._engine is not None:
            await self._engine.close()
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
        versions, current = Versions(self.settings.home), self.engine.predictor
        name = None
        try:
            name = versions.active()
            if name in (current.model, self._refused):
                return
            predictor = versions.load(name).predictor(current.device)
            self.engine.warm(predictor)
        except (InklingError, OSError) as error:
            self._refused = name
            if str(error) != self._complaint:
                log.error("%s stays active: %s", current.model, error)
            self._complaint = str(error)
            return
        # A batch takes its predictor once: whatever is in flight ends with the version that it began with.
        self.engine.predictor = predictor
        self._refused = None
        log.info("swapped from %s to %s", current.model, name)

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the service is not open")
        return self._engine

    def state(self) -> State:
        """How this worker stands at the moment."""
        engine = self.engine
        return State(
            version=engine.predictor.model,
            device=str(engine.predictor.device),
            ready=engine.failure is None,
            queued=engine.admitted,
            limit=engine.queue_limit,
            dropped=engine.dropped,
        )

    async def show(self) -> None:
        """Lets the other workers know, twice a second, for as long as the service runs."""
        while True:
            self.metrics.publish(self.state())
            await asyncio.sleep(SHOW_SECONDS)

    async def read(self, data: bytes) -> Reading:
        """The bytes of one picture to what it is normalised to and read as. Raises PictureError, EngineError."""
        engine = self.engine
        engine.admit()
        try:
            picture = self.decode(data) if is_small(data) else await self._decode(data)
            reading = await engine.predict(picture)
            self.metrics.prediction(reading.prediction)
            return reading
        finally:
            engine.release()

    async def normalise(self, data: bytes) -> Tile:
        """The bytes of one picture to what the network would see. Raises PictureError, EngineError."""
        self.engine.admit()
        try:
            picture = self.decode(data) if is_small(data) else await self._decode(data)
            return picture if isinstance(picture, Tile) else normalise(picture)
        finally:
            self.engine.release()

    async def read_batch(self, pictures: Sequence[bytes]) -> list[Reading | InklingError]:
        """As `read`, of each picture, with errors in their place. Raises Overloaded when there is no room for all."""
        engine = self.engine
        engine.admit(len(pictures))
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
            reading = [one if isinstance(one, InklingError) else begun(engine.predict(one)) for one in decoded]
            readings: list[Reading | InklingError] = [await _outcome(one) for one in reading]
            for found in readings:
                if isinstance(found, Reading):
                    self.metrics.prediction(found.prediction)
            return readings
        finally:
            for future in work:
                future.cancel()
            engine.release(len(pictures))

    def decode(self, data: bytes) -> Picture | Tile:
        """For the engine: a picture that may be a tile, or else what it is normalised to. Raises PictureError."""
        began = perf_counter()
        try:
            picture = decode(data, self.settings.max_pixels)
            return picture if may_be_ready(picture) else normalise(picture)
        finally:
            self.metrics.decoded(perf_counter() - began)

    async def health(self) -> Health:
        predictor = self.engine.predictor
        reason = await self.engine.check()
        return Health(reason, predictor.model, str(predictor.device), round(time.monotonic() - self._opened, 3))

    async def _decode(self, data: bytes) -> Picture | Tile:
        """Off the event loop. Raises Overloaded when no decoder becomes free within a second."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._free_decoders.acquire()
        except TimeoutError:
            raise Overloaded(
                f"the pictures before this one took longer than {PATIENCE_SECONDS} s to decode", self._decoder_count
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
