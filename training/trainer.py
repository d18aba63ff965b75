"""One training run, from data to a saved version."""

import contextlib
import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

import torch
from torch import nn

from models import devices, folders, networks, versions
from models.errors import DataError, VersionError
from models.versions import Manifest, Versions
from training import candidate, fitting, mnist, scoring, tutorial
from training.checkpoint import Checkpoint
from training.progress import Report
from training.recipes import RECIPES, Recipe
from training.teachers import Teachers


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

    Returns the folder of the version. Raises DataError, DeviceError or HomeError before any work, and leaves
    nothing behind when it is interrupted.
    """
    recipe = RECIPES[run.recipe].but(network=run.network, epochs=run.epochs)
    device = devices.resolve(run.device)
    digits, held_out = mnist.split(mnist.training_set(run.data, run.download))
    if run.output:
        versions.check_output(run.output)
    else:
        folders.check_writable(run.home / "models")
    report.line(
        f"{recipe.network} on {device}: recipe {run.recipe}, {recipe.epochs} epochs of {len(digits):,} digits, "
        f"{len(held_out):,} held out, seed {run.seed}"
    )

    checkpoint = _checkpoint(run, recipe, digits, device)
    if checkpoint:
        checkpoint.load()  # the file of another run is refused before any work
    taught_by = _teachers(run, recipe, digits, device, report) if recipe.teachers else None
    torch.manual_seed(run.seed)
    network = networks.create(recipe.network).to(device)
    if run.recipe == "tutorial":
        tutorial.fit(recipe, network, digits, mnist.test_set(run.data, run.download), run.seed, report)
    else:
        fitting.fit(recipe, network, digits, held_out, run.seed, report, checkpoint, taught_by)
    folder = save(network, run, recipe, digits, held_out, report)
    if checkpoint:
        checkpoint.remove()
        shutil.rmtree(_beside(checkpoint.path), ignore_errors=True)
    return folder


def _teachers(run: Run, recipe: Recipe, digits: mnist.Digits, device: torch.device, report: Report) -> Teachers:
    """Those of the folder that was named, or else of one that lasts as long as the run does."""
    with contextlib.ExitStack() as stack:
        folder = run.teachers or (_beside(run.checkpoint) if run.checkpoint else None)
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inkling-teachers-")))
        return Teachers([_teacher(run, folder / name, digits, report) for name in recipe.teachers], device)


def _beside(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.teachers")


def _teacher(run: Run, folder: Path, digits: mnist.Digits, report: Report) -> nn.Module:
    """The network that the folder is named for, trained where it is not there yet.

    Raises DataError for one by another recipe, or of other data.
    """
    if not folder.exists():
        report.line(f"a teacher, {folder.name}")
        lesson = dataclasses.replace(run, recipe="teacher", network=folder.name, seed=0, output=folder, teachers=None)
        train(dataclasses.replace(lesson, checkpoint=folder.with_suffix(".pt")), report)
    version = versions.read(folder)
    found = version.manifest.training | version.manifest.dataset
    recipe = dataclasses.asdict(RECIPES["teacher"].but(network=folder.name))
    expected = {**json.loads(json.dumps(recipe)), "trained_on_sha256": digits.fingerprint()}  # as a manifest has them
    for name, value in expected.items():
        if found.get(name) != value:
            raise DataError(
                f"{folder} is another teacher: {name} is {found.get(name)!r} there and {value!r} here; "
                f"remove it to train it anew"
            )
    return version.network


def save(
    network: nn.Module, run: Run, recipe: Recipe, digits: mnist.Digits, held_out: mnist.Digits, report: Report
) -> Path:
    """Calibrates and scores the network on the held-out digits and writes it as a version."""
    device = next(network.parameters()).device
    weights = candidate.weights_of(network)
    predictor = candidate.calibrated(network, held_out)
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
        training={"recipe": run.recipe, **dataclasses.asdict(recipe), "seed": run.seed, "device": str(device)},
        dataset=candidate.dataset(digits, held_out),
        libraries=candidate.libraries(),
    )
    if run.output:
        versions.write_folder(run.output, weights, manifest)
        report.line(f"wrote {run.output}")
        return run.output
    saved = Versions(run.home)
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


def _active_or_none(saved: Versions) -> str | None:
    try:
        return saved.active()
    except VersionError:  # also an `active` file that makes no sense: no reason to lose what was trained
        return None
