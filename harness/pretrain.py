"""Pre-training: SGD on a strategy's loss over two views of every image, resumable at any step (METHODS 1.3, 9.1)."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from harness import board, files, ranks
from harness.gauges import gauges
from harness.observers import Guest
from harness.records import read_curve
from methods.correspondence import Strategy
from methods.pixsim import Loss, PixSim
from methods.recipe import Recipe, require
from methods.views import BrokenImage, Order, TwoViews, View, normalise

CHECKPOINT_EVERY = 60.0  # seconds
POINTS = 100  # the curve has about as many, so that the gauges cost next to nothing


class PretrainError(ValueError):
    """A pre-training that cannot start or go on, in one line."""


@dataclass(frozen=True)
class Machine:
    """Where a run is made and who watches it; on a CPU nothing of it changes the result."""

    device: str = "cpu"  # or cuda
    workers: int = 1  # loader processes; 0 loads in the main process
    observers: tuple[Guest, ...] = ()  # of the whole run, beside its folder
    tensorboard: bool = False  # whether to draw the run for TensorBoard too


@dataclass
class Training:
    """A model, its optimizer and the steps they have made: what a checkpoint holds."""

    model: PixSim
    optimizer: torch.optim.SGD
    step: int = 0
    network: nn.Module | None = None  # calls the model, where ranks share the batch

    def save(self, file: Path) -> None:
        """Write the checkpoint whole or not at all."""
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        files.write(file, lambda out: torch.save(parts, out))

    def resume(self, file: Path) -> None:
        """Take over a checkpoint; PretrainError where it is damaged. The optimizer's settings stay the recipe's."""
        settings = self.optimizer.state_dict()["param_groups"]
        try:
            parts = torch.load(file, weights_only=True, map_location="cpu")
            self.model.load_state_dict(parts["model"])
            self.optimizer.load_state_dict({"state": parts["optimizer"]["state"], "param_groups": settings})
            self.step = parts["step"]
            require("step", self.step, type(self.step) is int and self.step >= 0, "a whole number")
            for weight, kept in self.optimizer.state.items():
                momentum = kept.get("momentum_buffer")
                require("momentum", kept, momentum is None or momentum.shape == weight.shape, "of its weight's shape")
        except Exception as error:  # torch raises whatever a damaged file leads it into
            raise PretrainError(f"{file}: not a readable checkpoint, remove it to start again") from error


def pretrain(
    strategy: Strategy, recipe: Recipe, images: Sequence[Path], folder: Path, seed: int, machine: Machine
) -> Path:
    """Train on the images and return folder/backbone.pth: the encoder's state dict under torchvision's names.

    folder/curve.jsonl holds the curve and folder/heads.pth the strategy's projector and predictor. Goes on from
    folder/checkpoint.pth; Ctrl-C and SIGTERM write that file and raise KeyboardInterrupt. Raises PretrainError for a
    loss that is not finite, BrokenImage for an undecodable file.
    """
    torch.manual_seed(seed)
    device = torch.device(machine.device)
    model = PixSim(strategy, recipe).to(device)
    training = Training(model, build_optimizer(model, recipe))
    checkpoint = folder / "checkpoint.pth"
    if checkpoint.exists():
        training.resume(checkpoint)
    if strategy.trains:
        train(training, recipe, images, folder, seed, machine)
    save(model.branch.head.state_dict(), folder / "heads.pth")
    save(model.encoder.state_dict(), folder / "backbone.pth")  # the last: where it is, the pre-training is done
    checkpoint.unlink(missing_ok=True)
    return folder / "backbone.pth"


def save(state: Mapping[str, Tensor], file: Path) -> None:
    """Write a state dict, whole or not at all."""
    weights = {name: value.cpu().contiguous() for name, value in state.items()}
    files.write(file, lambda out: torch.save(weights, out))


def train(
    training: Training, recipe: Recipe, images: Sequence[Path], folder: Path, seed: int, machine: Machine
) -> None:
    """The loop: every step from where the training stands to the end of the last epoch."""
    steps = steps_per_epoch(recipe, len(images))
    total, every = steps * recipe.epochs, max(1, steps * recipe.epochs // POINTS)
    device, saved, here = torch.device(machine.device), time.monotonic(), ranks.world()
    training.network = ranks.share(training)
    trim(folder / "curve.jsonl", training.step)
    batches = load(
        TwoViews(images, recipe, seed), Order(len(images), recipe, seed, training.step, here.rank, here.size), machine
    )
    bar = tqdm(
        total=total * recipe.batch, initial=training.step * recipe.batch, desc="pre-train", unit="img",
        disable=None if here.leads else True,
    )  # fmt: skip
    drawn = board.live(folder, machine.tensorboard)
    with bar, drawn as draw, stop_signals() as stopped, open(folder / "curve.jsonl", "a", encoding="utf-8") as curve:
        for first, second in named(batches):
            epoch = training.step // steps
            loss = update(training, recipe, epoch, (normalise(View(*first), device), normalise(View(*second), device)))
            training.step += 1
            if training.step % every == 0 or training.step == total:
                point = measure(training, recipe, epoch, ranks.gather(loss))
                curve.write(json.dumps(point) + "\n")
                draw(point)
                bar.set_postfix(loss=f"{point['loss']:.4f}", collapse=f"{point['collapse']:.2f}", refresh=False)
            bar.update(recipe.batch)
            stop = ranks.anywhere(stopped())
            if here.leads and (stop or time.monotonic() - saved > CHECKPOINT_EVERY):
                curve.flush()
                training.save(folder / "checkpoint.pth")
                saved = time.monotonic()
            if stop:
                ranks.meet()  # the checkpoint is written
                raise KeyboardInterrupt


def steps_per_epoch(recipe: Recipe, images: int) -> int:
    """Whole batches in the images; PretrainError where there is none."""
    if images < recipe.batch:
        raise PretrainError(f"batch={recipe.batch}: there are only {images} images to pre-train on")
    return images // recipe.batch


def update(training: Training, recipe: Recipe, epoch: int, views: tuple[View, View]) -> Loss:
    """One step of SGD; PretrainError, before anything is changed, where the loss is not finite."""
    set_rate(training.optimizer, recipe, epoch)
    with torch.autocast(views[0].image.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        loss: Loss = (training.network or training.model)(*views, epoch)
    if not torch.isfinite(loss.value):
        value, lr = loss.value.item(), recipe.lr
        raise PretrainError(f"the loss is {value} at step {training.step} (epoch {epoch}): lower lr (now {lr})")
    training.optimizer.zero_grad()
    loss.value.backward()
    training.optimizer.step()
    return loss


def build_optimizer(model: PixSim, recipe: Recipe) -> torch.optim.SGD:
    """SGD with a group of its own for the predictors, whose rate may stay (METHODS 1.3)."""
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    rest = [weight for name, weight in trained if "predictor" not in name]
    predictors = [weight for name, weight in trained if "predictor" in name]
    groups = [{"params": rest, "fixed": False}, {"params": predictors, "fixed": recipe.fix_predictor_lr}]
    return torch.optim.SGD(groups, rate(recipe, 0), momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def set_rate(optimizer: torch.optim.SGD, recipe: Recipe, epoch: int) -> None:
    """Give every group the rate of an epoch."""
    for group in optimizer.param_groups:
        group["lr"] = rate(recipe, 0 if group["fixed"] else epoch)


def rate(recipe: Recipe, epoch: int) -> float:
    """lr · batch / 256 · ½ (1 + cos(π epoch / epochs)) (SimSiam's adjust_learning_rate)."""
    return recipe.lr * recipe.batch / 256 * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))


