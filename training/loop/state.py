"""Everything that changes from step to step in one stage: weights, optimisers, schedules, random state."""

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.loop.checkpoint import RunState
from training.loop.muon import Muon
from training.loop.step import Batch, ForwardBackward
from training.recipes import Recipe, Stage


class TrainState:
    """epoch: the last complete one, counted over the whole recipe."""

    def __init__(self, recipe: Recipe, stage: Stage, network: nn.Module, batches: int, seed: int) -> None:
        """batches: in one epoch."""
        device = next(network.parameters()).device
        self.epoch = 0
        self.network = network.to(memory_format=torch.channels_last)
        self.forward_backward = ForwardBackward(self.network)
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True)
        parameters = list(network.parameters())
        # Muon gets the kernels of all convolutions but the first, which has a single channel in.
        kernels = [one for one in parameters if recipe.muon and one.ndim == 4 and one.shape[1] > 1]
        others = [one for one in parameters if all(one is not kernel for kernel in kernels)]
        adam = torch.optim.AdamW(others, lr=stage.learning_rate, weight_decay=recipe.weight_decay, fused=True)
        cycle = partial(OneCycleLR, total_steps=stage.epochs * batches, pct_start=0.15)
        self.optimizers: list[torch.optim.Optimizer] = [adam]
        self.schedules = [cycle(adam, stage.learning_rate)]
        if kernels:
            muon = Muon(kernels, lr=recipe.muon * stage.learning_rate)
            self.optimizers.append(muon)
            self.schedules.append(cycle(muon, recipe.muon * stage.learning_rate, cycle_momentum=False))
        self.shuffler = torch.Generator().manual_seed(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.best: tuple[int, float] | None = None
        self.best_weights: dict[str, Tensor] = {}

    def step(self, batch: Batch) -> Tensor:
        """Updates the weights and their average; returns the loss before the update."""
        loss = self.forward_backward(batch)
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
        self.average.update_parameters(self.network)
        return loss

    def keep_best(self, errors: int, loss: float) -> None:
        """Copies the averaged weights if they make fewer errors than any before, or as many at a smaller loss."""
        if self.best is None or (errors, loss) < self.best:
            self.best = (errors, loss)
            self.best_weights = copy.deepcopy(self.average.module.state_dict())

    def state_dict(self) -> RunState:
        device = self.generator.device
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
            "shuffler": self.shuffler.get_state(),
            "generator": self.generator.get_state(),
            "dropout": torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state(),
            "best": self.best,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state: RunState) -> None:
        device = self.generator.device
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
        self.shuffler.set_state(state["shuffler"])
        self.generator.set_state(state["generator"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(state["dropout"], device)
        else:
            torch.set_rng_state(state["dropout"])
        self.best, self.best_weights = state["best"], state["best_weights"]
