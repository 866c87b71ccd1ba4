"""Pre-training: SGD on a strategy's loss over two views of every image, resumable at any step (METHODS 1.3, 9.1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.resuming.loading import ignore_signals, loaded
from benchmarks.resuming.progress import Progress
from benchmarks.resuming.signals import stop_signals
from benchmarks.resuming.training import Saver, Training, all_finite, gradients
from harness import records
from harness.engine import distributed, tensorboard
from harness.engine.gauges import gauges
from harness.engine.machine import Machine
from harness.records import Point
from methods.augment import colour
from methods.cache import Cache
from methods.correspondence import Strategy
from methods.norm import join_norms
from methods.pixsim import Loss, PixSim
from methods.recipe import Recipe
from methods.views import Order, RawView, TwoViews, View, frame, normalise

POINTS = 100  # the curve has about as many, so that the gauges cost next to nothing
NAMED = 16  # images of a batch that an error names

Batch = tuple[Any, Any]  # two views of some images as the loader leaves them, uint8: View or RawView both


class PretrainError(ValueError):
    """A pre-training that cannot start or go on, in one line."""


class NotFinite(PretrainError):
    """A loss or a gradient that is not finite, raised before it changes any weight."""


def pretrain(
    strategy: Strategy, recipe: Recipe, images: Sequence[Path], folder: Path, seed: int, machine: Machine,
    draw: bool = False,
) -> Path:  # fmt: skip
    """Train on the images, write curve, heads and encoder into a run's folder and return the encoder's file.

    The encoder's state dict has torchvision's names, the heads are the strategy's projector and predictor. draw: write
    the curve for TensorBoard too. Resumes from the run's checkpoint; Ctrl-C writes it and raises KeyboardInterrupt,
    SIGTERM and SIGUSR1 Requeued. Raises NotFinite for a loss or a gradient that is not finite, BrokenImage for an
    undecodable file.
    """
    torch.manual_seed(seed)
    device = torch.device(machine.device)
    model = PixSim(strategy, recipe).to(device)
    training = Training(model, build_optimizer(model, recipe, machine.fused))
    if machine.compile:
        compile_encoder(model)
    records.checkpoint(folder).resume(training.take)
    if strategy.trains:
        train(training, recipe, images, folder, seed, machine, draw)
    records.write_weights(folder, model.encoder.state_dict(), model.branch.head.state_dict())
    return folder / records.BACKBONE


def compile_encoder(model: PixSim) -> None:
    """Let torch.compile make one graph of the encoder; `compile()` of a Sequential makes many on torch 2.11."""
    model.encoder.forward = torch.compile(model.encoder.forward)  # type: ignore[method-assign]


def train(
    training: Training, recipe: Recipe, images: Sequence[Path], folder: Path, seed: int, machine: Machine, draw: bool
) -> None:
    """Make every step from where the training stands to the end of the last epoch."""
    per_epoch = steps_per_epoch(recipe, len(images))
    total, every = per_epoch * recipe.epochs, max(1, per_epoch * recipe.epochs // POINTS)
    here = distributed.world()
    distribute(training)
    records.trim_curve(folder, training.step)
    order = Order(len(images), recipe, seed, training.step, here.rank, here.size)
    batches = loaded(load(view_dataset(images, recipe, seed, machine), order, machine))
    images_done, in_all = training.step * recipe.batch, total * recipe.batch
    progress = Progress[None]("pre-train", "images", in_all, images_done, here.leads)
    drawing, naming = tensorboard.live(folder, draw), name_batch_in_errors(images, recipe, seed, training)
    with closing(batches), progress, drawing as draw_point, stop_signals() as stopped, naming:
        saver = Saver(records.checkpoint(folder), lambda: training.state, stopped)
        for epoch, loss in steps(training, recipe, per_epoch, batches, machine):
            if training.step % every == 0 or training.step == total:
                point = measure(training, recipe, epoch, gather_loss(loss))
                records.append_point(folder, point)
                draw_point(point)
                std = f"std of ẑ·√C {point['collapse']:.2f} (1 healthy, 0 collapsed)"
                progress.note(f"loss {point['loss']:.4f}, {std}")
            progress.advance(recipe.batch)
            saver.after_step()


def steps_per_epoch(recipe: Recipe, images: int) -> int:
    """Return the number of whole batches; PretrainError if there is none."""
    if images < recipe.batch:
        raise PretrainError(f"batch={recipe.batch}: there are only {images} images to pre-train on")
    return images // recipe.batch


def steps(
    training: Training, recipe: Recipe, per_epoch: int, batches: Iterator[Batch], machine: Machine
) -> Iterator[tuple[int, Loss]]:
    """Make a step with each batch and yield its epoch and its loss.

    The next views are prepared after the gradient is asked for, which a GPU is then still computing.
    """
    views = next_views(batches, machine)
    while views:
        epoch = training.step // per_epoch
        loss = backward(training, recipe, epoch, views)
        views = next_views(batches, machine)
        optimizer_step(training, recipe, epoch, loss)
        training.step += 1
        yield epoch, loss


def train_step(training: Training, recipe: Recipe, epoch: int, views: tuple[View, View]) -> Loss:
    """Make one step and return its loss; raise NotFinite, before any weight changes, for one that is not finite."""
    loss = backward(training, recipe, epoch, views)
    optimizer_step(training, recipe, epoch, loss)
    return loss


def backward(training: Training, recipe: Recipe, epoch: int, views: tuple[View, View]) -> Loss:
    """Return the loss of two views and give the weights its gradient; a GPU may still be computing both."""
    with torch.autocast(views[0].image.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        loss: Loss = training.network(*views, epoch)
    training.optimizer.zero_grad()
    loss.value.backward()
    return loss


def optimizer_step(training: Training, recipe: Recipe, epoch: int, loss: Loss) -> None:
    """Change the weights by their gradient; raise NotFinite, before that, if the gradient or the loss is not finite."""
    set_learning_rate(training.optimizer, recipe, epoch)
    check_finite(training, recipe, epoch, loss)
    training.optimizer.step()


def check_finite(training: Training, recipe: Recipe, epoch: int, loss: Loss) -> None:
    """Raise NotFinite if the loss or a gradient is not finite."""
    value = loss.value.detach()
    if not all_finite([value, *gradients(training.model)]):
        name = "gradient" if value.isfinite() else "loss"
        at = f"step {training.step} (epoch {epoch})"
        raise NotFinite(f"the {name} is not finite at {at}: lower lr (now {recipe.lr})")


def distribute(training: Training) -> None:
    """Bring every rank, if there are several, to the state of rank 0, and let each step see the global batch."""
    if distributed.world().size > 1:
        join_norms(training.model, next(training.model.parameters()).device)
        training.distribute()


def gather_loss(loss: Loss) -> Loss:
    """Return, on every rank, the loss of the global batch with all that the gauges read."""
    size = distributed.world().size
    if size == 1:
        return loss

    def gather(part: Tensor) -> Tensor:
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(size)]
        torch.distributed.all_gather(parts, part.detach().contiguous())
        return torch.cat(parts)

    first, second = (view._replace(box=gather(view.box)) for view in loss.views)
    value = gather(loss.value[None]).mean()
    return loss._replace(
        value=value, z=gather(loss.z), views=(first, second), forth=type(loss.forth)(*map(gather, loss.forth))
    )


@contextmanager
def name_batch_in_errors(images: Sequence[Path], recipe: Recipe, seed: int, training: Training) -> Iterator[None]:
    """Add the names of a step's images to a NotFinite that it raises."""
    try:
        yield
    except NotFinite as error:
        raise NotFinite(f"{error}; its images: {batch_names(images, recipe, seed, training.step)}") from None


