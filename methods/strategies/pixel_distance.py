"""Cells that lie close together agree (PixPro, CVPR 2021).

The centres of both views' cells are carried into the source image. Two cells are a pair if their distance is below
`radius` diagonals of the larger cell, so a cell may have several partners or none. Distances are measured as PixPro
measures them, in coordinates that stretch the source to a unit square. Each image's pairs are averaged first, then the
images. PixPro's pixel propagation module and its momentum encoder are left out: only its choice of pairs is compared.

Paper: Xie et al., Propagate Yourself (PixPro), https://arxiv.org/abs/2011.10043
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from methods import geometry
from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.recipe import require
from methods.similarity import Similarity

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PixelDistance(Strategy):
    """Every pair of cells whose centres lie closer than `radius` in PixPro's own coordinates (METHODS 4)."""

    radius: float = 0.7  # diagonals of the larger cell; a pair lies strictly closer (PixPro's scripts)
    no_positive: Literal["count_as_zero", "exclude"] = "count_as_zero"  # images without a pair count as 0 in the mean

    def __post_init__(self) -> None:
        """Raise ValueError for a radius that pairs nothing."""
        require("radius", self.radius, self.radius > 0, "above 0")

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Return identities Q, K [B, H·W, H·W] and W [B, H·W, H·W]: one where cells lie close together, else zero."""
        import torch

        q, k = coordinates(query), coordinates(key)
        here, there = (
            geometry.to_source(geometry.centres(view.shape, view.box), at) for view, at in ((query, q), (key, k))
        )
        across, down = (here[:, :, None] - there[:, None]).unbind(-1)
        reach = diagonal(q, query.shape).maximum(diagonal(k, key.shape))[:, None, None]
        weight = (torch.hypot(across, down) / reach < self.radius).to(across.dtype)
        q_cells, k_cells = (
            torch.eye(cells, dtype=weight.dtype, device=weight.device).expand(len(weight), -1, -1)
            for cells in weight.shape[1:]
        )
        return Correspondence(q_cells, k_cells, weight)

    def average(self, total: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Average over an image's pairs, then over all images, or over those that have pairs."""
        paired = weight > 0
        count = paired if self.no_positive == "exclude" else paired | True
        return (total / (weight + 1e-6)).sum(), count.sum()


def coordinates(view: FeatureMap) -> Tensor:
    """Return PixPro's box [B, 4]: first and last pixel over the last of the source, per axis (METHODS 4.1)."""
    edges = view.box - (view.box > view.box.roll(2, dims=1)).to(view.box.dtype)
    return edges / (view.frame - 1).clamp(min=1).repeat(1, 2)


def diagonal(coordinates: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the diagonal [B] of a view's cells."""
    import torch

    sides = (coordinates[:, 2:] - coordinates[:, :2]) / coordinates.new_tensor([shape[1], shape[0]])
    return torch.hypot(*sides.unbind(1))


STRATEGY = PixelDistance