def measure(training: Training, recipe: Recipe, epoch: int, loss: Loss) -> dict[str, float | None]:
    """A point of the curve; it holds no times, so that the same seed writes the same curve."""
    point = {"step": training.step, "epoch": epoch, "lr": rate(recipe, epoch), "loss": loss.value.item()}
    return {**point, **gauges(loss)}


def load(views: TwoViews, order: Order, machine: Machine) -> DataLoader[tuple[View, View]]:
    """Batches of two uint8 views."""
    cuda = machine.device.startswith("cuda")
    return DataLoader(
        views, batch_sampler=order, num_workers=machine.workers, pin_memory=cuda, worker_init_fn=prepare_worker
    )


def named(batches: DataLoader[tuple[View, View]]) -> Iterator[tuple[View, View]]:
    """The batches; a loader process hands on an error with its whole traceback, of which one line is for the user."""
    try:
        yield from batches
    except BrokenImage as error:
        raise BrokenImage(str(error).strip().splitlines()[-1].split("BrokenImage: ")[-1]) from error


def prepare_worker(worker: int) -> None:
    """A terminal's Ctrl-C and a cluster's SIGTERM reach every process, but it is the main one that stops its loader's.

    A loader process that dies of the signal takes the checkpoint with it, so only the second SIGTERM ends it.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def trim(curve: Path, step: int) -> None:
    """Drop the points beyond a step, which a run that was killed wrote after its last checkpoint."""
    kept = [f"{json.dumps(point)}\n" for point in read_curve(curve.parent) if point["step"] <= step]
    files.write(curve, lambda out: out.write("".join(kept).encode()))


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C or SIGTERM only makes the yielded function true; the second one interrupts at once."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
