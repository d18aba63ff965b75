"""The training loop of every recipe but the tutorial: augmented batches, one-cycle stages, averaged weights."""

from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.inference.networks import as_input
from training.data.mnist import Digits
from training.distillation import Teachers
from training.loop.batches import draw_synthetic, epoch_batches
from training.loop.checkpoint import Checkpoint
from training.loop.state import TrainState
from training.progress import Report
from training.recipes import Recipe

STAGE_SEEDS = 100
"""Distance between the seeds of a recipe's stages."""


def fit(
    recipe: Recipe,
    network: nn.Module,
    digits: Digits,
    held_out: Digits,
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
    teachers: Teachers | None = None,
    processes: int = 1,
) -> None:
    """Trains the network in place, on its device, and leaves it with the averaged weights of the best epoch.

    The best epoch of a stage makes the fewest errors on the held-out digits; the loss decides between equals. The next
    stage starts from its weights. With a checkpoint, every epoch is saved, and a resumed run ends with the weights of
    one that was never interrupted. processes: how many draw outliers in parallel.
    """
    device = next(network.parameters()).device
    training_digits = digits.to(device)
    held_out_images, held_out_labels = as_input(held_out.images, device), held_out.labels.to(device)
    size = recipe.batch_size
    batches = len(digits) // size
    done, last = 0, 0
    saved = checkpoint.load() if checkpoint else None
    if checkpoint and saved:
        with checkpoint.restoring():
            done = int(saved["epoch"])
            network.load_state_dict(saved["best_weights"])
        report.line(f"resuming after epoch {done} of {checkpoint.path}")

    for number, stage in enumerate(recipe.stages):
        first, last = last + 1, last + stage.epochs
        if done >= last:
            continue
        stage_seed = seed + number * STAGE_SEEDS
        if number:
            torch.manual_seed(stage_seed)
        stage_teachers = teachers if stage.distil else None
        synthetic = draw_synthetic(recipe, stage, digits, stage_seed, report, processes).to(device)
        state = TrainState(recipe, stage, network, batches, stage_seed)
        if checkpoint and saved and done >= first:
            with checkpoint.restoring():
                state.load_state_dict(saved)

        for epoch in range(max(first, done + 1), last + 1):
            started, total_loss = perf_counter(), torch.zeros((), device=device)
            set_train_mode(network, stage.dropout)
            with report.bar(f"epoch {epoch}/{recipe.epochs}", batches * size) as bar:
                for batch in epoch_batches(
                    stage, size, training_digits, synthetic, stage_teachers, state.shuffler, state.generator
                ):
                    total_loss += state.step(batch)
                    bar.advance(size)
            loss = total_loss.item() / batches
            speed = batches * size / (perf_counter() - started)

            errors, held_out_loss = evaluate(state.average.module, held_out_images, held_out_labels)
            state.keep_best(errors, held_out_loss)
            accuracy = 1 - errors / len(held_out)
            report.scores(loss, accuracy)
            report.line(
                f"epoch {epoch}/{recipe.epochs}  loss {loss:.4f}  "
                f"held out {accuracy:.2%} ({errors} wrong, loss {held_out_loss:.4f})  {speed:,.0f} images/s"
            )
            state.epoch = epoch
            if checkpoint:
                checkpoint.save(state.state_dict())
        network.load_state_dict(state.best_weights)


def set_train_mode(network: nn.Module, dropout: bool) -> None:
    """Training mode, with dropout as the network has it or with none."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout) and not dropout:
            module.eval()


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[int, float]:
    """Wrong answers and mean cross entropy; leaves the network in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        logits = torch.cat([network(some) for some in images.split(500)])
        return int((logits.argmax(1) != labels).sum()), F.cross_entropy(logits, labels).item()
