"""The training loop behind every recipe but the tutorial: augmented batches, one cycle, averaged weights."""

import copy
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.prediction import as_input
from training.augmentation import augment
from training.mnist import Digits
from training.outliers import bank
from training.progress import Report
from training.recipes import Recipe

AVERAGING = 0.999
OUTLIERS_A_BATCH = 1 / 6
OUTLIER_WEIGHT = 0.5


def fit(recipe: Recipe, network: nn.Module, digits: Digits, held_out: Digits, seed: int, report: Report) -> None:
    """Trains the network in place, on the device that it is on, and leaves it with the best epoch's averaged weights.

    The best epoch is the one with the fewest errors on the held-out digits, and the smaller loss between equals.
    """
    device = next(network.parameters()).device
    images, labels = digits.images.to(device), digits.labels.to(device)
    held_out_images, held_out_labels = as_input(held_out.images, device), held_out.labels.to(device)
    strangers = bank(digits, recipe.outliers, seed).to(device) if recipe.outliers else images[:0]
    shuffler = torch.Generator().manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)

    network.to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING), use_buffers=True)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    batches = len(images) // recipe.batch_size  # the last, smaller batch would disturb batch normalisation
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * batches, pct_start=0.15
    )

    best: tuple[int, float] | None = None
    best_weights: dict[str, Tensor] = {}
    for epoch in range(1, recipe.epochs + 1):
        started = perf_counter()
        network.train()
        total_loss = torch.zeros((), device=device)
        order = torch.randperm(len(images), generator=shuffler).to(device)
        with report.bar(f"epoch {epoch}/{recipe.epochs}", batches * recipe.batch_size) as bar:
            for chosen in order.split(recipe.batch_size)[:batches]:
                drawn = torch.cat([images[chosen], _some(strangers, len(chosen), generator)])
                tiles = augment(as_input(drawn), generator).contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=_fast_bfloat16(device)):
                    loss = _loss(network(tiles), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                average.update_parameters(network)
                total_loss += loss.detach()
                bar.advance(len(chosen))

        errors, held_out_loss = _errors_and_loss(average.module, held_out_images, held_out_labels)
        if best is None or (errors, held_out_loss) < best:
            best = (errors, held_out_loss)
            best_weights = copy.deepcopy(average.module.state_dict())
        report.scores(total_loss.item() / batches, 1 - errors / len(held_out))
        report.line(
            f"epoch {epoch}/{recipe.epochs}  loss {total_loss.item() / batches:.4f}  "
            f"held out {1 - errors / len(held_out):.2%} ({errors} wrong, loss {held_out_loss:.4f})  "
            f"{batches * recipe.batch_size / (perf_counter() - started):,.0f} images/s"
        )
    network.load_state_dict(best_weights)


def _some(strangers: Tensor, digits: int, generator: torch.Generator) -> Tensor:
    count = int(digits * OUTLIERS_A_BATCH) if len(strangers) else 0
    device = strangers.device
    return strangers[torch.randint(max(len(strangers), 1), (count,), generator=generator, device=device)]


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the digits, and of the outliers behind them against `no idea` (Hendrycks et al. 2019)."""
    loss = F.cross_entropy(logits[: len(labels)], labels)
    if len(logits) > len(labels):
        loss = loss - OUTLIER_WEIGHT * F.log_softmax(logits[len(labels) :], dim=1).mean()
    return loss


def _errors_and_loss(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[int, float]:
    network.eval()
    with torch.inference_mode():
        logits = torch.cat([network(part) for part in images.split(500)])
        return int((logits.argmax(1) != labels).sum()), F.cross_entropy(logits, labels).item()


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
