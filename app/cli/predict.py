"""`inkling predict`: the digits in picture files, without a server."""

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.text import Text

from app.cli import terminal
from app.settings import Settings
from models import cpus, devices
from models.errors import InklingError, PictureError, printable
from models.inference.predictor import Prediction
from models.preprocessing.decode import FORMATS, decode
from models.preprocessing.normalise import Tile, normalise
from models.registry import registry

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
BATCH = 32
_BAR = 20


class Unread(InklingError):
    """Says what could not be read, and why."""


@dataclass(frozen=True)
class Source:
    """A picture's file; standard input where the path is None."""

    name: str
    path: Path | None

    def tile(self, max_pixels: int) -> Tile | InklingError:
        """What the network sees of it, or why it sees nothing."""
        try:
            data = sys.stdin.buffer.read() if self.path is None else self.path.read_bytes()
            return normalise(decode(data, max_pixels))
        except OSError as error:
            return Unread(error.strerror or str(error))
        except PictureError as error:
            return error


def predict(arguments: Sequence[str], settings: Settings, as_json: bool, quiet: bool) -> bool:
    """Prints a line for each picture that the arguments name; False where one could not be read.

    An argument is a file, a folder, of which every picture below it is read, or `-` for standard input.
    """
    sources, complete = [], True
    for argument in arguments:
        try:
            sources += list(_sources(argument))
        except Unread as error:
            complete = _complain(argument, error)
    torch.set_num_threads(1)  # as the service's workers do: more would add in another order, and answer otherwise
    predictor = registry.find(settings.home, None, settings.initial_model).predictor(devices.resolve(settings.device))
    lines = _Lines(sources, as_json)
    with ThreadPoolExecutor(cpus.usable()) as pool, terminal.Bar("reading", len(sources), "pictures", quiet) as bar:
        for start in range(0, len(sources), BATCH):
            part = sources[start : start + BATCH]
            tiles = list(pool.map(lambda source: source.tile(settings.max_pixels), part))
            drawn = [tile.pixels for tile in tiles if isinstance(tile, Tile)]
            answers = iter(predictor.predict(np.stack(drawn)) if drawn else ())
            for source, tile in zip(part, tiles, strict=True):
                if isinstance(tile, Tile):
                    bar.print(lines.of(source, tile, next(answers)))
                else:
                    complete = _complain(source.name, tile)
            bar.advance(len(part))
    return complete


def _sources(argument: str) -> Iterator[Source]:
    """Raises Unread."""
    path = Path(argument)
    if argument == "-":
        if sys.stdin.isatty():
            raise Unread(
                "standard input is a terminal; expected the bytes of a picture, as in: inkling predict - < FILE"
            )
        yield Source("-", None)
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise Unread(f"no file below this folder has the name of a picture ({', '.join(FORMATS)})")
        yield from (Source(str(file), file) for file in files)
    else:
        yield Source(argument, path)


def _complain(name: str, error: InklingError) -> bool:
    sys.stderr.write(f"error: {printable(f'{name}: {error}')}\n")
    return False


class _Lines:
    """One line for each answer: JSON; columns and a bar where a person looks on; or plain columns."""

    def __init__(self, sources: Sequence[Source], as_json: bool) -> None:
        self._as_json = as_json
        self._for_a_person = terminal.console().is_terminal
        self._width = min(max((len(source.name) for source in sources), default=0), 60)

    def of(self, source: Source, tile: Tile, answer: Prediction) -> str | Text:
        if self._as_json:
            return json.dumps({"file": source.name, **answer._asdict(), "steps": tile.steps})
        name = f"{printable(source.name):{self._width}}"
        confidence, verdict = f"{answer.confidence:7.2%}", answer.verdict
        if not self._for_a_person:
            return f"{name}  {answer.digit}  {confidence}  {verdict}"
        colour = "green" if verdict == "digit" else "yellow"
        filled = round(_BAR * answer.confidence)
        bar = (("█" * filled, colour), ("░" * (_BAR - filled), "dim"))
        return Text.assemble(
            f"{name}  ", (str(answer.digit), "bold"), "  ", *bar, f" {confidence}  ", (verdict, colour)
        )
