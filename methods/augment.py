"""Colour jitter, grey and blur of a whole batch on a device, each image by its own parameters, bit for bit Pillow's.

Pillow is what torchvision calls for images from a loader; it rounds to whole 255ths after every step, and so does
this. A ColorOp takes images [B, 3, S, S] uint8 and their amounts [B, …] on one device, and returns such images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from methods.views import Colours, RawView, View

ColorOp = Callable[[Tensor, Tensor], Tensor]

PASSES = 3  # of a box blur, for a Gaussian one
ONE = 1 << 24  # the sum of a box blur's weights
EXACT: dict[str, bool] = {  # what lets inductor round as the kernels of one operation do
    "emulate_precision_casts": True,  # no product and sum in one
    "eager_numerics.division_rounding": True,
    "pattern_matcher": False,  # on torch 2.11 it drops a float64's way through float32
}


def colour(made: Sequence[RawView], device: torch.device, compile: bool = False) -> list[View]:
    """Return the views on the device, uint8, with the colours that a loader's process would have given them.

    They are changed together, in few large kernels, and nothing waits for the device. With `compile` each ColorOp is
    one or two kernels, compiled at its first use.
    """
    image = torch.cat([view.image.to(device, non_blocking=True) for view, _ in made])
    colours = Colours(*map(torch.cat, zip(*(colours for _, colours in made), strict=True)))
    for step in range(len(COLOR_OPS)):
        for number, op in enumerate(COLOR_OPS):
            chosen = colours.jitter & (colours.order[:, step] == number)
            change(image, chosen, compiled(op) if compile else op, colours.amount[:, number])
    change(image, colours.grey, grey, colours.sigma)
    change(image, colours.sigma > 0, compiled(blur) if compile else blur, boxes(colours.sigma.numpy()))
    parts = image.split([len(view.image) for view, _ in made])
    return [view._replace(image=part) for (view, _), part in zip(made, parts, strict=True)]


@cache
def compiled(op: ColorOp) -> ColorOp:
    """Return a ColorOp compiled by torch.compile, with the same bits."""
    known = torch._inductor.list_options()
    fast: ColorOp = torch.compile(op, options={name: value for name, value in EXACT.items() if name in known})
    return fast


def change(image: Tensor, chosen: Tensor, op: ColorOp, amount: Tensor) -> None:
    """Change the chosen images in place, by their amounts [B, …]; both lie on the CPU, where counting needs no wait."""
    if len(rows := chosen.nonzero()[:, 0]):
        there, by = (part.to(image.device, non_blocking=True) for part in (rows, amount[rows]))
        image[there] = op(image[there], by)


def brightness(image: Tensor, amount: Tensor) -> Tensor:
    """Brightness: blend with black."""
    return blend(torch.zeros_like(image[:, :1]), image, amount)


def contrast(image: Tensor, amount: Tensor) -> Tensor:
    """Contrast: blend with the image's mean grey, rounded to a whole number."""
    mean = luma(image).sum((1, 2, 3), keepdim=True).double() / image[0, 0].numel()
    return blend((mean + 0.5).int(), image, amount)


def saturation(image: Tensor, amount: Tensor) -> Tensor:
    """Saturation: blend with the grey image."""
    return blend(luma(image), image, amount)


def blend(start: Tensor, image: Tensor, amount: Tensor) -> Tensor:
    """Return start + amount · (image − start), clamped to [0, 255] and cut off to whole numbers."""
    first = start.float()
    return (first + amount[:, None, None, None] * (image.float() - first)).clamp(0, 255).to(torch.uint8)


def grey(image: Tensor, amount: Tensor) -> Tensor:
    """Grey: replace all channels by luma, whatever the amount."""
    return luma(image).to(torch.uint8).expand_as(image)


def luma(image: Tensor) -> Tensor:
    """Return ITU-R 601's luma [B, 1, S, S], int32, in 16-bit fixed point."""
    red, green, blue = image.int().split(1, dim=1)
    total: Tensor = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return total


def hue(image: Tensor, amount: Tensor) -> Tensor:
    """Turn the hue by a share of the circle, all of H, S and V in whole 255ths."""
    turned = (amount.double() * 255).int()[:, None, None, None]
    h, s, v = split(image.int())
    return join((h + turned) & 255, s, v)


def split(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return H, S and V of an RGB image, [B, 1, S, S] int32 each."""
    high, low = image.amax(1, keepdim=True), image.amin(1, keepdim=True)
    spread = (high - low).float()
    parts = image.split(1, dim=1)
    red, green, blue = (((high - part).float() / spread.clamp(min=1)).double() for part in parts)
    rest = torch.where(parts[1] == high, 2 + red - blue, 4 + green - red)
    sixth = torch.where(parts[0] == high, blue - green, rest).float()
    h, s = ((sixth.double() / 6 + 1) % 1).float(), spread / high.clamp(min=1)
    return (h.double() * 255).int(), (s.double() * 255).int(), high


def join(h: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """Return the RGB image of H, S and V."""
    place = h.double() * 6 / 255
    sector = place.floor()
    rest, share = (place - sector).float().double(), (s.float() / 255).double()
    p, q, t = ((v * (1 - share * part) + 0.5).int() for part in (torch.ones_like(rest), rest, 1 - rest))
    sixths = (v, q, p, p, t, v), (t, v, v, q, p, p), (p, p, t, v, v, q)  # of R, G and B
    return torch.cat([pick(sector % 6, sixth) for sixth in sixths], dim=1).to(torch.uint8)


def pick(number: Tensor, values: tuple[Tensor, ...]) -> Tensor:
    """Return, at each pixel, the value that the pixel's number selects."""
    picked = values[-1]
    for index, value in enumerate(values[:-1]):
        picked = torch.where(number == index, value, picked)
    return picked


COLOR_OPS = (brightness, contrast, saturation, hue)  # in the order of methods.views.COLOR_OPS


def blur(image: Tensor, weights: Tensor) -> Tensor:
    """Blur as Pillow's Gaussian does: box blurs along each row, then along each column, edge pixels repeated."""
    image = image.int()
    for dim in (3, 2):
        for _ in range(PASSES):
            image = box_blur(image, weights, dim)
    return image.to(torch.uint8)


def boxes(sigma: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Tensor:
    """Return weights [B, 2R + 1] in 2⁻²⁴ of a box blur, PASSES of which make a Gaussian one (Gwosdek et al. 2011).

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
    weights = np.where(offset <= whole, full[:, None], np.where(offset == whole + 1, ends[:, None], 0))
    return torch.from_numpy(weights.astype(np.int32))


def box_blur(image: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Apply one box blur along a dimension; sums are unsigned 32-bit integers, of which the top 8 bits are kept."""
    reach, size = weights.shape[1] // 2, image.shape[dim]
    edges = [image.narrow(dim, at, 1) for at in (0, size - 1)]
    wide = torch.cat([*edges[:1] * reach, image, *edges[1:] * reach], dim)
    total = torch.full_like(image, ONE // 2)
    for offset, weight in enumerate(weights.T):
        total.addcmul_(wide.narrow(dim, offset, size), weight[:, None, None, None])
    return (total >> 24) & 255
