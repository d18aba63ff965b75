"""The teachers of a recipe: networks that are trained first, each by a run of its own, and shared by other runs.

    FOLDER/RECIPE/NETWORK       a teacher: a version, as `inkling train --output` writes it
    FOLDER/RECIPE/NETWORK.pt    the checkpoint of its training
    FOLDER/RECIPE/.lock         held by the run that trains one

training/distillation.py is what a run does with them.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from models import fs
from models.registry import version_files
from training import recipes
from training.data.mnist import Digits
from training.loop.checkpoint import check_same_settings
from training.progress import Report
from training.recipes import TEACHER_RECIPES, Recipe, TutorialRecipe

TrainTeacher = Callable[[str, Path, Path], object]
"""Trains the network of that name into the folder, with the checkpoint."""


@contextmanager
def open_folder(
    recipe: Recipe | TutorialRecipe, name: str, digits: Digits, kept: Path | None, checkpoint: Path | None
) -> Iterator["TeachersFolder | None"]:
    """The folder for the teachers of a recipe, or None for a recipe without teachers.

    name: the recipe's. kept: the folder that the user names. Without one, a run with a checkpoint has its teachers
    beside it until the run has ended; any other run has them in a temporary folder.
    """
    if not recipe.teachers:
        yield None
        return
    with ExitStack() as stack:
        if kept:
            root = kept
        elif checkpoint:
            root = checkpoint.with_name(f"{checkpoint.name}.teachers")
        else:
            root = Path(stack.enter_context(TemporaryDirectory(prefix="inkling-teachers-")))
        folder = TeachersFolder(root, TEACHER_RECIPES[name], recipe.teachers, digits)
        yield folder
        if not kept:
            folder.remove()


class TeachersFolder:
    """The teachers of one recipe in one folder."""

    def __init__(self, root: Path, recipe: str, networks: Sequence[str], digits: Digits) -> None:
        """recipe: the one that trains them. digits: what they are trained on."""
        self.root = root
        self._folder = root / recipe
        self._recipe = recipe
        self._networks = networks
        self._trained_on = digits.fingerprint()

    def check(self) -> None:
        """Raises DataError or BrokenVersion if one of the teachers there is not the one that the recipe names."""
        for network in self._networks:
            if (self._folder / network).exists():
                self._read(network)

    def load(self, train: TrainTeacher, report: Report) -> list[nn.Module]:
        """All teachers; those that are missing are trained, by one run at a time."""
        return [self._load(network, train, report) for network in self._networks]

    def remove(self) -> None:
        """Removes the teachers, and the folders if nothing else lies in them."""
        for network in self._networks:
            shutil.rmtree(self._folder / network, ignore_errors=True)
        (self._folder / ".lock").unlink(missing_ok=True)
        for folder in (self._folder, self.root):
            with suppress(OSError):  # not empty
                folder.rmdir()

    def _load(self, network: str, train: TrainTeacher, report: Report) -> nn.Module:
        fs.check_writable(self._folder)
        waiting = f"waiting for another run that trains teachers in {self._folder}"
        with fs.locked(self._folder / ".lock", before_waiting=lambda: report.line(waiting)):
            if not (self._folder / network).exists():
                report.line(f"teacher {network}, kept in {self._folder / network}")
                train(network, self._folder / network, self._folder / f"{network}.pt")
            return self._read(network)

    def _read(self, network: str) -> nn.Module:
        folder = self._folder / network
        version = version_files.read(folder)
        found = version.manifest.training | version.manifest.dataset
        settings = dataclasses.asdict(recipes.find(self._recipe).with_changes(network=network))
        expected = {**json.loads(json.dumps(settings)), "seed": 0, "trained_on_sha256": self._trained_on}
        check_same_settings(folder, found, expected)
        return version.network()
