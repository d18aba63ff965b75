"""`inkling predict`: predicts the digits in image files, without a server."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.text import Text

from app.cli import terminal
from app.settings import Settings
from models import cpus, devices
from models.errors import InklingError, PictureError, printable
from models.inference.predictor import Prediction
from models.preprocessing.decode import decode
from models.preprocessing.file_structure import FORMATS
from models.preprocessing.normalise import Tile, normalise
from models.registry import registry

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
BATCH = 32
_BAR_WIDTH = 20


class UnreadableSource(InklingError):
    """An argument cannot be read; the message says why."""


@dataclass(frozen=True)
class Source:
    """An image file, or standard input if `path` is None."""

    name: str
    path: Path | None

    def tile(self, max_pixels: int) -> Tile | InklingError:
        """The normalised tile, or the error that prevents it."""
        try:
            data = sys.stdin.buffer.read() if self.path is None else self.path.read_bytes()
            return normalise(decode(data, max_pixels))
        except OSError as error:
            return UnreadableSource(error.strerror or str(error))
        except PictureError as error:
            return error


def predict(arguments: Sequence[str], settings: Settings, as_json: bool, quiet: bool) -> bool:
    """Prints a line for each image; returns whether all of them could be read.

    An argument is a file, a folder, which is searched for images at all depths, or `-` for standard input.
    """
    sources, complete = [], True
    for argument in arguments:
        try:
            sources += list(_sources(argument))
        except UnreadableSource as error:
            complete = _report(argument, error)
    # As in the workers: torch with more threads adds in another order and rounds differently.
    os.environ["OMP_NUM_THREADS"] = "1"
    version = registry.find(settings.home, None, settings.initial_model)
    predictor = version.predictor(devices.resolve(settings.device), settings.runtime)
    formatter = _Formatter(sources, as_json)
    with ThreadPoolExecutor(cpus.usable()) as pool, terminal.Bar("reading", len(sources), "images", quiet) as bar:
        for start in range(0, len(sources), BATCH):
            part = sources[start : start + BATCH]
            tiles = list(pool.map(lambda source: source.tile(settings.max_pixels), part))
            drawn = [tile.pixels for tile in tiles if isinstance(tile, Tile)]
            answers = iter(predictor.predict(np.stack(drawn)) if drawn else ())
            for source, tile in zip(part, tiles, strict=True):
                if isinstance(tile, Tile):
                    bar.print(formatter.format(source, tile, next(answers)))
                else:
                    complete = _report(source.name, tile)
            bar.advance(len(part))
    return complete


def _sources(argument: str) -> Iterator[Source]:
    """Raises UnreadableSource."""
    path = Path(argument)
    if argument == "-":
        if sys.stdin.isatty():
            raise UnreadableSource(
                "standard input is a terminal; expected the bytes of an image, as in: inkling predict - < FILE"
            )
        yield Source("-", None)
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise UnreadableSource(f"no image files ({', '.join(FORMATS)}) in this folder")
        yield from (Source(str(file), file) for file in files)
    else:
        yield Source(argument, path)


def _report(name: str, error: InklingError) -> bool:
    sys.stderr.write(f"error: {printable(f'{name}: {error}')}\n")
    return False


class _Formatter:
    """Formats predictions: as JSON, as columns with a bar on a terminal, or as plain columns."""

    def __init__(self, sources: Sequence[Source], as_json: bool) -> None:
        self._as_json = as_json
        self._terminal = terminal.console().is_terminal
        self._width = min(max((len(source.name) for source in sources), default=0), 60)

    def format(self, source: Source, tile: Tile, answer: Prediction) -> str | Text:
        if self._as_json:
            return json.dumps({"file": source.name, **answer._asdict(), "steps": tile.steps})
        name = f"{printable(source.name):{self._width}}"
        confidence, verdict = f"{answer.confidence:7.2%}", answer.verdict
        if not self._terminal:
            return f"{name}  {answer.digit}  {confidence}  {verdict}"
        colour = "green" if verdict == "digit" else "yellow"
        filled = round(_BAR_WIDTH * answer.confidence)
        bar = (("█" * filled, colour), ("░" * (_BAR_WIDTH - filled), "dim"))
        return Text.assemble(
            f"{name}  ", (str(answer.digit), "bold"), "  ", *bar, f" {confidence}  ", (verdict, colour)
        )
