"""One retraining job: trains a candidate from MNIST and the feedback, and activates it if it passes the gate."""

import dataclasses
from typing import Any

import torch
from torch import nn

from models import devices
from models.contract import JobSpec
from models.errors import DataError
from models.inference import networks
from models.inference.predictor import Predictor
from models.inference.runtimes import Runtime
from models.registry.manifest import Manifest
from models.registry.registry import ModelRegistry
from models.registry.version_files import Version
from training import packaging, scoring
from training.data import mnist
from training.data.mnist import Digits
from training.loop import fit
from training.loop.batches import synthetic_counts
from training.mcnemar import Comparison, compare
from training.recipes import RECIPES, Recipe
from training.retraining import feedback_data, finetune, gate
from training.retraining.events import JobProgress, JobReport, emit, log
from training.retraining.finetune import FineTuning

FEEDBACK_SHARE, MAX_REPEATS = 0.1, 50
"""From scratch, the feedback is repeated up to this share of the MNIST digits, each image at most MAX_REPEATS times."""


@dataclasses.dataclass(frozen=True)
class Data:
    """MNIST and the feedback, each split into digits to train on and held-out digits."""

    digits: Digits
    held_out: Digits
    feedback: Digits
    held_out_feedback: Digits


def retrain(spec: JobSpec) -> None:
    """Trains a candidate, compares it with the active version, saves it, and activates it if the gate and spec allow.

    Reports job events on the way. Saves a rejected candidate as well, because a person may still activate it. Raises
    InklingError for what a person can mend.
    """
    torch.manual_seed(spec.seed)
    device = torch.device(devices.resolve(spec.device))
    runtime: Runtime = spec.runtime if device.type == "cpu" else "torch"  # what the service answers with
    versions = ModelRegistry(spec.home, runtime)
    base = versions.load(versions.active())
    data = _data(spec)
    log(
        f"from {base.name if spec.start_from == 'current' else 'scratch'} on {device}: {len(data.digits):,} MNIST "
        f"digits and {len(data.feedback):,} feedback images; held out {len(data.held_out):,} and "
        f"{len(data.held_out_feedback):,}"
    )
    network, training = _train(spec, base, data, device)

    emit(state="evaluating", progress=1.0)
    packaged = packaging.package(network, data.digits, data.held_out)
    for line in packaged.lines():
        log(line)
    active = versions.active()  # a person may have activated another version since
    pair = versions.predictor(active), packaged.predictor(runtime)
    on_mnist, on_feedback = _compare(*pair, data.held_out), _compare(*pair, data.held_out_feedback)
    reason = gate.rejection(on_mnist, on_feedback)
    gate_metrics = {"active": active, "mnist": gate.summary(on_mnist), "feedback": gate.summary(on_feedback)}

    manifest = Manifest(
        network=training["network"],
        state="rejected" if reason else "accepted",
        parent=active,
        metrics={"gate": gate_metrics},
        training={**training, "job": spec.job_id, "seed": spec.seed, "device": str(device)},
        dataset=_dataset(data),
        libraries=packaging.libraries(),
    )
    name = versions.write(packaged.weights, packaged.describe(manifest), packaged.content)
    emit(version=name, metrics={"gate": gate_metrics})
    _end(spec, versions, name, active, reason)


def _end(spec: JobSpec, versions: ModelRegistry, name: str, active: str, reason: str | None) -> None:
    if reason:
        emit(state="rejected", reason=f"{name} is {reason}")
    elif spec.activate == "manual":
        emit(state="succeeded", reason=f"{name} passed and waits for POST /models/{name}/activate")
    elif versions.active() != active:
        emit(state="succeeded", reason=f"{name} passed against {active}, but {versions.active()} was activated since")
    else:
        versions.activate(name)
        emit(state="succeeded", reason=f"{name} passed and is active")
    for removed in versions.prune(spec.keep_versions):
        log(f"{removed} was removed: INKLING_KEEP_VERSIONS={spec.keep_versions}")


def _data(spec: JobSpec) -> Data:
    digits, held_out = mnist.split(mnist.training_set(spec.data, spec.download))
    feedback, held_out_feedback = feedback_data.split(feedback_data.read(spec.feedback), held_out)
    return Data(digits, held_out, feedback if spec.use_feedback else feedback_data.NO_FEEDBACK, held_out_feedback)


def _train(spec: JobSpec, base: Version, data: Data, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
    """The trained network, and the training settings for its manifest."""
    name = spec.network or base.manifest.network
    if spec.start_from == "current":
        if name != base.manifest.network:
            raise DataError(f"{base.name} is a {base.manifest.network}; a {name} can only start from scratch")
        changes = spec.model_dump(include={"epochs", "learning_rate"}, exclude_none=True)
        settings = dataclasses.replace(FineTuning(), **changes)
        network = base.network().to(device)
        advance = JobProgress(settings.epochs).advance
        finetune.fit(settings, network, data.digits, data.feedback, spec.seed, advance)
        return network, {"recipe": "fine-tuning", "network": name, **dataclasses.asdict(settings)}
    recipe = RECIPES["default"].without_teachers()  # they train longer than the whole job, without feedback
    recipe = recipe.with_changes(network=name, epochs=spec.epochs, learning_rate=spec.learning_rate)
    network = networks.create(name).to(device)
    digits = _mixed(data)
    report = JobReport(recipe.epochs, _images(recipe, len(digits)))
    fit.fit(recipe, network, digits, data.held_out, spec.seed, report)
    return network, {"recipe": "default", **dataclasses.asdict(recipe)}


def _images(recipe: Recipe, digits: int) -> int:
    """How many images the whole job draws and trains on, for its progress."""
    epoch = digits // recipe.batch_size * recipe.batch_size
    return sum(sum(synthetic_counts(recipe, stage, digits)) + stage.epochs * epoch for stage in recipe.stages)


def _mixed(data: Data) -> Digits:
    if not len(data.feedback):
        return data.digits
    repeats = min(MAX_REPEATS, max(1, round(FEEDBACK_SHARE * len(data.digits) / len(data.feedback))))
    images = torch.cat([data.digits.images, data.feedback.images.repeat(repeats, 1, 1)])
    return Digits(images, torch.cat([data.digits.labels, data.feedback.labels.repeat(repeats)]))


def _compare(active: Predictor, candidate: Predictor, digits: Digits) -> Comparison:
    if not len(digits):
        return Comparison(0, 0, 0, 0, 0)
    labels = digits.labels.numpy()
    tiles = digits.images.numpy()
    return compare(*(scoring.logits_of(one, tiles).argmax(axis=1) == labels for one in (active, candidate)))


def _dataset(data: Data) -> dict[str, Any]:
    return {
        **packaging.dataset(data.digits, data.held_out),
        "name": "MNIST and feedback",
        "feedback": len(data.feedback),
        "feedback_sha256": data.feedback.fingerprint(),
        "held_out_feedback": len(data.held_out_feedback),
    }
