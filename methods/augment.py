"""Colour jitter, grey and blur of a whole batch on a device, each image by its own plan, to the bits of Pillow's.

Pillow is what torchvision calls for images from a loader; it rounds to whole 255ths after every step, and so does
this. A turn takes images [B, 3, S, S] uint8 and their amounts [B, …] on the same device, and gives such images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.views import Colours, Uncoloured, View

Turn = Callable[[Tensor, Tensor], Tensor]

PASSES = 3  # of a box blur, for a Gaussian one
ONE = 1 << 24  # the sum of a box blur's weights
EXACT: dict[str, Any] = {  # what lets inductor round as the kernels of one operation do
    "emulate_precision_casts": True,  # no product and sum in one
    "eager_numerics.division_rounding": True,
    "pattern_matcher": False,  # on torch 2.11 it drops a float64's way through float32
}


def colour(made: Sequence[Uncoloured], device: torch.device, compile: bool = False) -> list[View]:
    """The views on the device, uint8, with the colours that a loader's process would have given them.

    They are changed together, in few large kernels, and nothing waits for the device. With `compile` each turn is one
    or two kernels, made at its first use.
    """
    image = torch.cat([view.image.to(device, non_blocking=True) for view, _ in made])
    colours = Colours(*map(torch.cat, zip(*(colours for _, colours in made), strict=True)))
    for step in range(len(TURNS)):
        for number, turn in enumerate(TURNS):
            chosen = colours.jitter & (colours.order[:, step] == number)
            change(image, chosen, quick(turn) if compile else turn, colours.amount[:, number])
    change(image, colours.grey, grey, colours.sigma)
    change(image, colours.sigma > 0, quick(blur) if compile else blur, boxes(colours.sigma.numpy()))
    parts = image.split([len(view.image) for view, _ in made])
    return [view._replace(image=part) for (view, _), part in zip(made, parts, strict=True)]


@cache
def quick(turn: Turn) -> Turn:
    """The turn compiled, with the same bits."""
    known = torch._inductor.list_options()
    compiled: Turn = torch.compile(turn, options={name: value for name, value in EXACT.items() if name in known})
    return compiled


def change(image: Tensor, chosen: Tensor, turn: Turn, amount: Tensor) -> None:
    """Change the chosen images in place, by their amounts [B, …]; both lie on the CPU, where counting needs no wait."""
    if len(rows := chosen.nonzero()[:, 0]):
        there, by = (part.to(image.device, non_blocking=True) for part in (rows, amount[rows]))
        image[there] = turn(image[there], by)


def brightness(image: Tensor, amount: Tensor) -> Tensor:
    """From black."""
    return blend(torch.zeros_like(image[:, :1]), image, amount)


def contrast(image: Tensor, amount: Tensor) -> Tensor:
    """From the image's mean grey, a whole number."""
    mean = luma(image).sum((1, 2, 3), keepdim=True).double() / image[0, 0].numel()
    return blend((mean + 0.5).int(), image, amount)


def saturation(image: Tensor, amount: Tensor) -> Tensor:
    """From grey."""
    return blend(luma(image), image, amount)


def blend(start: Tensor, image: Tensor, amount: Tensor) -> Tensor:
    """From `start` (amount 0) through the image (1) and beyond, cut off to whole numbers."""
    first = start.float()
    return (first + amount[:, None, None, None] * (image.float() - first)).clamp(0, 255).to(torch.uint8)


def grey(image: Tensor, amount: Tensor) -> Tensor:
    """Without colours, whatever the amount."""
    return luma(image).to(torch.uint8).expand_as(image)


def luma(image: Tensor) -> Tensor:
    """ITU-R 601's grey [B, 1, S, S], int32, in 16-bit fixed point."""
    red, green, blue = image.int().split(1, dim=1)
    found: Tensor = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return found


