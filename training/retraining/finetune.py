"""Fine-tunes a trained network on corrections, without forgetting what it knew.

What few corrections cannot show of their hand is learned from MNIST digits that are restyled to match them
(training/retraining/writer_adaptation.py).
Three things keep the old: MNIST digits and outliers are replayed in every batch (Rolnick et al. 2019, arXiv
1811.11682), and on them the network is taught by its former self (Li and Hoiem 2016, arXiv 1606.09282); the statistics
of batch normalisation stay; and what is left is a mean of the old weights and the new (Wortsman et al. 2022, arXiv
2109.01903), which keeps much of what was learned and forgets next to nothing.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.inference.predictor import as_input
from training import teachers
from training.data.augment import augment
from training.data.mnist import Digits
from training.data.synthetic.outliers import bank
from training.loop.fit import draw
from training.progress import Report
from training.retraining import writer_adaptation
from training.teachers import Teachers

EPOCH = 12_500
"""MNIST digits that an epoch replays."""
SHARE, REWRITTEN_SHARE = 0.125, 0.25
"""Among the digits of a batch, however few there are: corrections, and digits rewritten as they are."""
REWRITTEN = 6_000
DISTORTED = 0.5
"""How far both are distorted."""
REPLAYED_DISTORTED, REPLAYED_DAMAGED = 0.3, 0.1
"""What is replayed, less: the digits among it stand for the plain ones that must not be lost."""
REPLAYED_WEIGHT = 0.25
"""Of the labels of what is replayed: next to its former answers they say little."""
FORMER_WEIGHT, FORMER_SHARE = 0.8, 0.5
"""Of the former answers in the loss, and of the former weights in what is left."""
OUTLIERS, OUTLIERS_A_BATCH = 2_000, 1 / 6


@dataclass(frozen=True)
class FineTuning:
    epochs: int = 2
    batch_size: int = 128
    learning_rate: float = 0.001
    weight_decay: float = 0.02


def fit(
    settings: FineTuning,
    network: nn.Module,
    digits: Digits,
    feedback: Digits,
    seed: int,
    advance: Callable[[int, float, float, float], None],
) -> None:
    """Trains the network in place, on the device that it is on; no feedback at all is fine.

    Calls `advance` every few batches, with the epoch, the share of the work that is done, and the loss and the accuracy
    of one batch as it was trained on, augmented.
    """
    device = next(network.parameters()).device
    network.to(memory_format=torch.channels_last).eval()
    former = Teachers([copy.deepcopy(network)], device)
    old = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    strangers = bank(digits, OUTLIERS, seed, Report(quiet=True)).to(device)
    generator = torch.Generator(device).manual_seed(seed)
    shuffler = torch.Generator().manual_seed(seed)
    corrections = feedback.to(device)
    sources: list[tuple[Digits, int]] = []
    if len(feedback):
        alike = writer_adaptation.rewritten(network, digits, corrections, REWRITTEN, generator)
        shares = ((corrections, SHARE), (alike, REWRITTEN_SHARE))
        sources = [(source, round(share * settings.batch_size)) for source, share in shares]

    replayed = settings.batch_size - sum(count for _, count in sources)
    batches = min(EPOCH, len(digits)) // replayed
    total = settings.epochs * batches
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=total, pct_start=0.1)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    for step in range(total):
        if step % batches == 0:
            order = torch.randperm(len(digits), generator=shuffler)
        chosen = order[step % batches * replayed :][:replayed]
        others = draw(strangers, round(OUTLIERS_A_BATCH * settings.batch_size), generator)
        known = as_input(torch.cat([digits.images[chosen].to(device), strangers[others]]))
        known = augment(known, generator, REPLAYED_DISTORTED, REPLAYED_DAMAGED)
        new = [source[draw(source.images, count, generator)] for source, count in sources]
        hand = [augment(as_input(some.images), generator, DISTORTED, 0) for some in new]
        labels = torch.cat([digits.labels[chosen].to(device), *[some.labels for some in new]])
        logits = network(torch.cat([known, *hand]).contiguous(memory_format=torch.channels_last))
        read = torch.cat([logits[:replayed], logits[len(known) :]])
        kept = teachers.distance(logits[: len(known)], former.answers(known))
        loss = _error(read, labels, replayed) + FORMER_WEIGHT * kept
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 10 == 9 or step == total - 1:
            right = read.argmax(1) == labels
            advance(step // batches + 1, (step + 1) / total, loss.item(), right.float().mean().item())
    network.load_state_dict({name: _between(old[name], tensor) for name, tensor in network.state_dict().items()})


def _error(logits: Tensor, labels: Tensor, replayed: int) -> Tensor:
    """Cross entropy, of which the first `replayed` count less."""
    errors = F.cross_entropy(logits, labels, reduction="none")
    return torch.cat([REPLAYED_WEIGHT * errors[:replayed], errors[replayed:]]).mean()


def _between(old: Tensor, new: Tensor) -> Tensor:
    return torch.lerp(new, old, FORMER_SHARE) if new.is_floating_point() else new
