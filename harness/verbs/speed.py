"""Time a pre-training step against its backbone alone.

Example: harness speed --preset paper --set precision=bf16 --compile
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.engine import provenance
from harness.experiment import Options, Pretraining, add_settings, parse
from harness.plugins import strategy
from harness.settings import read_options
from harness.verbs import options
from harness.verbs.options import MachineOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.engine.machine import Machine
    from methods.recipe import Recipe

Step = Callable[[], object]

NAKED = "naked backbone"
ROUNDS = 9  # of timings in turn
STEPS = 4  # in each timing
IMAGES = 256  # that the loader reads, if a batch has no more
SOURCE = 2  # a side of them by a view's


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the recipe's settings and the machine."""
    add_settings(parser)
    options.add_machine(parser)


def main(args: argparse.Namespace) -> None:
    """Print the ratio for the recipe of these settings."""
    trained = parse(["--strategy", "location", *read_options(Options, args).shared]).backbone
    assert isinstance(trained, Pretraining)
    print(step_ratio(trained.recipe, read_options(MachineOptions, args).machine()))


def step_ratio(recipe: Recipe, machine: Machine) -> str:
    """Return the report: pairs of views per second, and the ratio to the backbone alone with its range.

    The backbone alone is forward and backward of both views of a batch that is on the device already, through the same
    encoder in the same precision and memory format, compiled if ours is; no loader, heads, loss or optimizer.
    """
    from benchmarks.resuming.training import Training
    from benchmarks.scenes.folder import write_jpegs
    from benchmarks.scenes.layout import Layout
    from harness.engine import pretrain
    from methods.pixsim import PixSim
    from methods.views import Order

    recipe = replace(recipe, epochs=10_000)
    with tempfile.TemporaryDirectory(prefix="harness-speed-") as folder:
        images = write_jpegs(Path(folder), Layout(size=SOURCE * recipe.size), max(IMAGES, recipe.batch))
        model, rival = (PixSim(strategy("location")(), recipe).to(machine.device) for _ in range(2))
        if machine.compile:
            pretrain.compile_encoder(model)
            pretrain.compile_encoder(rival)
        views, order = pretrain.view_dataset(images, recipe, 0, machine), Order(len(images), recipe, 0, 0)
        batches = iter(pretrain.load(views, order, machine))
        resident = pretrain.next_views(batches, machine)
        assert resident
        training = Training(model, pretrain.build_optimizer(model, recipe, machine.fused))
        steps = pretrain.steps(training, recipe, len(images) // recipe.batch, batches, machine)
        return report(recipe, machine, compare(machine.device, {
            NAKED: naked_step(rival.encoder, resident[0].image, recipe.precision == "bf16"),
            "step, resident batch": lambda: pretrain.train_step(training, recipe, 0, resident),
            "step, loader included": lambda: next(steps),
        }))  # fmt: skip


def naked_step(network: nn.Module, batch: Tensor, bf16: bool) -> Step:
    """Return a step of forward and backward for both views of a batch [B, 3, S, S] on the device."""
    import torch

    def step() -> None:
        network.zero_grad()
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16):
            loss = network(batch).mean() + network(batch).mean()
        loss.backward()

    return step


def compare(device: str, ways: Mapping[str, Step]) -> dict[str, list[float]]:
    """Return the seconds of a step of each way, measured ROUNDS times in turn after a warm-up."""
    for step in ways.values():
        timed(step, device, STEPS)
    rounds = [{name: timed(step, device, STEPS) for name, step in ways.items()} for _ in range(ROUNDS)]
    return {name: [one[name] for one in rounds] for name in ways}


def timed(step: Step, device: str, repeats: int) -> float:
    """Return the mean seconds of so many steps."""
    import torch

    start = time.perf_counter()
    for _ in range(repeats):
        step()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / repeats


def report(recipe: Recipe, machine: Machine, found: Mapping[str, list[float]]) -> str:
    """Return the lines that say what was measured, and on what."""
    batch = recipe.batch
    return "\n".join([
        f"pre-training step, location, {recipe.encoder}, {recipe.size} px, batch {batch}, {recipe.precision}",
        f"  {', '.join(f'{name} {value}' for name, value in machine.facts.items())}",
        f"{'':28}ms  pairs/s  by the naked one’s, n = {ROUNDS}",
        *(line(name, seconds, batch, found[NAKED]) for name, seconds in found.items()),
        f"  {provenance.device(machine.device)['device']}, torch {provenance.installed('torch')}",
    ])  # fmt: skip


def line(name: str, seconds: list[float], batch: int, naked: list[float]) -> str:
    """Return the line of one way: its medians, and its speed divided by the backbone's in the same round."""
    ratios, middle = sorted(one / own for one, own in zip(naked, seconds, strict=True)), statistics.median(seconds)
    ratio = "" if name == NAKED else f"{statistics.median(ratios):9.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    return f"  {name:<22}{middle * 1e3:>6.1f}{batch / middle:>9.1f}{ratio}"
