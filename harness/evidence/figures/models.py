"""The models that figures look into: with the weights of a run, or with random ones."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from harness import records
from harness.experiment import rebuild
from methods.correspondence import Strategy
from methods.pixsim import PixSim
from methods.recipe import Recipe


class Weights(NamedTuple):
    """Files of trained weights; None stands for random weights."""

    backbone: Path | None = None
    heads: Path | None = None


def load_run(record: records.Record) -> PixSim:
    """Return the network of a run with its encoder and heads; ValueError, in one line, if the files are not there."""
    trained = rebuild(record.settings)
    weights = Weights(*records.weights_of(record, heads=True))
    return load(trained.strategy, trained.recipe, record.settings["seed"], weights)


def load(strategy: Strategy, recipe: Recipe, seed: int, weights: Weights) -> PixSim:
    """Return the model that a pre-training of this seed begins with, in eval mode, with trained weights where given."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = PixSim(strategy, recipe)
    for part, file in zip((model.encoder, model.branch.head), weights, strict=True):
        if file is not None:
            fill(part, file)
    return model.eval()


def fill(part: torch.nn.Module, file: Path) -> None:
    """Load a state dict from a file; ValueError, in one line, if the file is none or does not fit."""
    try:
        part.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
    except Exception as error:  # torch raises whatever a damaged file leads it into
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{file}: not the weights of these settings ({reason})") from error
