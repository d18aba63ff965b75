"""One training run, from data to a saved version."""

import dataclasses
import itertools
import os
from functools import partial
from pathlib import Path

import torch
from torch import nn

from models import cpus, devices, fs
from models.errors import HomeError
from models.inference import networks
from models.registry import version_files
from models.registry.manifest import Manifest
from models.registry.registry import ModelRegistry
from training import packaging, recipes, teachers
from training.data import mnist
from training.data.mnist import Digits
from training.data.synthetic import pen
from training.distillation import Teachers
from training.loop import fit, tutorial
from training.loop.checkpoint import Checkpoint
from training.progress import Report
from training.recipes import Recipe, TutorialRecipe
from training.teachers import TeachersFolder


@dataclasses.dataclass(frozen=True)
class Run:
    """What is trained, on what data and device, and where the result goes. compiled: whether it gets a model.onnx."""

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
    compiled: bool = True


def train(run: Run, report: Report) -> Path:
    """Trains, calibrates and scores a network, and saves it under HOME or in `run.output`; returns the folder.

    Whatever can be checked is checked before any work. An interrupted run leaves a checkpoint and teachers if it was
    told to keep them, and nothing else. Raises DataError, DeviceError, HomeError or BrokenVersion.
    """
    recipe = recipes.find(run.recipe).with_changes(network=run.network, epochs=run.epochs)
    device = torch.device(devices.resolve(run.device))
    digits, held_out = mnist.split(mnist.training_set(run.data, run.download))

    with teachers.open_folder(recipe, run.recipe, digits, run.teachers, run.checkpoint) as teachers_folder:
        checkpoint = _checkpoint(run, recipe, digits, device)
        _check(run, checkpoint, teachers_folder)
        report.line(
            f"{recipe.network} on {device}: recipe {run.recipe}, {recipe.epochs} epochs of {len(digits):,} digits, "
            f"{len(held_out):,} held out, seed {run.seed}"
        )
        distilled_from = None
        if teachers_folder:
            distilled_from = Teachers(teachers_folder.load(partial(_train_teacher, run, report), report), device)
            if checkpoint:
                checkpoint.identity["teachers_sha256"] = distilled_from.sha256

        torch.manual_seed(run.seed)
        network = networks.create(recipe.network).to(device)
        if isinstance(recipe, TutorialRecipe):
            test = mnist.test_set(run.data, run.download)
            tutorial.fit(recipe, network, digits, test, run.seed, report)
        else:
            fit.fit(
                recipe, network, digits, held_out, run.seed, report, checkpoint, distilled_from, processes=cpus.usable()
            )
        folder = save(network, run, recipe, digits, held_out, report, distilled_from)
        if checkpoint:
            checkpoint.remove()
    return folder


def save(
    network: nn.Module,
    run: Run,
    recipe: Recipe | TutorialRecipe,
    digits: Digits,
    held_out: Digits,
    report: Report,
    distilled_from: Teachers | None = None,
) -> Path:
    """Calibrates, scores and compiles the network, and writes it as a version; returns its folder."""
    device = next(network.parameters()).device
    packaged = packaging.package(network, digits, held_out, run.compiled)
    for line in packaged.lines():
        report.line(line)
    manifest = Manifest(
        network=recipe.network,
        state="released" if run.output else "trained",
        training={
            "recipe": run.recipe,
            **dataclasses.asdict(recipe),
            **({"teachers_sha256": distilled_from.sha256} if distilled_from else {}),
            "seed": run.seed,
            "device": str(device),
        },
        dataset=packaging.dataset(digits, held_out),
        libraries=packaging.libraries(),
    )
    manifest = packaged.describe(manifest)
    if run.output:
        version_files.write(run.output, packaged.weights, manifest, packaged.content)
        report.line(f"wrote {run.output}")
        return run.output
    versions = ModelRegistry(run.home)
    manifest.parent, _ = versions.list_versions()  # a damaged `active` file must not cost what was trained
    name = versions.write(packaged.weights, manifest, packaged.content)
    if run.activate:
        versions.activate(name)
    report.line(f"{name} saved in {versions.folder / name}" + (", now active" if run.activate else ", not activated"))
    return versions.folder / name


def _train_teacher(run: Run, report: Report, network: str, output: Path, checkpoint: Path) -> None:
    recipe = recipes.TEACHER_RECIPES[run.recipe]
    teacher_run = dataclasses.replace(
        run, recipe=recipe, network=network, seed=0, output=output, checkpoint=checkpoint, teachers=None, compiled=False
    )
    train(teacher_run, report)


def _checkpoint(run: Run, recipe: Recipe | TutorialRecipe, digits: Digits, device: torch.device) -> Checkpoint | None:
    if run.checkpoint is None:
        return None
    identity = {**dataclasses.asdict(recipe), "seed": run.seed, "device": device.type, "data": digits.fingerprint()}
    return Checkpoint(run.checkpoint, identity)


def _check(run: Run, checkpoint: Checkpoint | None, teachers_folder: TeachersFolder | None) -> None:
    """Raises DataError, HomeError or BrokenVersion for what would end the run after hours of work."""
    written = [run.checkpoint, run.output, teachers_folder.root if teachers_folder else None]
    for inner, outer in itertools.permutations(filter(None, written), 2):
        # Path.resolve would raise an error for links that form a circle.
        if Path(os.path.realpath(inner)).is_relative_to(os.path.realpath(outer)):
            raise HomeError(f"{inner} lies in {outer}; name separate paths for output, checkpoint and teachers")
    if run.output:
        version_files.check_output(run.output)
    else:
        fs.check_writable(run.home / "models")
    pen.check()  # every network is measured on tiles of no digit
    if checkpoint:
        checkpoint.load()
        checkpoint.check_writable()
    if run.teachers and teachers_folder:
        fs.check_writable(run.teachers)
    if teachers_folder:
        teachers_folder.check()
