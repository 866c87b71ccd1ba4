"""Candidate boxes in the overlap of two views: ReSim's sliding windows and SCRL's random boxes (METHODS 5).

Lengths are in 224ths of a view's side, so that views of any size have the same boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from methods import geometry
from methods.recipe import require
from methods.rng import CounterRNG

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SIDE = 224  # units of a view's side
FIRST = 6  # of SCRL's tries that are drawn for every image
LEVELS = {"c4": (48, 32), "c3": (32, 24)}  # side and stride of ReSim's windows


class Pairs(NamedTuple):
    """Pairs of boxes that show the same place in two views."""

    first: Tensor  # [B, N, 4] in the first view's unit square, x0 ≤ x1 and y0 ≤ y1
    second: Tensor  # [B, N, 4] in the second view's, likewise
    valid: Tensor  # [B, N] bool: whether the pair counts; what does not lies anywhere


class Boxes(Protocol):
    """Rule that proposes boxes; a frozen dataclass whose fields are its settings."""

    def __call__(self, first: Tensor, second: Tensor, draw: CounterRNG) -> Pairs:
        """Return N pairs for views at the signed boxes [B, 4]; draw returns random numbers of each image's own."""
        ...


@dataclass(frozen=True)
class Windows:
    """Windows sliding over a view that lie in the other (ReSim)."""

    level: Literal["c4", "c3", "both"] = "c4"  # c4: 6 × 6 windows of 48 every 32; c3: 8 × 8 of 32 every 24
    lattice: Literal["both", "first"] = "both"  # [R] both views', as the source stands; the first's, as it is mirrored

    def __call__(self, first: Tensor, second: Tensor, draw: CounterRNG) -> Pairs:
        """Return row-major windows, c4 before c3, the first view's lattice before the second's.

        lattice=first is ReSim's. With both, neither the order nor the flips of the views change which places agree.
        """
        import torch

        like = first if self.lattice == "first" else first.new_tensor([[0.0, 0.0, 1.0, 1.0]])
        boxes = turned(first, like), turned(second, like)
        levels = LEVELS if self.level == "both" else (self.level,)
        lattice = torch.cat([windows(*LEVELS[level], first.device, first.dtype) for level in levels])
        here = lattice.expand(len(first), -1, -1)
        if self.lattice == "first":
            there, valid = carry(lattice, *boxes)
        else:
            carried, inside = carry(lattice, torch.cat(boxes), torch.cat(boxes[::-1]))
            (there, back), valid = carried.chunk(2), torch.cat(inside.chunk(2), dim=1)
            here, there = torch.cat([here, back], dim=1), torch.cat([there, here], dim=1)
        return Pairs(seen(here, boxes[0], first), seen(there, boxes[1], second), valid)


