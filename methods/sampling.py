"""Where the overlap of two views is read: grid samplers in its unit square (METHODS 8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from methods.recipe import require
from methods.rng import Draw

if TYPE_CHECKING:
    from torch import Tensor


class Sampler(Protocol):
    """Rule that chooses points of the unit square; a frozen dataclass whose fields are its settings."""

    def __call__(self, like: Tensor, draw: Draw, unlike: Callable[[Tensor], Tensor]) -> Tensor:
        """Return N points [B, N, 2], x before y, for the B boxes [B, 4] and on the device of like.

        draw returns random numbers of each image's own; unlike returns the distance [B, K] of the two views at points
        [B, K, 2].
        """
        ...


@dataclass(frozen=True)
class Regular:
    """side × side points on a regular grid (Table A2)."""

    side: int = 7  # points along each axis
    corners: bool = False  # [R] True: the outer points lie on the overlap's edges, not in the cells' centres

    def __post_init__(self) -> None:
        """Raise ValueError for a grid without points."""
        require("side", self.side, self.side >= 1, "at least 1")

    def __call__(self, like: Tensor, draw: Draw, unlike: Callable[[Tensor], Tensor]) -> Tensor:
        """Return row-major points [B, side², 2], x fastest."""
        import torch

        steps = torch.arange(self.side, device=like.device, dtype=torch.float32)
        line = steps / max(self.side - 1, 1) if self.corners else (steps + 0.5) / self.side
        y, x = torch.meshgrid(line, line, indexing="ij")
        return torch.stack([x, y], dim=-1).reshape(1, -1, 2).expand(len(like), -1, -1)


@dataclass(frozen=True)
class Uniform:
    """Independent uniform points (Table A2: k = 1, β = 0)."""

    points: int = 49

    def __post_init__(self) -> None:
        """Raise ValueError for a sample without points."""
        require("points", self.points, self.points >= 1, "at least 1")

    def __call__(self, like: Tensor, draw: Draw, unlike: Callable[[Tensor], Tensor]) -> Tensor:
        """Return points [B, points, 2]."""
        return draw(self.points, 2)


@dataclass(frozen=True)
class Biased:
    """More points where the views differ (Table A2; PointRend)."""

    points: int = 49
    k: float = 3.0  # times as many candidates as points
    beta: float = 0.75  # share of the points that are the most dissimilar candidates; the others are drawn anew

    def __post_init__(self) -> None:
        """Raise ValueError for settings that cannot be sampled."""
        require("points", self.points, self.points >= 1, "at least 1")
        require("k", self.k, self.k >= 1, "at least 1")
        require("beta", self.beta, 0 <= self.beta <= 1, "between 0 and 1")

    def __call__(self, like: Tensor, draw: Draw, unlike: Callable[[Tensor], Tensor]) -> Tensor:
        """Return [B, points, 2]: the int(β·points) most distant of int(k·points) candidates, then uniform ones."""
        import torch

        hard = int(self.beta * self.points)
        candidates = draw(int(self.k * self.points), 2)
        chosen = unlike(candidates).topk(hard, dim=1).indices
        picked = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
        return torch.cat([picked, draw(self.points - hard, 2)], dim=1)


SAMPLERS = {"regular": Regular, "uniform": Uniform, "biased": Biased}
