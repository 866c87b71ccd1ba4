"""Colour jitter, grey and blur of a whole batch on a device, each image by its own plan, to the bits of Pillow's.

Pillow is what torchvision calls for images from a loader; it rounds to whole 255ths after every step, and so does
this. Images are [B, 3, S, S] in int32 from 0 to 255 between the steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from methods.views import Uncoloured, View

PASSES = 3  # of a box blur, for a Gaussian one
ONE = 1 << 24  # the sum of a box blur's weights
SECTORS = (
    (0, 3, 1),
    (2, 0, 1),
    (1, 0, 3),
    (1, 2, 0),
    (3, 1, 0),
    (0, 1, 2),
)  # of v, p, q, t: R, G, B in each sixth of H


def colour(made: Uncoloured, device: torch.device) -> View:
    """The views on the device, uint8, with the colours that a loader's process would have given them."""
    view, colours = made
    image = view.image.to(device, non_blocking=True).int()
    for step in range(len(TURNS)):
        for number, turn in enumerate(TURNS):
            chosen = colours.jitter & (colours.order[:, step] == number)
            change(image, chosen, turn, colours.amount[:, number])
    change(image, colours.grey, lambda part, _: luma(part).expand_as(part), colours.sigma)
    change(image, colours.sigma > 0, blur, colours.sigma)
    return view._replace(image=image.to(torch.uint8))


def change(image: Tensor, chosen: Tensor, turn: Callable[[Tensor, Tensor], Tensor], amount: Tensor) -> None:
    """Change the chosen images in place, by their amounts [B]; what is chosen is known without asking the device."""
    if rows := chosen.nonzero()[:, 0].tolist():
        there = torch.tensor(rows, device=image.device)
        image[there] = turn(image[there], amount[rows])


def brightness(image: Tensor, amount: Tensor) -> Tensor:
    """From black."""
    return blend(torch.zeros((), dtype=torch.int32, device=image.device), image, amount)


def contrast(image: Tensor, amount: Tensor) -> Tensor:
    """From the image's mean grey, a whole number."""
    mean = luma(image).sum((1, 2, 3), keepdim=True).double() / image[0, 0].numel()
    return blend((mean + 0.5).int(), image, amount)


def saturation(image: Tensor, amount: Tensor) -> Tensor:
    """From grey."""
    return blend(luma(image), image, amount)


def blend(start: Tensor, image: Tensor, amount: Tensor) -> Tensor:
    """From `start` (amount 0) through the image (1) and beyond, cut off to whole numbers."""
    share = amount.to(image.device)[:, None, None, None]
    return (start.float() + share * (image - start).float()).clamp(0, 255).int()


def luma(image: Tensor) -> Tensor:
    """ITU-R 601's grey [B, 1, S, S] in 16-bit fixed point."""
    red, green, blue = image.split(1, dim=1)
    grey: Tensor = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return grey


def hue(image: Tensor, amount: Tensor) -> Tensor:
    """Turn the hue by a share of the circle, all of H, S and V in whole 255ths."""
    turned = (amount.double() * 255).int().to(image.device)[:, None, None, None]
    h, s, v = split(image)
    return join((h + turned) & 255, s, v)


def split(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """H, S and V, [B, 1, S, S] each."""
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
    which = torch.tensor(SECTORS, device=v.device)[sector[:, 0].long() % 6]
    return torch.cat((v, p, q, t), dim=1).gather(1, which.movedim(3, 1))


TURNS = brightness, contrast, saturation, hue  # in the order of methods.views.TURNS


def blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Pillow's Gaussian blur: box blurs along each line, then along each column, the edge pixels repeated."""
    weights = boxes(sigma.numpy()).to(image.device)
    for dim in (3, 2):
        for _ in range(PASSES):
            image = box_blur(image, weights, dim)
    return image


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
    edges = (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach)
    wide = pad(image.float(), edges, mode="replicate").int()
    total = torch.full_like(image, ONE // 2)
    for offset, weight in enumerate(weights.T):
        total += wide.narrow(dim, offset, size) * weight[:, None, None, None]
    return (total >> 24) & 255
