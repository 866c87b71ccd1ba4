"""Cells that lie close together agree (PixPro, CVPR 2021)."""

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
    """METHODS 4: distances in PixPro's own coordinates, which stretch the source to a unit square."""

    radius: float = 0.7  # diagonals of the larger cell; a pair lies strictly closer (PixPro's scripts)
    no_positive: Literal["count_as_zero", "exclude"] = "count_as_zero"  # images without a pair count as 0 in the mean

    def __post_init__(self) -> None:
        """Refuse a radius that links nothing."""
        require("radius", self.radius, self.radius > 0, "above 0")

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Q and K [B, H·W, H·W] are identities; W [B, H·W, H·W] is one where cells lie close together, else zero."""
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
        """Mean over an image's pairs, then over all images, or over those that have pairs."""
        found = weight > 0
        count = found if self.no_positive == "exclude" else found | True
        return (total / (weight + 1e-6)).sum(), count.sum()


def coordinates(view: FeatureMap) -> Tensor:
    """PixPro's box [B, 4]: the first and last pixel over the last of the source, per axis (METHODS 4.1)."""
    edges = view.box - (view.box > view.box.roll(2, dims=1)).to(view.box.dtype)
    return edges / (view.frame - 1).clamp(min=1).repeat(1, 2)


def diagonal(coordinates: Tensor, shape: tuple[int, int]) -> Tensor:
    """The diagonal [B] of a view's cells."""
    import torch

    sides = (coordinates[:, 2:] - coordinates[:, :2]) / coordinates.new_tensor([shape[1], shape[0]])
    return torch.hypot(*sides.unbind(1))


STRATEGY = PixelDistance
