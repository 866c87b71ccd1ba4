"""The structure of frozen features without labels: ranks, decay of the spectrum, uniformity, and what colour decides.

They order checkpoints and settings of one method; a random network has a high rank, so they say nothing across methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks import Cost
from benchmarks.dense.frozen import FORWARD
from benchmarks.dense.unlabelled import Pictures, Unlabelled

if TYPE_CHECKING:
    from torch import Tensor

ACROSS = "ranks and spectra order checkpoints of one method: a random backbone's rank is high, so sort no table by them"
CELLS = 25_600  # at most, equally many an image
ROWS = 4096  # of the pairwise distances
EPSILON = 1e-7  # added to each share of a singular value (RankMe, Garrido et al. 2023)
RANGE = 10, 100  # eigenvalues of the decay, from 0 (α-ReQ, Agrawal et al. 2022)
FEWEST = 20  # eigenvalues of a decay


@dataclass(frozen=True)
class Structure(Unlabelled):
    """Ranks and spectrum of frozen cells, without labels."""

    name: ClassVar[str] = "structure"

    stride: int = 16  # px of a cell of stage 4: 32, or by dilation 16 or 8

    def __post_init__(self) -> None:
        """Raise ValueError for settings that nothing can be read by."""
        super().__post_init__()
        if self.stride not in (8, 16, 32):
            raise ValueError(f"stride={self.stride}: must be one of 8, 16, 32")

    def evaluate(
        self, backbone: Path, data: Pictures, folder: Path, seed: int, device: str = "cpu"
    ) -> dict[str, float]:
        """Return the scores of stage 4's cells; alpha is left out where there are too few eigenvalues.

        Nothing is drawn from `seed`. folder gets structure.json with the number of cells.
        """
        from torchvision.transforms import functional as F

        from benchmarks.dense.cells import ResNet, enlarged

        images, network = self.whole(data), ResNet(backbone, self.encoder, device)
        if self.calibrate:
            network.calibrate(enlarged(images, 1), self.stride)
        both = [
            network.read(enlarged(each, 1), (4,), self.stride)[4].flatten(2).mT.cpu().double()
            for each in (images, F.rgb_to_grayscale(images, 3))
        ]
        most = max(1, CELLS // len(images))
        step = -(-both[0].shape[1] // most)  # every so many of an image's cells
        x, grey = (each[:, ::step].flatten(0, 1) for each in both)
        unit = unit_rows(x)
        few = unit[:: -(-len(x) // ROWS)]
        moved = float((unit - unit_rows(grey)).square().sum(1).mean())
        scores = {"rankme": rankme(x), "rankme_unit": rankme(unit), "uniformity": uniformity(few), "alignment": moved}
        if (decay := alpha(spectrum(x))) is not None:
            scores["alpha"] = decay
        self.keep(folder, {"cells": len(x), "channels": x.shape[1]})
        return scores

    def notes(self, data: Pictures) -> list[str]:
        """Return how far the scores carry."""
        return [ACROSS]

    def cost(self) -> Cost:
        """Return what reading the images costs: for the norms' statistics, in colour and in grey."""
        passes = 2 + self.calibrate
        return Cost(f"{passes} passes over {self.images} images at {self.size} px, nothing trained",
                    passes * self.images, self.size, FORWARD)  # fmt: skip


def unit_rows(x: Tensor) -> Tensor:
    """Return rows [n, D] of length 1; a row of zeros stays."""
    unit: Tensor = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return unit


def rankme(x: Tensor) -> float:
    """Return exp of the entropy of the singular values' shares of features [n, D], neither centred nor normalised."""
    import torch

    values = torch.linalg.svdvals(x)
    shares = values / values.sum().clamp(min=1e-300) + EPSILON
    return float((-(shares * shares.log()).sum()).exp())


def spectrum(x: Tensor) -> Tensor:
    """Return the eigenvalues [D] of the covariance of features [n, D], from the largest down."""
    import torch

    centred = x - x.mean(0)
    values: Tensor = torch.linalg.eigvalsh(centred.T @ centred / max(1, len(x) - 1))
    return values.flip(0).clamp(min=0)


def alpha(values: Tensor) -> float | None:
    """Return how fast eigenvalues i decay, as i to the power of minus this; None where fewer than 20 are positive.

    Least squares of their logarithms on log i, weighted by 1 / i, over i = 11 to 100 or as far as they go.
    """
    first, last = RANGE
    kept = (values[first:last] > 0).nonzero()[:, 0]
    if len(kept) < FEWEST:
        return None
    place = (kept + first + 1).double()
    x, y, weight = place.log(), values[first:last][kept].double().log(), 1 / place
    weight = weight / weight.sum()
    x0, y0 = (weight * x).sum(), (weight * y).sum()
    return -float((weight * (x - x0) * (y - y0)).sum() / (weight * (x - x0) ** 2).sum())


def uniformity(unit: Tensor) -> float:
    """Return log of the mean of exp(−2 ‖xᵢ − xⱼ‖²) over pairs of rows [n, D] of length 1 (Wang & Isola 2020)."""
    import torch

    return float(torch.pdist(unit).square().mul(-2).exp().mean().log())


BENCHMARK = Structure
