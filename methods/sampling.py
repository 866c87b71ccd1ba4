"""Where the overlap of two views is read: grid samplers in its unit square (METHODS 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Sampler(Protocol):
    """Chooses points of the unit square; a frozen dataclass whose fields are its settings."""

    def __call__(self, like: Tensor) -> Tensor:
        """N points [B, N, 2], x before y, for the B boxes [B, 4] and on the device of like."""
        ...


@dataclass(frozen=True)
class Regular:
    """side × side points on a regular grid (DenseSiam, Table A2)."""

    side: int = 7  # points along each axis
    corners: bool = False  # [R] True: the outer points lie on the overlap's edges, not in the cells' centres

    def __post_init__(self) -> None:
        """Refuse a grid without points."""
        if self.side < 1:
            raise ValueError(f"match.sampler.side={self.side}: a grid needs at least 1 point a side")

    def __call__(self, like: Tensor) -> Tensor:
        """Row-major points [B, side², 2], x fastest."""
        import torch

        steps = torch.arange(self.side, device=like.device, dtype=torch.float32)
        line = steps / max(self.side - 1, 1) if self.corners else (steps + 0.5) / self.side
        y, x = torch.meshgrid(line, line, indexing="ij")
        return torch.stack([x, y], dim=-1).reshape(1, -1, 2).expand(len(like), -1, -1)


SAMPLERS = {"regular": Regular}