@cache
def windows(side: int, stride: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the boxes [N, 4] of a sliding window in the unit square, row-major; none reaches the far edges."""
    import torch

    starts = torch.arange(0, SIDE - side, stride, device=device, dtype=dtype)
    y, x = torch.meshgrid(starts, starts, indexing="ij")
    return torch.stack([x, y, x + side, y + side], dim=-1).reshape(-1, 4) / SIDE


def turned(view: Tensor, like: Tensor) -> Tensor:
    """Return the signed box [B, 4] of a view, mirrored where another [B, 4] or [1, 4] is oriented otherwise."""
    same = (view[:, 2:] > view[:, :2]) == (like[:, 2:] > like[:, :2])
    return view.where(same.repeat(1, 2), view.roll(2, dims=1))


def seen(boxes: Tensor, frame: Tensor, view: Tensor) -> Tensor:
    """Return unit boxes [B, N, 4] of a view's frame [B, 4], which may be mirrored, in the view [B, 4] itself."""
    return boxes.where((frame == view)[:, None], 1 - boxes.roll(2, dims=2))


def carry(boxes: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit boxes [B, N, 4] or [N, 4] of frames [B, 4] in others' unit squares, and if they lie in them [B, N].

    The upper left corner may touch the frame's edge, the lower right may not, as in ReSim.
    """
    import torch

    length = end[:, 2:] - end[:, :2]
    scale, shift = (start[:, 2:] - start[:, :2]) / length, (start[:, :2] - end[:, :2]) / length
    there = torch.addcmul(shift[:, None, None], boxes.unflatten(-1, (2, 2)), scale[:, None, None]).flatten(-2)
    return there, (there.amin(-1) >= 0) & (there.amax(-1) < 1)


@dataclass(frozen=True)
class Scrl:
    """Random boxes of the overlap, apart from each other (SCRL)."""

    count: int = 10  # boxes an image
    min_side: int = 32  # 224ths of the side of the view that shows the overlap smaller
    iou: float = 0.5  # two boxes of an image overlap each other less
    tries: int = 50  # then the last candidate is taken whatever it overlaps

    def __post_init__(self) -> None:
        """Raise ValueError for settings that no box can be made from."""
        require("count", self.count, self.count >= 1, "at least 1")
        require("min_side", self.min_side, 1 <= self.min_side < SIDE, f"between 1 and {SIDE - 1}")
        require("iou", self.iou, self.iou > 0, "above 0")
        require("tries", self.tries, self.tries >= 1, "at least 1")

    def __call__(self, first: Tensor, second: Tensor, draw: CounterRNG) -> Pairs:
        """Return boxes in the order of their acceptance, cut at the views' edges."""
        import torch

        shared = geometry.overlap(first, second)
        low = shared[:, :2]
        sides = torch.stack([(view[:, 2:] - view[:, :2]).abs() for view in (first, second)])
        scale = (SIDE / sides).amin(dim=0)  # [B, 2] 224ths of the view that shows the overlap smaller, a source pixel
        extent = ((shared[:, 2:] - low) * scale).round()
        usable = (extent > self.min_side).all(dim=1)
        boxes = self.draw(extent.clamp(min=self.min_side + 1), draw)
        corners = low.repeat(1, 2)[:, None] + boxes / scale.repeat(1, 2)[:, None]
        return Pairs(place(corners, first), place(corners, second), usable[:, None].expand(-1, self.count))

    def draw(self, extent: Tensor, draw: CounterRNG) -> Tensor:
        """Return boxes [B, count, 4], whole numbers within extents [B, 2]; few images need more than FIRST tries."""
        import torch

        first = min(FIRST, self.tries)
        candidates = self.candidates(extent, draw, first)
        boxes, complete = self.choose(candidates)
        if first < self.tries and not complete.all():
            late = ~complete
            rest = self.candidates(extent[late], draw[late], self.tries - first)
            boxes[late] = self.choose(torch.cat([candidates[late], rest], dim=2))[0]
        return boxes

    def candidates(self, extent: Tensor, draw: CounterRNG, tries: int) -> Tensor:
        """Return boxes [B, count, tries, 4], whole numbers within extents [B, 2], each in a cell of a random grid."""
        import torch

        numbers = draw(tries, self.count, 4, 2).transpose(1, 2)
        extent = extent[:, None, None]
        parts, cell, side, start = numbers.unbind(-2)
        parts = below(parts, (extent / self.min_side).floor()) + 1
        cell, grid = below(cell, parts), extent / parts
        side = self.min_side + below(side, grid.floor() + 1 - self.min_side)
        start = below(start, (grid - side + 1).floor()) + (cell * grid).floor()
        return torch.cat([start, start + side], dim=-1)

    def choose(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return each box's first candidate [B, count, 4] that overlaps no earlier box by iou or more, else its last.

        Also returns whether every box of an image [B] has one that fits.
        """
        import torch

        images = torch.arange(len(candidates), device=candidates.device)
        chosen, complete = candidates[:, 0, :1], torch.ones_like(images, dtype=torch.bool)
        for tried in candidates.unbind(1)[1:]:
            fits = overlaps(tried, chosen).amax(dim=-1) < self.iou
            complete = complete & fits.any(dim=1)
            fits[:, -1] = True
            chosen = torch.cat([chosen, tried[images, fits.to(torch.uint8).argmax(dim=1), None]], dim=1)
        return chosen, complete


def below(numbers: Tensor, bound: Tensor) -> Tensor:
    """Return uniform whole numbers of [0, bound) from uniform numbers of [0, 1)."""
    return (numbers * bound).floor().minimum(bound - 1)


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection over union [B, N, M] of boxes [B, N, 4] and [B, M, 4]."""
    (a0, a1), (b0, b1) = a[:, :, None].chunk(2, dim=-1), b[:, None].chunk(2, dim=-1)
    wide, high = (a1.minimum(b1) - a0.maximum(b0)).clamp(min=0).unbind(-1)
    shared = wide * high
    return shared / ((a1 - a0).prod(-1) + (b1 - b0).prod(-1) - shared)


def place(boxes: Tensor, view: Tensor) -> Tensor:
    """Return source boxes [B, N, 4] in a view's unit square, upright and cut at its edges."""
    import torch

    a, b = (geometry.to_unit(corner, view) for corner in (boxes[..., :2], boxes[..., 2:]))
    return torch.cat([a.minimum(b), a.maximum(b)], dim=-1).clamp(0, 1)


BOXES = {"resim": Windows, "scrl": Scrl}
