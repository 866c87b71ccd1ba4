"""The speed of a pre-training step as a ratio: the whole step, loader included, against the naked backbone."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.scenes.compose import write
from benchmarks.scenes.layout import Layout
from harness import provenance
from harness.plugins import strategy
from harness.pretrain import Machine, Training, build_optimizer, compile_encoder, descent, following, load, look
from methods.pixsim import PixSim
from methods.recipe import Recipe
from methods.views import Order

Step = Callable[[], object]

PAIRS = 9  # of timings, interleaved
STEPS = 4  # in each timing
IMAGES = 256  # that the loader reads, if a batch has no more
SOURCE = 2  # a side of them by a view's


def step_ratio(recipe: Recipe, machine: Machine) -> str:
    """The report of `harness speed`: pairs of views a second of both, and the median ratio with its range.

    The rival is forward and backward of both views on a resident batch through the same encoder, in the same
    precision and memory format, compiled if ours is, without loader, heads, loss or optimizer.
    """
    recipe = replace(recipe, epochs=10_000)
    with tempfile.TemporaryDirectory(prefix="harness-speed-") as folder:
        scenes = Path(folder) / "scenes"
        write(scenes, Layout(size=SOURCE * recipe.size), {"trainval": max(IMAGES, recipe.batch)}, 0, progress=False)
        images = sorted((scenes / "JPEGImages").iterdir())
        device = torch.device(machine.device)
        model, rival = (PixSim(strategy("location")(), recipe).to(device) for _ in range(2))
        if machine.compile:
            compile_encoder(model)
            compile_encoder(rival)
        batches = load(look(images, recipe, 0, machine), Order(len(images), recipe, 0, 0), machine)
        resident = following(iter(batches), machine)
        assert resident
        training = Training(model, build_optimizer(model, recipe, machine.fused))
        steps = descent(training, recipe, len(images) // recipe.batch, batches, machine)
        naked = naked_step(rival.encoder, resident[0].image, recipe.precision == "bf16")
        return report(compare(lambda: next(steps), naked, device), recipe, machine)


def naked_step(network: torch.nn.Module, batch: Tensor, bf16: bool) -> Step:
    """Forward and backward of both views of a resident batch [B, 3, S, S]."""

    def step() -> None:
        network.zero_grad()
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16):
            loss = network(batch).mean() + network(batch).mean()
        loss.backward()

    return step


def compare(whole: Step, naked: Step, device: torch.device) -> list[tuple[float, float]]:
    """Seconds a step of the whole and the naked one, PAIRS times in turn after a warm-up."""
    for step in (whole, naked):
        timed(step, device)
    return [(timed(whole, device), timed(naked, device)) for _ in range(PAIRS)]


def timed(step: Step, device: torch.device) -> float:
    """Seconds a step, over STEPS steps."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / STEPS


def report(pairs: list[tuple[float, float]], recipe: Recipe, machine: Machine) -> str:
    """What was measured, on what."""
    ratios = sorted(naked / whole for whole, naked in pairs)
    whole, naked = (statistics.median(column) for column in zip(*pairs, strict=True))
    where, batch = provenance.device(machine.device), recipe.batch
    return "\n".join([
        f"pre-training step, location, ResNet-{recipe.depth}, {recipe.size} px, batch {batch}, {recipe.precision}",
        f"  {', '.join(f'{name} {value}' for name, value in machine.path.items())}",
        f"  whole step, loader included       {whole * 1e3:8.1f} ms   {batch / whole:7.1f} pairs/s",
        f"  naked backbone, resident batch    {naked * 1e3:8.1f} ms   {batch / naked:7.1f} pairs/s",
        f"  speed against the naked backbone  {statistics.median(ratios):8.3f}      "
        f"({ratios[0]:.3f} to {ratios[-1]:.3f}, n = {len(ratios)} interleaved pairs)",
        f"  {where['device']}, torch {provenance.installed('torch')}",
    ])  # fmt: skip
