"""An estimate of what a run does and costs, from a few small steps that are timed here; nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from benchmarks import Cost
from benchmarks.resuming.training import Training
from benchmarks.weights import Backbone, read_backbone
from harness.engine.backbones import place
from harness.engine.images import existing_folder, list_images
from harness.engine.machine import Machine
from harness.engine.pretrain import build_optimizer, steps_per_epoch, train_step
from harness.experiment import BackboneFile, Experiment, Pretraining
from methods.correspondence import Strategy
from methods.encoder import build_encoder
from methods.pixsim import PixSim
from methods.recipe import Recipe
from methods.views import View

SIZES = 2, 8  # images of the timed steps
IMAGENET = 1_281_167  # images, if no folder is named
BASE = 0.6  # GiB: Python, torch and the loader
GIB = 2**30


class Probe(NamedTuple):
    """The cost of a step as measured with small batches."""

    parameters: int  # that are trained
    step: float  # seconds of a step, whatever its batch
    image: float  # seconds an image, both views
    kept: float  # bytes that an image keeps for the backward pass


def estimate(runs: Sequence[Experiment], machine: Machine) -> str:
    """Return steps, parameters and an estimate of time and memory here, good to a factor of two.

    runs: of one backbone, all trials of one benchmark after those of another.
    """
    experiment, kinds = runs[0], {run.benchmark.name: run for run in reversed(runs)}
    trials = len(runs) // len(kinds)
    return "\n".join([
        f"run {experiment.run_id}: dry, nothing is done",
        *pretraining(experiment, machine),
        *(line for each in reversed(kinds.values()) for line in benchmark(each, machine)),
        *([f"  and so often again for the other {trials - 1} of {trials} trials"] if trials > 1 else []),
        f"estimated from steps of {SIZES[0]} and {SIZES[1]} images on {machine.device}, good to a factor of two",
    ])  # fmt: skip


def pretraining(experiment: Experiment, machine: Machine) -> list[str]:
    """Return lines on the pre-training."""
    training = experiment.backbone
    if isinstance(training, BackboneFile):
        return [f"pre-training: none, the backbone is {training.file}", f"  {place(training, loaded(training))}"]
    if not training.strategy.trains:
        return ["pre-training: none, the backbone stays as the seed draws it"]
    recipe, (images, origin) = training.recipe, count_images(training)
    steps = steps_per_epoch(recipe, images) * recipe.epochs
    measured = probe(training.strategy, recipe, machine)
    memory = (12 * measured.parameters + recipe.batch * measured.kept) / GIB + BASE  # weights, gradients and momentum
    return [
        f"pre-training: {images:,} images ({origin}), {recipe.epochs} epochs, {steps:,} steps of {recipe.batch}, "
        f"{measured.parameters:,} parameters",
        f"  about {duration(training_seconds(recipe, images, measured))} and {memory:.1f} GiB",
    ]


def training_seconds(recipe: Recipe, images: int, measured: Probe) -> float:
    """Return the seconds of a pre-training on so many images."""
    return images // recipe.batch * recipe.epochs * (measured.step + measured.image * recipe.batch)


def hours(experiment: Experiment, machine: Machine) -> float:
    """Return the hours of a whole run on this machine, good to a factor of two; ValueError where nothing is known."""
    benchmark, training = experiment.benchmark, experiment.backbone
    cost = benchmark.cost()
    if cost is None:
        raise ValueError(f"no estimate of benchmark {benchmark.name} before a run of it is recorded")
    seconds = benchmark_seconds(cost, training, machine)
    if isinstance(training, Pretraining) and training.strategy.trains:
        measured = probe(training.strategy, training.recipe, machine)
        seconds += training_seconds(training.recipe, count_images(training)[0], measured)
    return seconds / 3600


def count_images(training: Pretraining) -> tuple[int, str]:
    """Return how many images there are to pre-train on, and where they come from."""
    if training.embedded:
        return training.embedded.count, "embedded images"
    if training.data is None:
        return IMAGENET, "ImageNet's count, as no --data is given"
    folder = existing_folder(training.data)
    return len(list_images(folder)), training.data


def probe(strategy: Strategy, recipe: Recipe, machine: Machine) -> Probe:
    """Time small steps of two batch sizes on noise: a step costs a constant part and a part per image."""
    device = torch.device(machine.device)
    model = PixSim(strategy, recipe).to(device)
    training = Training(model, build_optimizer(model, recipe))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    few, many = (noise(recipe, count, device) for count in SIZES)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        train_step(training, recipe, 0, few)
    small = fastest(lambda: train_step(training, recipe, 0, few), device)
    large = fastest(lambda: train_step(training, recipe, 0, many), device)
    image = max(0.0, large - small) / (SIZES[1] - SIZES[0])
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    parameters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return Probe(parameters, max(0.0, small - SIZES[0] * image), image, max(0, sum(kept.values()) - weights) / SIZES[0])


def noise(recipe: Recipe, count: int, device: torch.device) -> tuple[View, View]:
    """Return two views of noise images that lie in the same place."""
    box = torch.tensor([[0.0, 0.0, recipe.size, recipe.size]], device=device).expand(count, -1)
    images = torch.randn(count, 3, recipe.size, recipe.size, device=device)
    view = View(images, box, box[:, 2:], torch.arange(count, device=device))
    return view, view


def benchmark(experiment: Experiment, machine: Machine) -> list[str]:
    """Return lines on the benchmark."""
    name, cost = experiment.benchmark.name, experiment.benchmark.cost()
    if cost is None:
        return [f"benchmark {name}: no estimate, since it does not say what it costs"]
    seconds = benchmark_seconds(cost, experiment.backbone, machine)
    return [f"benchmark {name}: {cost.work}", f"  about {duration(seconds)}"]


@lru_cache(maxsize=1)
def loaded(file: BackboneFile) -> Backbone:
    """Return the backbone in a file, read once, whatever is estimated of it."""
    return read_backbone(file.file, file.encoder, file.key, file.width)


def benchmark_seconds(cost: Cost, backbone: Pretraining | BackboneFile, machine: Machine) -> float:
    """Return the seconds of a benchmark, from those of the encoder's pass over an image of noise."""
    if isinstance(backbone, Pretraining):
        encoder, width = backbone.recipe.encoder, backbone.recipe.width
    else:
        encoder, width = backbone.encoder, loaded(backbone).width
    device = torch.device(machine.device)
    network, side = build_encoder(encoder, zero_init=False, width=width).to(device), cost.side
    image = torch.randn(1, 3, side, side, device=device)
    return fastest(lambda: network(image).mean().backward(), device) * cost.factor * cost.images


def fastest(step: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the faster of two steps."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def duration(seconds: float) -> str:
    """Return a time in the largest unit of which it has at least two."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
