"""Source and view frames, overlaps and reading rows (edge convention: pixel m covers [m, m + 1)); no features in here.

A box is [x0, y0, x1, y1] in source pixels. A mirrored view has x0 > x1, so no function here needs to know about flips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """The unsigned box [B, 4] that two signed boxes [B, 4] share; x1 ≤ x0 or y1 ≤ y0 where they share nothing."""
    low = a[:, :2].minimum(a[:, 2:]).maximum(b[:, :2].minimum(b[:, 2:]))
    high = a[:, :2].maximum(a[:, 2:]).minimum(b[:, :2].maximum(b[:, 2:]))
    return cat(low, high)


def cat(low: Tensor, high: Tensor) -> Tensor:
    """The box [B, 4] with the corners [B, 2] and [B, 2]."""
    import torch

    return torch.cat([low, high], dim=1)


def to_source(points: Tensor, box: Tensor) -> Tensor:
    """Points [B, N, 2] of a box's unit square, in source pixels."""
    return box[:, None, :2] + points * (box[:, None, 2:] - box[:, None, :2])


def to_unit(points: Tensor, box: Tensor) -> Tensor:
    """Source points [B, N, 2] in pixels, in the unit square of a box [B, 4]: the inverse of to_source."""
    return (points - box[:, None, :2]) / (box[:, None, 2:] - box[:, None, :2])


def read_at(points: Tensor, shape: tuple[int, int], border: bool) -> Tensor:
    """Rows [B, N, H·W] that read a map of H × W cells bilinearly at points [B, N, 2] of its unit square.

    Equals grid_sample(align_corners=False): beyond the outermost cell centres the map goes on as it is there
    (border) or falls to zero (not border).
    """
    height, width = shape
    across, down = tents(points[..., 0], width, border), tents(points[..., 1], height, border)
    return (down[..., :, None] * across[..., None, :]).flatten(-2)


def tents(u: Tensor, cells: int, border: bool) -> Tensor:
    """Linear weights [B, N, cells] of the cell centres (c + ½) / cells at the unit positions u [B, N]."""
    import torch

    position = u * cells - 0.5
    if border:
        position = position.clamp(0, cells - 1)
    centre = torch.arange(cells, device=u.device, dtype=u.dtype)
    return (1 - (position[..., None] - centre).abs()).clamp(min=0)
