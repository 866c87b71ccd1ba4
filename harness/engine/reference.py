"""What a pre-training computes, in a few numbers: reference steps of a strategy and its recipe on fixed tiny inputs.

Two versions of the code whose numbers agree train the same backbone from the same images and seed, however their text
differs. They are always computed on the CPU in double precision; precision and size are settings, which a record has.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.resuming.training import Training, gradients
from harness.engine import pretrain
from harness.engine.machine import Machine
from methods.correspondence import Strategy
from methods.pixsim import PixSim
from methods.recipe import Recipe
from methods.views import Order, View

IMAGES = 4  # one batch
FRAME = 120, 90  # px, width and height
SIDE = 96  # px of a view, at most: three cells a side
SEED = 0
BY = Machine(workers=0)
KNOWN: dict[str, tuple[float, ...]] = {}  # in this process


def reference(strategy: Strategy, recipe: Recipe) -> tuple[float, ...]:
    """Return the reference numbers, computed once in a process, and not while it shares its sums with other ranks."""
    key = repr((type(strategy).__module__, strategy, recipe))
    if key not in KNOWN:
        if torch.distributed.is_initialized():
            raise RuntimeError("the reference steps must come before the ranks are joined")
        KNOWN[key] = tried(strategy, recipe)
    return KNOWN[key]


def tried(strategy: Strategy, recipe: Recipe) -> tuple[float, ...]:
    """Return the reference numbers, in single precision of a strategy that insists on it.

    None are known of a strategy that fails on these inputs: what is wrong with it, its first batch says.
    """
    for precision in (torch.float64, torch.float32):
        try:
            return measured(strategy, recipe, precision)
        except Exception:  # a user's strategy may raise anything
            continue
    return ()


def measured(strategy: Strategy, recipe: Recipe, precision: torch.dtype = torch.float64) -> tuple[float, ...]:
    """Return the loss, the gradient's norm and the norm of the weights' change in each of three steps.

    The steps are the first of the recipe's first, middle and last epoch, so schedules count. Fewer numbers mean that a
    step was not finite. Of a strategy that trains nothing: the norm of the initial weights. Two seconds on a CPU.
    """
    small = replace(recipe, batch=IMAGES, size=min(recipe.size, SIDE), precision="fp32")
    with tempfile.TemporaryDirectory(prefix="harness-reference-") as folder, drawn_in(precision):
        model = PixSim(strategy, small)
        if not strategy.trains:
            return (norm([weight.detach() for weight in model.encoder.parameters()]),)
        # the learning rate is that of the recipe's own batch, so that the change of the weights counts
        training = Training(model, pretrain.build_optimizer(model, recipe))
        return tuple(number for numbers in steps(training, recipe, small, draw(Path(folder))) for number in numbers)


def steps(
    training: Training, recipe: Recipe, small: Recipe, images: Sequence[Path]
) -> Iterator[tuple[float, float, float]]:
    """Make the steps, as a pre-training makes its own, and yield the numbers of each."""
    weights = list(training.model.parameters())
    for epoch in sorted({0, recipe.epochs // 2, max(0, recipe.epochs - 1)}):
        order = Order(IMAGES, replace(small, epochs=recipe.epochs + 1), SEED, epoch)
        views = pretrain.next_views(iter(pretrain.load(pretrain.view_dataset(images, small, SEED, BY), order, BY)), BY)
        assert views is not None
        before = [weight.detach().clone() for weight in weights]
        loss = pretrain.backward(training, recipe, epoch, (as_default(views[0]), as_default(views[1])))
        size = norm(gradients(training.model))
        try:
            pretrain.optimizer_step(training, recipe, epoch, loss)
        except pretrain.NotFinite:
            return
        yield loss.value.item(), size, norm(now.detach() - old for now, old in zip(weights, before, strict=True))


@contextmanager
def drawn_in(precision: torch.dtype) -> Iterator[None]:
    """Draw and compute in this precision from a fixed seed, and leave torch's generator as it was.

    In single precision, rounding, which differs by processor, decides where a ReLU opens and grows from step to step.
    """
    usual = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        torch.set_default_dtype(precision)
        try:
            yield
        finally:
            torch.set_default_dtype(usual)


def as_default(view: View) -> View:
    """Return a view in torch's default precision."""
    precision = torch.get_default_dtype()
    return view._replace(image=view.image.to(precision), box=view.box.to(precision), frame=view.frame.to(precision))


def norm(parts: Iterable[Tensor]) -> float:
    """Return the Euclidean norm of all numbers of some tensors together, summed in double precision."""
    return float(torch.stack([part.double().square().sum() for part in parts]).sum().sqrt())


def draw(folder: Path) -> list[Path]:
    """Write the images, waves of whole-number arithmetic without noise, as PNG files and return their paths."""
    y, x = np.mgrid[: FRAME[1], : FRAME[0]]
    files = []
    for number in range(IMAGES):
        waves = [x * (2 + number) + y * y // 9, (x * x // 11 + y * (5 - number)), (x * y // (7 + number) + 40 * number)]
        files.append(folder / f"{number}.png")
        Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(files[-1])
    return files
