"""One training run, from data to a saved version."""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from models import cpus, devices, fs
from models.errors import DataError, HomeError, VersionError
from models.inference import networks
from models.registry import registry
from models.registry.manifest import Manifest
from models.registry.registry import ModelRegistry
from training import packaging, scoring
from training.data import mnist
from training.data.synthetic import pen
from training.loop import fit, tutorial
from training.loop.checkpoint import Checkpoint
from training.progress import Report
from training.recipes import RECIPES, TEACHING, Recipe
from training.teachers import Teachers

LOCK = ".lock"


@dataclasses.dataclass(frozen=True)
class Run:
    """What to train, on what, and where the result goes."""

    recipe: str
    data: Path
    home: Path
    output: Path | None = None
    activate: bool = True
    download: bool = True
    device: str = "auto"
    seed: int = 0
    network: str | None = None
    epochs: int | None = None
    checkpoint: Path | None = None
    teachers: Path | None = None


def train(run: Run, report: Report) -> Path:
    """Trains, calibrates and scores on held-out digits, and saves: under HOME, or in `run.output`.

    Returns the folder of the version. Raises DataError, DeviceError, HomeError or BrokenVersion before any work where
    that can be seen, and leaves nothing behind when it is interrupted, but for a checkpoint and teachers where it was
    told to keep them.
    """
    recipe = _recipe(run)
    device = devices.resolve(run.device)
    digits, held_out = mnist.split(mnist.training_set(run.data, run.download))
    classroom = run.teachers or (_beside(run.checkpoint) if run.checkpoint else None)
    _check_apart(run, classroom if recipe.teachers else None)
    if run.output:
        registry.check_output(run.output)
    else:
        fs.check_writable(run.home / "models")
    if any(part.forms or part.outliers for part in recipe.parts):
        pen.check()
    checkpoint = _checkpoint(run, recipe, digits, device)
    if checkpoint:
        checkpoint.load()  # the file of another run is refused
        checkpoint.check_writable()
    if run.teachers:
        fs.check_writable(run.teachers)
    lessons = [_lesson(run, name, classroom) for name in recipe.teachers]
    for lesson in lessons:
        if lesson.output and lesson.output.exists():
            _read_teacher(lesson.output, digits)

    report.line(
        f"{recipe.network} on {device}: recipe {run.recipe}, {recipe.epochs} epochs of {len(digits):,} digits, "
        f"{len(held_out):,} held out, seed {run.seed}"
    )
    taught_by = None
    if lessons:
        taught_by = Teachers([_teacher(lesson, device, digits, held_out, report) for lesson in lessons], device)
        if checkpoint:
            checkpoint.identity["taught_by"] = taught_by.fingerprints
    network = _fitted(run, recipe, device, digits, held_out, report, checkpoint, taught_by)
    folder = save(network, run, recipe, digits, held_out, report, taught_by)
    if checkpoint:
        checkpoint.remove()
    if not run.teachers:
        _dismiss(lessons)
    return folder


def _recipe(run: Run) -> Recipe:
    return RECIPES[run.recipe].but(network=run.network, epochs=run.epochs)


def _fitted(
    run: Run,
    recipe: Recipe,
    device: torch.device,
    digits: mnist.Digits,
    held_out: mnist.Digits,
    report: Report,
    checkpoint: Checkpoint | None = None,
    taught_by: Teachers | None = None,
) -> nn.Module:
    torch.manual_seed(run.seed)
    network = networks.create(recipe.network).to(device)
    if run.recipe == "tutorial":
        tutorial.fit(recipe, network, digits, mnist.test_set(run.data, run.download), run.seed, report)
    else:
        fit.fit(recipe, network, digits, held_out, run.seed, report, checkpoint, taught_by, cpus.usable())
    return network


def _lesson(run: Run, network: str, classroom: Path | None) -> Run:
    """The run that trains a teacher; without a classroom it is kept nowhere."""
    recipe = TEACHING[run.recipe]
    place = classroom / recipe if classroom else None
    output, checkpoint = (place / network, place / f"{network}.pt") if place else (None, None)
    return dataclasses.replace(
        run, recipe=recipe, network=network, seed=0, output=output, checkpoint=checkpoint, teachers=None
    )


def _teacher(
    lesson: Run, device: torch.device, digits: mnist.Digits, held_out: mnist.Digits, report: Report
) -> nn.Module:
    """Trains it where it is not there yet."""
    if lesson.output is None:
        report.line(f"teacher {lesson.network}")
        return _fitted(lesson, _recipe(lesson), device, digits, held_out, report)
    with _alone(lesson.output.parent, report):
        if not lesson.output.exists():
            report.line(f"teacher {lesson.network}, to be kept in {lesson.output}")
            train(lesson, report)
        return _read_teacher(lesson.output, digits)


