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
from harness import provenance
from harness.plugins import strategy
from harness.presets import PRESETS
from harness.pretrain import Machine, Training, build_optimizer, load, look, ready, update
from methods.encoder import encoder
from methods.pixsim import PixSim
from methods.views import Order

PAIRS = 9  # of timings, interleaved
STEPS = 4  # in each timing


def step_ratio(machine: Machine) -> str:
    """The report of `harness speed`: images a second of both, and the median ratio with its range.

    The rival is forward and backward of both views on a resident batch through the same encoder, in the same
    precision and memory format, without loader, heads, loss or optimizer.
    """
    preset = PRESETS["demo"]
    recipe = replace(preset.recipe, epochs=10_000)
    with tempfile.TemporaryDirectory(prefix="harness-speed-") as folder:
        scenes = Path(folder) / "scenes"
        write(scenes, preset.benchmark.layout, {"trainval": 4 * recipe.batch}, 0, progress=False)
        images = sorted((scenes / "JPEGImages").iterdir())
        device = torch.device(machine.device)
        model = PixSim(strategy("location")(), recipe).to(device)
        training = Training(model, build_optimizer(model, recipe, machine.fused))
        if machine.compile:
            model.encoder.compile()
        batches = iter(load(look(images, recipe, 0, machine), Order(len(images), recipe, 0, 0), machine))

        def whole() -> None:
            first, second = next(batches)
            update(training, recipe, 0, (ready(first, device), ready(second, device)))

        resident = ready(next(batches)[0], device).image
        naked = naked_step(encoder(recipe.depth, recipe.zero_init).to(device), resident)
        return report(compare(whole, naked, device), recipe.batch, machine)


def naked_step(network: torch.nn.Module, batch: Tensor) -> Callable[[], None]:
    """Forward and backward of both views of a resident batch [B, 3, S, S]."""

    def step() -> None:
        network.zero_grad()
        (network(batch).mean() + network(batch).mean()).backward()

    return step


def compare(whole: Callable[[], None], naked: Callable[[], None], device: torch.device) -> list[tuple[float, float]]:
    """Seconds a step of the whole and the naked one, PAIRS times in turn after a warm-up."""
    for step in (whole, naked):
        timed(step, device)
    return [(timed(whole, device), timed(naked, device)) for _ in range(PAIRS)]


def timed(step: Callable[[], None], device: torch.device) -> float:
    """Seconds a step, over STEPS steps."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / STEPS


def report(pairs: list[tuple[float, float]], batch: int, machine: Machine) -> str:
    """What was measured, on what."""
    ratios = sorted(naked / whole for whole, naked in pairs)
    whole, naked = (statistics.median(column) for column in zip(*pairs, strict=True))
    where = provenance.device(machine.device)
    return "\n".join([
        f"pre-training step, preset demo, strategy location, batch {batch}",
        f"  {', '.join(f'{name} {value}' for name, value in machine.path.items())}",
        f"  whole step, loader included       {whole * 1e3:8.1f} ms   {batch / whole:7.1f} images/s",
        f"  naked backbone, resident batch    {naked * 1e3:8.1f} ms   {batch / naked:7.1f} images/s",
        f"  speed against the naked backbone  {statistics.median(ratios):8.3f}      "
        f"({ratios[0]:.3f} to {ratios[-1]:.3f}, n = {len(ratios)} interleaved pairs)",
        f"  {where['device']}, torch {provenance.installed('torch')}",
    ])  # fmt: skip
