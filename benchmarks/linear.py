"""The dense linear probe, solved exactly, as CAPI does: no learning rate that could suit one strategy better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmarks.dense import hashed
from benchmarks.dense.probe import Cells, Prediction, Probe, prior_of

if TYPE_CHECKING:
    from torch import Tensor

PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # λ, from the largest down
FEW = 500  # train images, below which a fifth of them chooses λ instead of a tenth


@dataclass(frozen=True)
class Linear(Probe):
    """Exact logistic regression of frozen cells' labels."""

    name: ClassVar[str] = "linear"
    least: ClassVar[Mapping[str, int]] = {**Probe.least, "cells": 1}

    cells: int = 10_000  # training cells at most, equally many an image

    def predict(self, train: Cells, test: Cells, seed: int) -> Prediction:
        """Return what the regression tells, under the penalty that held-out images choose."""
        import torch

        most = max(1, self.cells // len(train.valid))
        valid = train.valid[:, :most]
        x, y = (part[:, :most][valid].double() for part in (train.features, train.shares))
        mean, spread = x.mean(0), x.std(0, correction=0)
        spread = torch.where(spread == 0, 1.0, spread)
        x = (x - mean) / spread
        held = held_out(train.ids)[:, None].expand_as(valid)[valid]
        if held.all() or not held.any():
            raise ValueError("too few train images with labels to choose the penalty by: at least 2 are needed")
        weights, curve = None, {}
        for penalty in PENALTIES:
            weights = solve(x[~held], y[~held], penalty, weights)
            curve[penalty] = float(-(y[held] * predictions(x[held], weights)).sum(1).mean())
        best = min(curve, key=lambda penalty: curve[penalty])
        weights = solve(x, y, best, None)
        tested = (test.features.flatten(0, 1).double() - mean) / spread
        log_p = predictions(tested, weights).unflatten(0, test.valid.shape)
        notes = ["the penalty is at an end of its range"] if best in (PENALTIES[0], PENALTIES[-1]) else []
        notes += ["features do not vary"] if bool((x == 0).all()) else []
        facts = {"penalty": best, "held-out cross-entropy": curve, "cells": len(x), "remarks": notes}
        return Prediction(log_p, log_p, log_p - prior_of(train).log(), facts)


def held_out(ids: Sequence[str]) -> Tensor:
    """Return which images [N] choose the penalty, the same for every backbone: a tenth, or a fifth of few."""
    import torch

    chosen = sorted(ids, key=hashed)
    held = {*chosen[: max(1, len(ids) // (5 if len(ids) < FEW else 10))]}
    return torch.tensor([id in held for id in ids])


def predictions(x: Tensor, weights: Tensor) -> Tensor:
    """Return log-probabilities [n, C] of features [n, D] under weights [D + 1, C], the last row for the constant."""
    return (x @ weights[:-1] + weights[-1]).log_softmax(1)


def solve(x: Tensor, y: Tensor, penalty: float, start: Tensor | None) -> Tensor:
    """Return the weights [D + 1, C] of least cross-entropy with shares y [n, C], plus penalty / 2 · ‖W‖².

    The constant is not penalised. L-BFGS, at most 100 iterations or until no derivative exceeds 1e-5.
    """
    import torch

    weights = torch.zeros(x.shape[1] + 1, y.shape[1], dtype=x.dtype) if start is None else start.clone()
    weights.requires_grad_(True)
    steps = torch.optim.LBFGS([weights], max_iter=100, history_size=10, tolerance_grad=1e-5, tolerance_change=1e-12,
                              line_search_fn="strong_wolfe")  # fmt: skip

    def loss() -> Tensor:
        steps.zero_grad()
        found = -(y * predictions(x, weights)).sum(1).mean() + penalty / 2 * (weights[:-1] ** 2).sum()
        found.backward()
        return found

    steps.step(loss)
    return weights.detach()


BENCHMARK = Linear
