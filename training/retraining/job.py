"""One retraining job, from the active version and the corrections to a candidate that may take over, or may not."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from models import devices
from models.errors import DataError
from models.inference import networks
from models.inference.predictor import Predictor
from models.registry.manifest import Manifest
from models.registry.registry import ModelRegistry, Version
from training import packaging, scoring
from training.data import mnist
from training.data.mnist import Digits
from training.loop import fit
from training.recipes import RECIPES, Recipe
from training.retraining import feedback_data, finetune, gate
from training.retraining.events import JobProgress, JobReport, log, tell
from training.retraining.finetune import FineTuning

Settings = TypeVar("Settings", FineTuning, Recipe)

FEEDBACK_SHARE, MOST_REPEATED = 0.1, 50
"""From scratch, corrections are repeated up to this share of the digits, but none more often than that."""


class Order(BaseModel, extra="forbid"):
    """What the owner of the process asks for; None leaves it to the recipe, or to the active version."""

    job: str
    home: Path
    data: Path
    download: bool
    device: str
    keep_versions: int
    feedback: Path
    network: str | None = None
    epochs: int | None = None
    start_from: Literal["current", "scratch"] = "current"
    use_feedback: bool = True
    seed: int = 0
    learning_rate: float | None = None
    activate: Literal["auto", "manual"] = "auto"


@dataclasses.dataclass(frozen=True)
class Data:
    """Each part in two: trained on, and held out."""

    digits: Digits
    held_out: Digits
    feedback: Digits
    held_out_feedback: Digits


def retrain(order: Order) -> None:
    """Trains, compares, saves the candidate whole and activates it where it may. Tells all of it; raises InklingError.

    A rejected candidate is saved as well: a person may still activate it.
    """
    torch.manual_seed(order.seed)
    saved, device = ModelRegistry(order.home), devices.resolve(order.device)
    base = saved.load(saved.active())
    data = _data(order)
    log(
        f"from {base.name if order.start_from == 'current' else 'scratch'} on {device}: {len(data.digits):,} MNIST "
        f"digits and {len(data.feedback):,} corrections; held out {len(data.held_out):,} and "
        f"{len(data.held_out_feedback):,}"
    )
    network, training = _train(order, base, data, device)

    tell(state="evaluating", progress=1.0)
    weights = packaging.weights_of(network)
    predictor = packaging.calibrated(network, data.held_out)
    active = saved.load(saved.active())  # somebody may have activated another one meanwhile
    against = active.predictor(torch.device("cpu"))
    on_mnist = _compare(against, predictor, data.held_out)
    on_feedback = _compare(against, predictor, data.held_out_feedback)
    reason = gate.refusal(on_mnist, on_feedback)
    figures = {"mnist": on_mnist.figures(), "feedback": on_feedback.figures()}

    name = saved.write(
        weights,
        Manifest(
            network=training["network"],
            state="rejected" if reason else "accepted",
            parent=active.name,
            calibration=predictor.calibration,
            metrics={"held_out": scoring.score(predictor, data.held_out), "gate": {"active": active.name, **figures}},
            training={**training, "job": order.job, "seed": order.seed, "device": str(device)},
            dataset=_dataset(data),
            libraries=packaging.libraries(),
        ),
    )
    tell(version=name, metrics={"gate": {"active": active.name, **figures}})
    _end(order, saved, name, active.name, reason)


def _end(order: Order, saved: ModelRegistry, name: str, active: str, reason: str | None) -> None:
    if reason:
        tell(state="rejected", reason=f"{name} is {reason}")
    elif order.activate == "manual":
        tell(state="succeeded", reason=f"{name} passed and waits for POST /models/{name}/activate")
    elif saved.active() != active:
        tell(state="succeeded", reason=f"{name} passed against {active}, but {saved.active()} was activated meanwhile")
    else:
        saved.activate(name)
        tell(state="succeeded", reason=f"{name} passed and is active")
    for removed in saved.prune(order.keep_versions):
        log(f"{removed} was removed: INKLING_KEEP_VERSIONS={order.keep_versions}")


def _data(order: Order) -> Data:
    digits, held_out = mnist.split(mnist.training_set(order.data, order.download))
    feedback, held_out_feedback = feedback_data.split(feedback_data.read(order.feedback), held_out)
    return Data(digits, held_out, feedback if order.use_feedback else feedback_data.NONE, held_out_feedback)


def _train(order: Order, base: Version, data: Data, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
    """The trained network, and the settings that it was trained with."""
    name = order.network or base.manifest.network
    if order.start_from == "current":
        if name != base.manifest.network:
            raise DataError(f"{base.name} is a {base.manifest.network}; a {name} can only start from scratch")
        settings = _given(FineTuning(), epochs=order.epochs, learning_rate=order.learning_rate)
        network = base.network.to(device)
        advance = JobProgress(settings.epochs).advance
        finetune.fit(settings, network, data.digits, data.feedback, order.seed, advance)
        return network, {"recipe": "fine-tuning", "network": name, **dataclasses.asdict(settings)}
    recipe = RECIPES["default"].untaught()  # teachers would take longer than the rest, and know no corrections
    recipe = recipe.but(network=name, epochs=order.epochs, learning_rate=order.learning_rate)
    network = networks.create(name).to(device)
    digits = _mixed(data)
    report = JobReport(recipe.epochs, _images(recipe, len(digits)))
    fit.fit(recipe, network, digits, data.held_out, order.seed, report)
    return network, {"recipe": "default", **dataclasses.asdict(recipe)}


def _images(recipe: Recipe, digits: int) -> int:
    """How many are drawn and trained on in all."""
    epoch = digits // recipe.batch_size * recipe.batch_size
    return sum(sum(fit.counts(recipe, part, digits)) + part.epochs * epoch for part in recipe.parts)


def _given(settings: Settings, **values: Any) -> Settings:
    """The settings, but for the values that are not None."""
    return dataclasses.replace(settings, **{name: value for name, value in values.items() if value is not None})


def _mixed(data: Data) -> Digits:
    if not len(data.feedback):
        return data.digits
    times = min(MOST_REPEATED, max(1, round(FEEDBACK_SHARE * len(data.digits) / len(data.feedback))))
    images: list[Tensor] = [data.digits.images, *[data.feedback.images] * times]
    labels: list[Tensor] = [data.digits.labels, *[data.feedback.labels] * times]
    return Digits(torch.cat(images), torch.cat(labels))


def _compare(active: Predictor, retrained: Predictor, digits: Digits) -> gate.Comparison:
    if not len(digits):
        return gate.Comparison(0, 0, 0, 0, 0)
    before, after = (scoring.logits_of(predictor, digits).argmax(axis=1) for predictor in (active, retrained))
    return gate.compare(before, after, digits.labels.numpy())


def _dataset(data: Data) -> dict[str, Any]:
    return {
        **packaging.dataset(data.digits, data.held_out),
        "name": "MNIST and feedback",
        "feedback": len(data.feedback),
        "feedback_sha256": data.feedback.fingerprint(),
        "held_out_feedback": len(data.held_out_feedback),
    }
