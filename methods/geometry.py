"""Source and view frames, overlaps and reading rows (edge convention: pixel m covers [m, m + 1)); no features in here.

A box is [x0, y0, x1, y1] in source pixels. A mirrored view has x0 > x1, so no function here needs to know about flips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Return the unsigned box [B, 4] that two signed boxes [B, 4] share; x1 ≤ x0 or y1 ≤ y0 if they share nothing."""
    import torch

    low = a[:, :2].minimum(a[:, 2:]).maximum(b[:, :2].minimum(b[:, 2:]))
    high = a[:, :2].maximum(a[:, 2:]).minimum(b[:, :2].maximum(b[:, 2:]))
    return torch.cat([low, high], dim=1)


def to_source(points: Tensor, box: Tensor) -> Tensor:
    """Return points [B, N, 2] of a box's unit square in source pixels."""
    return box[:, None, :2] + points * (box[:, None, 2:] - box[:, None, :2])


def to_unit(points: Tensor, box: Tensor) -> Tensor:
    """Return source points [B, N, 2] in the unit square of a box [B, 4]: the inverse of to_source."""
    return (points - box[:, None, :2]) / (box[:, None, 2:] - box[:, None, :2])


def centres(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Return the centres [1, H·W, 2] of a map's cells in its unit square, row-major, with dtype and device of like."""
    import torch

    y, x = (torch.arange(cells, dtype=like.dtype, device=like.device).add(0.5).div(cells) for cells in shape)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(1, -1, 2)


def read_at(points: Tensor, shape: tuple[int, int], border: bool) -> Tensor:
    """Return rows [B, N, H·W] that read a map of H × W cells bilinearly at points [B, N, 2] of its unit square.

    Equals grid_sample(align_corners=False): beyond the outermost cell centres the map goes on as it is there
    (border) or falls to zero (not border).
    """
    height, width = shape
    across, down = tents(points[..., 0], width, border), tents(points[..., 1], height, border)
    return (down[..., :, None] * across[..., None, :]).flatten(-2)


def tents(u: Tensor, cells: int, border: bool) -> Tensor:
    """Return linear weights [B, N, cells] of the cell centres (c + ½) / cells at the unit positions u [B, N]."""
    import torch

    position = u * cells - 0.5
    if border:
        position = position.clamp(0, cells - 1)
    centre = torch.arange(cells, device=u.device, dtype=u.dtype)
    return (1 - (position[..., None] - centre).abs()).clamp(min=0)


def read_boxes(boxes: Tensor, shape: tuple[int, int], offset: float, border: bool) -> Tensor:
    """Return rows [B, N, H·W] that average a bilinear map of H × W cells exactly over boxes [B, N, 4] in it.

    The closed form of Precise RoI pooling to 1 × 1 (METHODS 5.2). offset 0.5 puts a cell's value at its centre; 0, as
    the official kernel does, at its upper left corner. Beyond the outermost values the map goes on as it is there
    (border) or falls to zero (not border). Boxes may be mirrored; one without area reads nothing.
    """
    height, width = shape
    across = tent_means(boxes[..., 0] * width - offset, boxes[..., 2] * width - offset, width, border)
    down = tent_means(boxes[..., 1] * height - offset, boxes[..., 3] * height - offset, height, border)
    return (down[..., :, None] * across[..., None, :]).flatten(-2)


def tent_means(a: Tensor, b: Tensor, cells: int, border: bool) -> Tensor:
    """Return mean weights [B, N, cells] of linear interpolation between a and b [B, N], in cells; 0 where a = b."""
    import torch

    centre = torch.arange(cells, device=a.device, dtype=a.dtype)
    if border:
        inner = [side.clamp(0, cells - 1) for side in (a, b)]
        beyond = [(side - cut)[..., None] for side, cut in zip((a, b), inner, strict=True)]
        area = tent_area(inner[1][..., None] - centre) - tent_area(inner[0][..., None] - centre)
        area[..., :1] += beyond[1].clamp(max=0) - beyond[0].clamp(max=0)
        area[..., -1:] += beyond[1].clamp(min=0) - beyond[0].clamp(min=0)
    else:
        area = tent_area(b[..., None] - centre) - tent_area(a[..., None] - centre)
    length = (b - a)[..., None]
    return torch.where(length == 0, 0.0, area / torch.where(length == 0, 1.0, length))


def tent_area(t: Tensor) -> Tensor:
    """Return the integral of the unit triangle from −∞ to t."""
    t = t.clamp(-1, 1)
    return 0.5 + t - 0.5 * t * t.abs()
