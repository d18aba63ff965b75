import copy

import numpy as np
import pytest
import torch

from models.inference import networks
from models.inference.networks import as_input
from training.data.mnist import Digits
from training.data.synthetic.outliers import bank
from training.progress import Report
from training.retraining import finetune
from training.retraining.feedback_data import NO_FEEDBACK
from training.retraining.finetune import FineTuning, fit

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def small_banks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "OUTLIERS", 90)
    monkeypatch.setattr(finetune, "RESTYLED", 300)


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Ten blots in place of MNIST, which augmentation does not make alike."""
    generator = np.random.default_rng(0)
    kinds = np.kron(generator.integers(0, 2, (10, 4, 4)), np.ones((5, 5)))
    tiles = np.pad(kinds, ((0, 0), (4, 4), (4, 4))).astype(np.uint8) * 255
    labels = torch.arange(1000) % 10
    return Digits(torch.from_numpy(tiles)[labels], labels)


def trained(
    digits: Digits, feedback: Digits, seed: int = 0, name: str = "net"
) -> tuple[torch.nn.Module, list[tuple[int, float, float, float]]]:
    torch.manual_seed(1)
    network, reports = networks.create(name), []
    settings = FineTuning(epochs=2, batch_size=64, learning_rate=0.003)
    torch.manual_seed(seed)
    fit(settings, network, digits, feedback, seed, lambda *report: reports.append(report))
    network.eval()
    return network, reports


def test_training_learns_the_digits_and_reports_progress(digits: Digits) -> None:
    network, reports = trained(digits, NO_FEEDBACK)
    assert [epoch for epoch, *_ in reports] == sorted(epoch for epoch, *_ in reports)
    assert (reports[0][0], reports[-1][0], reports[-1][1]) == (1, 2, 1.0)
    assert reports[-1][2] < reports[0][2]
    assert reports[-1][3] > 0.9
    assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_three_feedback_images_change_the_answer(digits: Digits) -> None:
    """The same blot three times, unlike the ten, among a thousand others."""
    unknown = torch.zeros(28, 28, dtype=torch.uint8)
    unknown[4:24, 12:16] = 255
    feedback = Digits(unknown.expand(3, 28, 28).clone(), torch.tensor([3, 3, 3]))
    shares = []
    for given in (NO_FEEDBACK, feedback):
        network, _ = trained(digits, given)
        with torch.inference_mode():
            shares.append(float(network(as_input(unknown[None])).softmax(1)[0, 3]))
    assert shares[1] > shares[0] + 0.1


@pytest.mark.parametrize(
    ("setting", "share"), [("DISTILLATION_WEIGHT", 0.8), ("OUTLIERS_PER_BATCH", 0.95), ("OLD_WEIGHTS_SHARE", 0.8)]
)
def test_each_safeguard_keeps_answers(
    digits: Digits, monkeypatch: pytest.MonkeyPatch, setting: str, share: float
) -> None:
    """Feedback contradicts the digits; without a safeguard the answers to digits, outliers or both change more."""
    start, _ = trained(digits, NO_FEEDBACK)
    wrong = Digits(digits.images[:10].repeat(3, 1, 1), (digits.labels[:10].repeat(3) + 1) % 10)
    outliers = as_input(bank(digits, 90, 9, Report(quiet=True)))
    known = {"DISTILLATION_WEIGHT": [as_input(digits.images[:10]), outliers], "OUTLIERS_PER_BATCH": [outliers]}

    def moved() -> list[float]:
        network = copy.deepcopy(start)
        fit(FineTuning(epochs=2, batch_size=64, learning_rate=0.003), network, digits, wrong, 0, lambda *_: None)
        network.eval()
        with torch.inference_mode():
            return [
                float((network(tiles).softmax(1) - start(tiles).softmax(1)).abs().mean())
                for tiles in known.get(setting, [outliers])
            ]

    with_safeguard = moved()
    monkeypatch.setattr(finetune, setting, 0)
    assert all(less < share * more for less, more in zip(with_safeguard, moved(), strict=True))


def test_the_same_seed_gives_the_same_weights(digits: Digits) -> None:
    weights = [trained(digits, NO_FEEDBACK, seed)[0].state_dict() for seed in (5, 5, 6)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert any(not torch.equal(tensor, weights[2][name]) for name, tensor in weights[0].items())


def test_the_statistics_of_batch_normalisation_are_frozen(digits: Digits) -> None:
    network, _ = trained(digits, NO_FEEDBACK, name="convnet")
    torch.manual_seed(1)
    before = networks.create("convnet").state_dict()
    statistics = [name for name in before if "running" in name]
    assert statistics
    assert all(torch.equal(before[name], network.state_dict()[name]) for name in statistics)
