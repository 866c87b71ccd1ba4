"""Pre-training: SGD on a strategy's loss over two views of every image, resumable at any step (METHODS 1.3, 9.1)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks.resuming.loading import ignore_signals, loaded
from benchmarks.resuming.signals import stop_signals
from benchmarks.resuming.training import Saver, Training, all_finite, gradients
from harness import records
from harness.engine import distributed, tensorboard
from harness.engine.gauges import gauges
from harness.engine.machine import Machine
from methods.augment import colour
from methods.cache import Cache
from methods.correspondence import Strategy
from methods.norm import join_norms
from methods.pixsim import Loss, PixSim
from methods.recipe import Recipe
from methods.views import Order, TwoViews, Uncoloured, View, frame, normalise

POINTS = 100  # the curve has about as many, so that the gauges cost next to nothing
NAMED = 16  # images of a batch that an error names


class PretrainError(ValueError):
    """A pre-training that cannot start or go on, in one line."""


class NotFinite(PretrainError):
    """A loss or a gradient that is not finite, before anything was made of it."""


def pretrain(
    strategy: Strategy,
    recipe: Recipe,
    images: Sequence[Path],
    folder: Path,
    seed: int,
    machine: Machine,
    draw: bool = False,
) -> Path:
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
    training: Training,
    recipe: Recipe,
    images: Sequence[Path],
    folder: Path,
    seed: int,
    machine: Machine,
    draw: bool,
) -> None:
    """The loop: every step from where the training stands to the end of the last epoch."""
    steps = steps_per_epoch(recipe, len(images))
    total, every = steps * recipe.epochs, max(1, steps * recipe.epochs // POINTS)
    here = distributed.world()
    distribute(training)
    records.trim_curve(folder, training.step)
    order = Order(len(images), recipe, seed, training.step, here.rank, here.size)
    batches = load(look(images, recipe, seed, machine), order, machine)
    bar = tqdm(
        total=total * recipe.batch, initial=training.step * recipe.batch, desc="pre-train", unit="img",
        disable=None if here.leads else True,
    )  # fmt: skip
    drawn, told = tensorboard.live(folder, draw), told_of(images, recipe, seed, training)
    with bar, drawn as show, stop_signals() as stopped, told:
        saver = Saver(records.checkpoint(folder), lambda: training.state, stopped)
        for epoch, loss in descent(training, recipe, steps, batches, machine):
            if training.step % every == 0 or training.step == total:
                point = measure(training, recipe, epoch, gather_loss(loss))
                records.append_point(folder, point)
                show(point)
                bar.set_postfix(loss=f"{point['loss']:.4f}", collapse=f"{point['collapse']:.2f}", refresh=False)
            bar.update(recipe.batch)
            saver.after_step()


def steps_per_epoch(recipe: Recipe, images: int) -> int:
    """Whole batches in the images; PretrainError where there is none."""
    if images < recipe.batch:
        raise PretrainError(f"batch={recipe.batch}: there are only {images} images to pre-train on")
    return images // recipe.batch


def descent(
    training: Training, recipe: Recipe, steps: int, batches: Iterable[tuple[Any, Any]], machine: Machine
) -> Iterator[tuple[int, Loss]]:
    """Step after step, so many an epoch, to the last batch: its epoch and its loss.

    The views that follow are made ready behind the gradient, which a GPU is then still at.
    """
    coming = loaded(batches)
    views = following(coming, machine)
    while views:
        epoch = training.step // steps
        loss = differentiate(training, recipe, epoch, views)
        views = following(coming, machine)
        descend(training, recipe, epoch, loss)
        training.step += 1
        yield epoch, loss


def update(training: Training, recipe: Recipe, epoch: int, views: tuple[View, View]) -> Loss:
    """One step of SGD; NotFinite, before any weight is changed, where the loss or its gradient is not finite."""
    loss = differentiate(training, recipe, epoch, views)
    descend(training, recipe, epoch, loss)
    return loss


def differentiate(training: Training, recipe: Recipe, epoch: int, views: tuple[View, View]) -> Loss:
    """The loss of a step, whose gradient the weights have; on a GPU they may still be in the making."""
    with torch.autocast(views[0].image.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        loss: Loss = training.network(*views, epoch)
    training.optimizer.zero_grad()
    loss.value.backward()
    return loss


def descend(training: Training, recipe: Recipe, epoch: int, loss: Loss) -> None:
    """Change the weights by their gradient; NotFinite, before that, where it or the loss is not finite."""
    set_rate(training.optimizer, recipe, epoch)
    check(training, recipe, epoch, loss)
    training.optimizer.step()


def check(training: Training, recipe: Recipe, epoch: int, loss: Loss) -> None:
    """Raise NotFinite if the loss or a gradient is not finite."""
    value = loss.value.detach()
    if not all_finite([value, *gradients(training.model)]):
        name = "gradient" if value.isfinite() else "loss"
        at = f"step {training.step} (epoch {epoch})"
        raise NotFinite(f"the {name} is not finite at {at}: lower lr (now {recipe.lr})")


def distribute(training: Training) -> None:
    """Bring every rank, where there are several, to the state of rank 0, and let a step see the joined batch."""
    if distributed.world().size > 1:
        join_norms(training.model, next(training.model.parameters()).device)
        training.distribute()


def gather_loss(loss: Loss) -> Loss:
    """A step's loss on the joined batch with all that the gauges read, on every rank."""
    size = distributed.world().size
    if size == 1:
        return loss

    def whole(part: Tensor) -> Tensor:
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(size)]
        torch.distributed.all_gather(parts, part.detach().contiguous())
        return torch.cat(parts)

    first, second = (view._replace(box=whole(view.box)) for view in loss.views)
    value = whole(loss.value[None]).mean()
    return loss._replace(
        value=value, z=whole(loss.z), views=(first, second), forth=type(loss.forth)(*map(whole, loss.forth))
    )


