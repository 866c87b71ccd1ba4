"""A training of any model: its state, when that is saved, and the check that comes before each step's update."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from benchmarks.resuming import checkpoints, signals
from benchmarks.resuming.checkpoints import Checkpoint, State


@dataclass
class Training:
    """A model, its optimizer and the number of steps they have made: what a checkpoint holds.

    Nothing else may decide the steps to come: whatever is random in a step must follow the seed and the step.
    """

    model: nn.Module
    optimizer: Optimizer
    step: int = 0
    wrapped: nn.Module | None = None  # the model within DistributedDataParallel, where ranks share the batch

    @property
    def network(self) -> nn.Module:
        """The module that a step calls."""
        return self.wrapped or self.model

    @property
    def state(self) -> State:
        """What a checkpoint holds."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}

    def take(self, state: State) -> None:
        """Go on from a state; raise any error where it does not fit. The optimizer keeps its own settings."""
        step = state["step"]
        if type(step) is not int or step < 0:
            raise ValueError(f"step={step!r}: a whole number was expected")
        self.model.load_state_dict(state["model"])
        self._take_optimizer(state["optimizer"])
        self.step = step

    def _take_optimizer(self, state: State) -> None:
        settings = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["state"], "param_groups": settings})
        for weight, kept in self.optimizer.state.items():
            momentum = kept.get("momentum_buffer")
            if momentum is not None and momentum.shape != weight.shape:
                raise ValueError(f"a momentum of shape {tuple(momentum.shape)}, its weight has {tuple(weight.shape)}")

    def distribute(self) -> None:
        """Bring every rank to the state of rank 0 and let each step average the gradients of all ranks."""
        own: State = {"optimizer": self.optimizer.state_dict(), "step": self.step}
        state = checkpoints.broadcast(own)
        self._take_optimizer(state["optimizer"])
        self.step = state["step"]
        self.wrapped = DistributedDataParallel(self.model)  # which broadcasts the weights


@dataclass
class Saver:
    """Saves a training's state every CHECKPOINT_EVERY seconds and before a stop; of several ranks, rank 0 does."""

    checkpoint: Checkpoint
    state: Callable[[], State]
    stopped: Callable[[], type[KeyboardInterrupt] | None]  # as signals.stop_signals yields it
    saved: float = field(default_factory=time.monotonic)  # when it was last done

    def after_step(self, last: bool = False) -> None:
        """Save if that is due or the step is the last one; raise what a signal asked for, on all ranks at once."""
        stop = signals.agree(self.stopped())
        ranks = distributed.is_initialized()
        due = last or stop or time.monotonic() - self.saved > checkpoints.CHECKPOINT_EVERY
        if due and not (ranks and distributed.get_rank()):
            self.checkpoint.save(self.state())
            self.saved = time.monotonic()
        if stop:
            if ranks:
                distributed.barrier()  # rank 0 has written the checkpoint
            raise stop


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Return whether every value of these tensors is finite; on a GPU it waits for the device, as a rule once.

    The norm of all values costs least and is finite only if all of them are. Where it is not, the squares of large
    values may have overflowed, and the smallest and largest value of each tensor decide.
    """
    if get_total_norm(tensors).isfinite():
        return True
    return bool(torch.stack([bound for tensor in tensors for bound in torch.aminmax(tensor)]).isfinite().all())


def gradients(model: nn.Module) -> list[Tensor]:
    """Return the gradients that a model's parameters have."""
    return [weight.grad for weight in model.parameters() if weight.grad is not None]