def _read_teacher(folder: Path, digits: mnist.Digits) -> nn.Module:
    """The network that the folder is named for, by the recipe that the folder around it is named for.

    Raises DataError for one by another recipe, or of other data, and BrokenVersion as `registry.read`.
    """
    version = registry.read(folder)
    found = version.manifest.training | version.manifest.dataset
    settings = dataclasses.asdict(RECIPES[folder.parent.name].but(network=folder.name))
    expected = {**json.loads(json.dumps(settings)), "seed": 0, "trained_on_sha256": digits.fingerprint()}
    for name, value in expected.items():
        if found.get(name) != value:
            raise DataError(
                f"{folder} is another teacher: {name} is {found.get(name)!r} there and {value!r} here; "
                f"remove it to train it anew"
            )
    return version.network


def _dismiss(lessons: Sequence[Run]) -> None:
    """Removes the teachers that were kept beside a checkpoint, and nothing else that lies there."""
    for lesson in lessons:
        if lesson.output:
            shutil.rmtree(lesson.output, ignore_errors=True)
            (lesson.output.parent / LOCK).unlink(missing_ok=True)
            for folder in (lesson.output.parent, lesson.output.parent.parent):
                with contextlib.suppress(OSError):  # not empty
                    folder.rmdir()


@contextlib.contextmanager
def _alone(classroom: Path, report: Report) -> Iterator[None]:
    """Whoever needs teachers that another run is training waits for them."""
    classroom.mkdir(parents=True, exist_ok=True)
    with (classroom / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.line(f"waiting for another run that trains the teachers in {classroom}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _beside(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.teachers")


def _check_apart(run: Run, classroom: Path | None) -> None:
    """Raises HomeError where one of what a run writes would lie in another. classroom: where its teachers are kept."""
    for path in (run.checkpoint, run.teachers):
        if path and run.output and _lies_in(path, run.output):
            raise HomeError(
                f"{path} lies in {run.output}, where a version is written and nothing else; name another place"
            )
    for path in (run.checkpoint, run.output):
        if path and classroom and (_lies_in(path, classroom) or _lies_in(classroom, path)):
            raise HomeError(f"{path} and the teachers in {classroom} would lie in each other; name another place")


def _lies_in(path: Path, folder: Path) -> bool:
    """Behind any links; Path.resolve raises for those in a circle."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def save(
    network: nn.Module,
    run: Run,
    recipe: Recipe,
    digits: mnist.Digits,
    held_out: mnist.Digits,
    report: Report,
    taught_by: Teachers | None = None,
) -> Path:
    """Calibrates and scores the network on the held-out digits and writes it as a version."""
    device = next(network.parameters()).device
    weights = packaging.weights_of(network)
    predictor = packaging.calibrated(network, held_out)
    metrics = scoring.score(predictor, held_out)
    report.line(
        f"held out: {metrics['accuracy']:.2%} right, negative log-likelihood "
        f"{metrics['negative_log_likelihood']:.4f}, {metrics['answered']:.1%} answered without doubt"
    )
    manifest = Manifest(
        network=recipe.network,
        state="released" if run.output else "trained",
        metrics={"held_out": metrics},
        calibration=predictor.calibration,
        training={
            "recipe": run.recipe,
            **dataclasses.asdict(recipe),
            **({"taught_by": taught_by.fingerprints} if taught_by else {}),
            "seed": run.seed,
            "device": str(device),
        },
        dataset=packaging.dataset(digits, held_out),
        libraries=packaging.libraries(),
    )
    if run.output:
        registry.write_folder(run.output, weights, manifest)
        report.line(f"wrote {run.output}")
        return run.output
    saved = ModelRegistry(run.home)
    manifest.parent = _active_or_none(saved)
    name = saved.write(weights, manifest)
    if run.activate:
        saved.activate(name)
    report.line(f"{name} saved in {saved.folder / name}" + (", now active" if run.activate else ", not activated"))
    return saved.folder / name


def _checkpoint(run: Run, recipe: Recipe, digits: mnist.Digits, device: torch.device) -> Checkpoint | None:
    if run.checkpoint is None:
        return None
    identity = {**dataclasses.asdict(recipe), "seed": run.seed, "device": device.type, "data": digits.fingerprint()}
    return Checkpoint(run.checkpoint, identity)


def _active_or_none(saved: ModelRegistry) -> str | None:
    try:
        return saved.active()
    except VersionError:  # also an `active` file that makes no sense: no reason to lose what was trained
        return None