@contextmanager
def told_of(images: Sequence[Path], recipe: Recipe, seed: int, training: Training) -> Iterator[None]:
    """In an error about a step its images are named."""
    try:
        yield
    except NotFinite as error:
        raise NotFinite(f"{error}; its images: {batch_names(images, recipe, seed, training.step)}") from None


def batch_names(images: Sequence[Path], recipe: Recipe, seed: int, step: int) -> str:
    """The files of a step's batch, for an error."""
    chosen = next(iter(Order(len(images), recipe, seed, step)))
    more = f" and {len(chosen) - NAMED} more" if len(chosen) > NAMED else ""
    return ", ".join(images[index].name for _, index in chosen[:NAMED]) + more


def build_optimizer(model: PixSim, recipe: Recipe, fused: bool = False) -> torch.optim.SGD:
    """SGD with a group of its own for the predictors, whose rate may stay (METHODS 1.3)."""
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    rest = [weight for name, weight in trained if "predictor" not in name]
    predictors = [weight for name, weight in trained if "predictor" in name]
    groups = [{"params": rest, "fixed": False}, {"params": predictors, "fixed": recipe.fix_predictor_lr}]
    return torch.optim.SGD(
        groups, rate(recipe, 0), momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=fused or None
    )


def set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> None:
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


def look(images: Sequence[Path], recipe: Recipe, seed: int, machine: Machine) -> TwoViews:
    """The views as the loader's processes leave them."""
    cache = Cache(images, frame, machine.cache) if machine.cache else None
    return TwoViews(images, recipe, seed, machine.augment == "workers", machine.reduced, cache)


def following(batches: Iterator[tuple[Any, Any]], machine: Machine) -> tuple[View, View] | None:
    """The loader's next two views as the encoder takes them; None behind the last."""
    made, device = next(batches, None), torch.device(machine.device)
    if made is None:
        return None
    views = colour(made, device, machine.compile) if isinstance(made[0], Uncoloured) else made
    return normalise(views[0], device), normalise(views[1], device)


def load(views: TwoViews, order: Order, machine: Machine) -> DataLoader[tuple[Any, Any]]:
    """Batches of two uint8 views, View or Uncoloured."""
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