def batch_names(images: Sequence[Path], recipe: Recipe, seed: int, step: int) -> str:
    """Return the names of the files of a step's global batch, the first NAMED of them."""
    batch = next(iter(Order(len(images), recipe, seed, step)))
    more = f" and {len(batch) - NAMED} more" if len(batch) > NAMED else ""
    return ", ".join(images[index].name for _, index in batch[:NAMED]) + more


def build_optimizer(model: PixSim, recipe: Recipe, fused: bool = False) -> torch.optim.SGD:
    """Return SGD with a parameter group for the predictors, whose learning rate may be fixed (METHODS 1.3)."""
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    others = [weight for name, weight in trained if "predictor" not in name]
    predictors = [weight for name, weight in trained if "predictor" in name]
    groups = [{"params": others, "fixed": False}, {"params": predictors, "fixed": recipe.fix_predictor_lr}]
    return torch.optim.SGD(
        groups, learning_rate(recipe, 0), momentum=recipe.momentum, weight_decay=recipe.weight_decay,
        fused=fused or None,
    )  # fmt: skip


def set_learning_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> None:
    """Give every parameter group the learning rate of an epoch."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, 0 if group["fixed"] else epoch)


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Return lr · batch / 256 · ½ (1 + cos(π epoch / epochs)) (SimSiam's adjust_learning_rate)."""
    return recipe.lr * recipe.batch / 256 * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))


def measure(training: Training, recipe: Recipe, epoch: int, loss: Loss) -> Point:
    """Return a point of the curve; it holds no times, so that the same seed writes the same curve."""
    where = {"step": training.step, "epoch": epoch, "lr": learning_rate(recipe, epoch)}
    return {**where, "loss": loss.value.item(), **gauges(loss)}


def view_dataset(images: Sequence[Path], recipe: Recipe, seed: int, machine: Machine) -> TwoViews:
    """Return the data set whose items are two views of an image, coloured or not as the machine wants them."""
    cache = Cache(images, frame, machine.cache) if machine.cache else None
    return TwoViews(images, recipe, seed, machine.augment == "workers", machine.reduced, cache)


def next_views(batches: Iterator[Batch], machine: Machine) -> tuple[View, View] | None:
    """Return the next pair of views, augmented and normalised on the device; None at the end."""
    batch, device = next(batches, None), torch.device(machine.device)
    if batch is None:
        return None
    first, second = colour(batch, device, machine.compile) if isinstance(batch[0], RawView) else batch
    return normalise(first, device), normalise(second, device)


def load(views: TwoViews, order: Order, machine: Machine) -> DataLoader[Batch]:
    """Return a loader of batches, uint8."""
    return DataLoader(
        views,
        batch_sampler=order,
        num_workers=machine.workers,
        pin_memory=machine.device.startswith("cuda"),
        worker_init_fn=prepare_worker,
        multiprocessing_context="fork" if views.cache and machine.workers else None,
    )


def prepare_worker(worker: int) -> None:
    """Use one thread, and leave signals to the main process."""
    torch.set_num_threads(1)
    ignore_signals(worker)
