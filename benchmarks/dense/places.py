"""Which cell of a map shows what a cell of another shows: views of one image, and an object in two scenes.

Unit points are shares of an image's width and height; a box is [x0, y0, x1, y1] in source pixels, x0 > x1 if mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageFilter

from benchmarks.dense import seed_of

if TYPE_CHECKING:
    from torch import Tensor

NEAR = 0.75 * math.sqrt(2)  # cells: three quarters of a cell's diagonal
CROP, RATIO = (0.2, 1.0), (3 / 4, 4 / 3)  # share of the source's area and sides of a view: SimSiam's, as all the rest
FLIP, JITTER, GREY, BLUR = 0.5, 0.8, 0.2, 0.5  # shares of the views that are changed
AMOUNTS = (0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1)  # brightness, contrast, saturation, hue
SIGMA = 0.1, 2.0  # px of a blur


class Places(NamedTuple):
    """Where cells of P first maps are in P second maps of equal size."""

    first: Tensor  # [P] which map
    second: Tensor  # [P]
    truth: Tensor  # [P, N, 2] unit points of the second image that the first map's cell centres show, row-major
    shown: Tensor  # [P, N] bool: whether the second image shows it


def two_views(source: Image.Image, size: int, key: str) -> tuple[list[Image.Image], list[tuple[float, ...]]]:
    """Return two views of `size` pixels a side and their boxes, a pure function of source and key."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(key))
        views, boxes = zip(*(view(source, size) for _ in range(2)), strict=True)
    return list(views), list(boxes)


def view(source: Image.Image, size: int) -> tuple[Image.Image, tuple[float, ...]]:
    """Return a view and its box, drawn from torch's generator."""
    import torch
    from torchvision.transforms import ColorJitter, RandomResizedCrop
    from torchvision.transforms import functional as F

    def happens(share: float) -> bool:
        return float(torch.rand(())) < share

    shape = torch.empty((1, source.height, source.width), device="meta")
    top, left, height, width = RandomResizedCrop.get_params(shape, list(CROP), list(RATIO))
    image: Image.Image = F.resized_crop(source, top, left, height, width, [size, size], antialias=True)
    box = left, top, left + width, top + height
    if happens(FLIP):
        image, box = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (box[2], box[1], box[0], box[3])
    if happens(JITTER):
        order, *amounts = ColorJitter.get_params(*map(list, AMOUNTS))
        changes = F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue
        for change in order.tolist():
            image = changes[change](image, amounts[change])
    if happens(GREY):
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if happens(BLUR):
        image = image.filter(ImageFilter.GaussianBlur(float(torch.empty(()).uniform_(*SIGMA))))
    return image, box


def centres(side: int) -> Tensor:
    """Return the unit centres [side², 2] of a map's cells, x before y, row-major."""
    import torch

    along = torch.arange(side, dtype=torch.float64).add(0.5).div(side)
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1).reshape(-1, 2)


def between_views(boxes: Tensor, side: int) -> Places:
    """Return the places of views at boxes [B, 2, 4], both ways, in maps whose order is all first views, all second."""
    import torch

    first, second = torch.cat([boxes, boxes.flip(1)]).double().unbind(1)
    there = first[:, None, :2] + centres(side) * (first[:, None, 2:] - first[:, None, :2])
    truth = (there - second[:, None, :2]) / (second[:, None, 2:] - second[:, None, :2])
    maps = torch.arange(len(first))
    return Places(maps, maps.roll(len(boxes)), truth, ((truth >= 0) & (truth < 1)).all(-1))


class Instance(NamedTuple):
    """An object in one image of a set."""

    image: int  # which of the maps
    number: int  # its value in the image's mask
    transform: Sequence[Sequence[float]]  # rows of the affine map from x, y, 1 in its sprite to px of the image


def across_images(sprites: Mapping[str, Sequence[Instance]], masks: Tensor, side: int) -> Places:
    """Return the places of each sprite's instances in the next image that shows it, around, by masks [B, H, W].

    A cell counts where its centre lies on the object, and the other image shows the same point of it uncovered.
    """
    import torch

    pairs = [
        (first, second)
        for found in sprites.values()
        for first, second in zip(found, [*found[1:], *found[:1]], strict=True)
        if first.image != second.image
    ]
    size = torch.tensor([masks.shape[2], masks.shape[1]])  # px
    start = (centres(side) * size).T  # [2, N] px
    maps, truth, shown = [], [], []
    for first, second in pairs:
        (a, b) = (torch.tensor(each.transform, dtype=torch.float64) for each in (first, second))
        end = b[:, :2] @ torch.linalg.solve(a[:, :2], start - a[:, 2:]) + b[:, 2:]
        inside = ((end >= 0) & (end < size[:, None])).all(0)
        on = [masks[each.image][tuple(point.long().clamp(min=0).minimum(size[:, None] - 1).flip(0))] == each.number
              for each, point in ((first, start), (second, end))]  # fmt: skip
        maps.append((first.image, second.image))
        truth.append((end / size[:, None]).T)
        shown.append(inside & on[0] & on[1])
    if not pairs:
        none = torch.zeros(0, dtype=torch.long)
        return Places(none, none, torch.zeros(0, side**2, 2), torch.zeros(0, side**2, dtype=torch.bool))
    first_maps, second_maps = torch.tensor(maps).T
    return Places(first_maps, second_maps, torch.stack(truth), torch.stack(shown))


def matched(maps: Tensor, places: Places) -> float | None:
    """Return the per cent of shown cells whose match lies within NEAR of the truth; None where no cell is shown.

    A cell's match is the second map's cell with the largest cosine, features less the mean of all maps [B, D, h, h];
    the lower index of equals.
    """
    cells = maps.flatten(2).mT.double()
    unit = cells - cells.mean((0, 1))
    unit = unit / unit.norm(dim=2, keepdim=True).clamp(min=1e-12)
    match = (unit[places.first.to(maps.device)] @ unit[places.second.to(maps.device)].mT).argmax(2).cpu()
    side = maps.shape[-1]
    near = (centres(side)[match] - places.truth).norm(dim=2) * side <= NEAR
    shown = int(places.shown.sum())
    return 100 * int((near & places.shown).sum()) / shown if shown else None


def by_chance(places: Places, side: int) -> float | None:
    """Return the per cent that a match at random reaches; None where no cell is shown."""
    import torch

    near = (torch.cdist(places.truth[places.shown], centres(side)) * side <= NEAR).double()
    return 100 * float(near.mean()) if len(near) else None
