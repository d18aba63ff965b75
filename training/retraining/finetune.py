"""Fine-tunes a trained network on feedback without forgetting what it knew.

Feedback is little, so MNIST digits that are restyled to match it (writer_adaptation.py) join it. Four things preserve
what the network knew. MNIST digits and outliers are replayed in every batch (Rolnick et al. 2019, arXiv 1811.11682).
On these the network is distilled from its former self (Li and Hoiem 2016, arXiv 1606.09282). The statistics of batch
normalisation are frozen. And the result is the mean of the old and the new weights (Wortsman et al. 2022, arXiv
2109.01903).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from models.inference.networks import as_input
from training.data.augment import augment
from training.data.mnist import Digits
from training.data.synthetic.outliers import bank
from training.distillation import Teachers, distillation_loss
from training.loop.batches import sample_indices
from training.progress import Report
from training.retraining import writer_adaptation

REPLAYED_DIGITS = 12_500
"""MNIST digits that are replayed in an epoch."""
FEEDBACK_SHARE, RESTYLED_SHARE = 0.125, 0.25
"""Shares of a batch's digits, however little feedback there is; the others are replayed."""
RESTYLED = 6_000
DISTORTION = 0.5
"""Strength of the augmentation of feedback and restyled digits."""
REPLAY_DISTORTION, REPLAY_DAMAGE = 0.3, 0.1
"""Strengths of the augmentation of what is replayed, lower as it stands for plain digits."""
REPLAY_LABEL_WEIGHT = 0.25
"""Weight of the labels of replayed digits, low as distillation says more."""
DISTILLATION_WEIGHT = 0.8
OLD_WEIGHTS_SHARE = 0.5
"""Share of the old weights in the result."""
OUTLIERS, OUTLIERS_PER_BATCH = 2_000, 1 / 6
"""Outliers that are drawn, and how many are replayed, as a share of the batch size, on top of a batch's digits."""


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
    """Trains the network in place, on its device; feedback may be empty.

    Calls `advance` every ten batches and at the end with the epoch, the share of all batches done, and the loss and the
    accuracy on the digits of the last batch, augmented.
    """
    device = next(network.parameters()).device
    generator, shuffler = torch.Generator(device).manual_seed(seed), torch.Generator().manual_seed(seed)

    network.to(memory_format=torch.channels_last).eval()
    former = Teachers([copy.deepcopy(network)], device)
    old = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    outliers = bank(digits, OUTLIERS, seed, Report(quiet=True)).to(device)
    feedback = feedback.to(device)
    new: list[tuple[Digits, int]] = []
    if len(feedback):
        restyled = writer_adaptation.restyled(network, digits, feedback, RESTYLED, generator)
        shares = ((feedback, FEEDBACK_SHARE), (restyled, RESTYLED_SHARE))
        new = [(source, round(share * settings.batch_size)) for source, share in shares]
    replayed = settings.batch_size - sum(count for _, count in new)
    batches = min(REPLAYED_DIGITS, len(digits)) // replayed
    steps = settings.epochs * batches

    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps, pct_start=0.1)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()

    for step in range(steps):
        if step % batches == 0:
            order = torch.randperm(len(digits), generator=shuffler)
        old_digits = digits[order[step % batches * replayed :][:replayed]].to(device)
        drawn = sample_indices(outliers, round(OUTLIERS_PER_BATCH * settings.batch_size), generator)
        replay = as_input(torch.cat([old_digits.images, outliers[drawn]]))
        replay = augment(replay, generator, REPLAY_DISTORTION, REPLAY_DAMAGE)
        new_digits = [source[sample_indices(source.images, count, generator)] for source, count in new]
        tiles = [augment(as_input(some.images), generator, DISTORTION, 0) for some in new_digits]
        labels = torch.cat([old_digits.labels, *[some.labels for some in new_digits]])

        logits = network(torch.cat([replay, *tiles]).contiguous(memory_format=torch.channels_last))
        digit_logits = torch.cat([logits[:replayed], logits[len(replay) :]])
        errors = F.cross_entropy(digit_logits, labels, reduction="none")
        errors = torch.cat([REPLAY_LABEL_WEIGHT * errors[:replayed], errors[replayed:]])
        distillation = distillation_loss(logits[: len(replay)], former.soft_targets(replay))
        loss = errors.mean() + DISTILLATION_WEIGHT * distillation

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 10 == 9 or step == steps - 1:
            accuracy = (digit_logits.argmax(1) == labels).float().mean()
            advance(step // batches + 1, (step + 1) / steps, loss.item(), accuracy.item())

    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(old[name], OLD_WEIGHTS_SHARE)
