import pytest
import torch

from models.inference import networks
from training.data.mnist import Digits, split
from training.loop import tutorial
from training.progress import Report
from training.recipes import TUTORIAL

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    "seed",
    [
        0,
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(2, marks=pytest.mark.slow),
        pytest.param(3, marks=pytest.mark.slow),
        pytest.param(4, marks=pytest.mark.slow),
    ],
)
def test_one_epoch_gets_96_per_cent_right(
    seed: int, training_digits: Digits, test_digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(seed)
    network = networks.create("net")
    digits, _ = split(training_digits)
    tutorial.fit(TUTORIAL, network, digits, test_digits, seed, Report())

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("loss")[0] for line in lines[:-1]] == [f"epoch 1  batch {n}  " for n in range(100, 900, 100)]
    with torch.inference_mode():
        right = (network(test_digits.images.unsqueeze(1) / 255).argmax(1) == test_digits.labels).double().mean().item()
    assert right >= 0.96
    assert lines[-1].startswith(f"epoch 1  test accuracy {right:.2%}")