def hue(image: Tensor, amount: Tensor) -> Tensor:
    """Turn the hue by a share of the circle, all of H, S and V in whole 255ths."""
    turned = (amount.double() * 255).int()[:, None, None, None]
    h, s, v = split(image.int())
    return join((h + turned) & 255, s, v)


def split(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """H, S and V, [B, 1, S, S] int32 each."""
    high, low = image.amax(1, keepdim=True), image.amin(1, keepdim=True)
    spread = (high - low).float()
    parts = image.split(1, dim=1)
    red, green, blue = (((high - part).float() / spread.clamp(min=1)).double() for part in parts)
    other = torch.where(parts[1] == high, 2 + red - blue, 4 + green - red)
    sixth = torch.where(parts[0] == high, blue - green, other).float()
    h, s = ((sixth.double() / 6 + 1) % 1).float(), spread / high.clamp(min=1)
    return (h.double() * 255).int(), (s.double() * 255).int(), high


def join(h: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """The RGB image of H, S and V."""
    place = h.double() * 6 / 255
    sector = place.floor()
    rest, share = (place - sector).float().double(), (s.float() / 255).double()
    p, q, t = ((v * (1 - share * part) + 0.5).int() for part in (torch.ones_like(rest), rest, 1 - rest))
    sixths = (v, q, p, p, t, v), (t, v, v, q, p, p), (p, p, t, v, v, q)  # of R, G and B
    return torch.cat([pick(sector % 6, sixth) for sixth in sixths], dim=1).to(torch.uint8)


def pick(number: Tensor, values: tuple[Tensor, ...]) -> Tensor:
    """At each place the value of its number."""
    found = values[-1]
    for index, value in enumerate(values[:-1]):
        found = torch.where(number == index, value, found)
    return found


TURNS = brightness, contrast, saturation, hue  # in the order of methods.views.TURNS


def blur(image: Tensor, weights: Tensor) -> Tensor:
    """Pillow's Gaussian blur: box blurs along each line, then along each column, the edge pixels repeated."""
    image = image.int()
    for dim in (3, 2):
        for _ in range(PASSES):
            image = box_blur(image, weights, dim)
    return image.to(torch.uint8)


def boxes(sigma: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Tensor:
    """Weights [B, 2R + 1] in 2⁻²⁴ of the box blurs of which PASSES are a Gaussian one (Gwosdek et al. 2011).

    A box of a whole radius has a fraction of a pixel at either end. In single precision, as Pillow has it.
    """
    variance = sigma * sigma / np.float32(PASSES)
    length = np.sqrt(12.0 * variance.astype(np.float64) + 1).astype(np.float32)
    radius = np.floor((length.astype(np.float64) - 1) / 2).astype(np.float32)
    part = (2 * radius + 1) * (radius * (radius + 1) - 3 * variance)
    part = part / (6 * (variance - (radius + 1) * (radius + 1)))
    full = (np.float32(ONE) / ((radius + part) * 2 + 1)).astype(np.int64)
    whole = (radius + part).astype(np.int64)[:, None]
    ends = (ONE - (2 * whole[:, 0] + 1) * full) // 2
    offset = np.abs(np.arange(-whole.max() - 1, whole.max() + 2))
    found = np.where(offset <= whole, full[:, None], np.where(offset == whole + 1, ends[:, None], 0))
    return torch.from_numpy(found.astype(np.int32))


def box_blur(image: Tensor, weights: Tensor, dim: int) -> Tensor:
    """One box blur along a dimension; the sums are those of 32 bits without a sign, of which the top 8 are kept."""
    reach, size = weights.shape[1] // 2, image.shape[dim]
    edges = [image.narrow(dim, at, 1) for at in (0, size - 1)]
    wide = torch.cat([*edges[:1] * reach, image, *edges[1:] * reach], dim)
    total = torch.full_like(image, ONE // 2)
    for offset, weight in enumerate(weights.T):
        total.addcmul_(wide.narrow(dim, offset, size), weight[:, None, None, None])
    return (total >> 24) & 255
