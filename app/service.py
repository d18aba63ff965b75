"""What the service does, without HTTP: holds the active version's engine and answers for it."""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.settings import Settings
from models import cores, devices
from models.engine import Engine
from models.errors import InklingError
from models.normalisation import Step, Tile, normalise
from models.pictures import decode
from models.prediction import Prediction
from models.versions import Versions

FOLLOW_SECONDS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Health:
    """reason: why the service can not predict, None when it can."""

    reason: str | None
    model: str
    device: str
    uptime_seconds: float


class Service:
    """One worker's engine. `open` before use, `close` afterwards; `follow` swaps to whatever version is activated."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._opened = time.monotonic()
        self._engine: Engine | None = None
        # As many as there are cores: more would only hold more large pictures in memory.
        self._decoders = ThreadPoolExecutor(cores.usable(), "decode")
        self._refused: str | None = None
        self._complaint = ""

    def open(self) -> None:
        """Loads and warms the active version, once. Raises InklingError for whatever the operator can mend."""
        if self._engine is not None:
            return
        device = devices.resolve(self.settings.device)
        versions = Versions(self.settings.home)
        versions.seed(self.settings.model)
        engine = Engine(versions.load(versions.active()).predictor(device), self.settings.queue_limit)
        engine.start()
        self._engine = engine

    def close(self) -> None:
        """Answers what was accepted, then lets the engine go."""
        if self._engine is not None:
            self._engine.close()
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

    async def predict(self, data: bytes) -> tuple[Prediction, tuple[Step, ...]]:
        """The bytes of one picture to its prediction and what normalisation did. Raises PictureError, EngineError."""
        tile, prediction = await self.read(data)
        return prediction, tile.steps

    async def read(self, data: bytes) -> tuple[Tile, Prediction]:
        """As `predict`, with the normalised picture itself."""
        with self.engine.admit():
            tile = await asyncio.get_running_loop().run_in_executor(self._decoders, self._tile, data)
            return tile, await self.engine.predict(tile.pixels)

    async def health(self) -> Health:
        predictor = self.engine.predictor
        reason = await self.engine.check()
        return Health(reason, predictor.model, str(predictor.device), round(time.monotonic() - self._opened, 3))

    def _tile(self, data: bytes) -> Tile:
        return normalise(decode(data, self.settings.max_pixels))
