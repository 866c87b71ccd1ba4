"""Pictures in whole numbers: the same pixels on every machine, under every version of numpy and of Pillow.

A picture is uint8 [H, W, 4]: red, green and blue, each already multiplied by alpha (so at most alpha), and alpha.
Pixels meet only sums, products, shifts and divisions of whole numbers, which no order, vector unit or library rounds
otherwise. Fractions are counted in 65,536ths: ONE is 1.
"""

import math
from collections.abc import Callable
from functools import cache, lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Whole = NDArray[np.int64]

POINT = 16  # binary digits behind the point of a fraction
ONE = 1 << POINT
SHARE = 12  # binary digits of a weight, of which those of one pixel sum to 1
DEGREE = 100  # steps of an angle
LUMA = (299, 587, 114)  # thousandths of red, green and blue (ITU-R 601)


def fixed(value: float) -> int:
    """Return a fraction in 65,536ths."""
    return round(value * ONE)  # exact but for the rounding, as ONE is a power of two


def ratio(value: int, part: int, whole: int) -> int:
    """Return value · part / whole, rounded to the nearest."""
    return (2 * value * part + whole) // (2 * whole)


def premultiplied(rgba: Picture) -> Picture:
    """Return a picture of plain colours [H, W, 4], which can then be scaled and turned without a halo."""
    alpha = np.repeat(rgba[..., 3:], 4, axis=2)
    alpha[..., 3] = 255
    return by255(rgba, alpha)


def by255(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return first · second / 255, rounded to the nearest."""
    product = np.multiply(first, second, dtype=np.uint16) + np.uint16(128)
    return ((product + (product >> 8)) >> 8).astype(np.uint8)  # exact for 255² and all below


def mirrored(picture: Picture) -> Picture:
    """Return the picture with left and right exchanged."""
    return picture[:, ::-1]


def shrunk(picture: Picture, factor: int) -> Picture:
    """Return the means of factor × factor pixels; beyond the right and lower edge it is transparent."""
    if factor == 1:
        return picture
    height, width = (-(-side // factor) for side in picture.shape[:2])
    framed = np.zeros((height * factor, width * factor, 4), np.int32)
    framed[: picture.shape[0], : picture.shape[1]] = picture
    rows = reduce(np.add, [framed[start::factor] for start in range(factor)])  # several times as fast as sum(axis)
    sums = reduce(np.add, [rows[:, start::factor] for start in range(factor)])
    return ((sums + factor**2 // 2) // factor**2).astype(np.uint8)


def trimmed(picture: Picture) -> tuple[Picture, int, int]:
    """Return the picture without its transparent rim, and the columns and rows that were cut off left and above."""
    seen = picture[..., 3] > 0
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return picture[top : rows[-1] + 1, left : columns[-1] + 1], left, top


@cache
def direction(angle: int) -> tuple[int, int]:
    """Return cosine and sine, in 65,536ths, of an angle in hundredths of a degree.

    No libm rounds so badly that a neighbour of these is returned: a test measures how far each angle is from that.
    """
    radians = math.radians(angle / DEGREE)
    return round(math.cos(radians) * ONE), round(math.sin(radians) * ONE)


def turned(picture: Picture, angle: int) -> Picture:
    """Return the whole picture turned clockwise by an angle in hundredths of a degree, interpolated linearly."""
    cos, sin = direction(angle)
    height, width = picture.shape[:2]
    wide = -(-(width * abs(cos) + height * abs(sin)) // ONE)
    high = -(-(height * abs(cos) + width * abs(sin)) // ONE)
    x = np.arange(1 - wide, wide, 2, dtype=np.int32)
    y = np.arange(1 - high, high, 2, dtype=np.int32)[:, None]
    column = (x * cos + y * sin + (width - 1) * ONE) >> 1
    row = (y * cos - x * sin + (height - 1) * ONE) >> 1
    outside = (abs(2 * column - (width - 1) * ONE) > width * ONE) | (abs(2 * row - (height - 1) * ONE) > height * ONE)
    column, row = (np.minimum(np.maximum(at, 0), (side - 1) * ONE) for at, side in ((column, width), (row, height)))
    framed = np.zeros((height + 1, width + 1, 4), np.uint8)  # what lies beyond the last pixel has the weight 0
    framed[:-1, :-1] = picture
    place = (row >> POINT) * (width + 1) + (column >> POINT)
    pixels = framed.view(np.uint32).ravel()
    upper, lower = (_between(pixels, place + start, column) for start in (0, width + 1))
    whole = _mixed(upper, lower, row).astype(np.uint8)
    whole[outside] = 0
    return whole


def _between(pixels: NDArray[np.uint32], place: NDArray[np.int32], column: NDArray[np.int32]) -> NDArray[np.uint16]:
    left, right = (pixels[place + start].view(np.uint8).reshape(*place.shape, 4) for start in (0, 1))
    return _mixed(left, right, column)


def _mixed(
    first: NDArray[np.unsignedinteger], second: NDArray[np.unsignedinteger], place: NDArray[np.int32]
) -> NDArray[np.uint16]:
    """Return the mean of two colours [..., 4], the second weighted by 256ths of the place's fraction."""
    share = np.repeat(((place >> (POINT - 8)) & 255).astype(np.uint16)[..., None], 4, axis=2)
    mixed: NDArray[np.uint16] = first * (256 - share) + second * share + 128  # at most 255 · 256 + 128: no overflow
    return mixed >> np.uint16(8)


# Scaling


def soft(x: Whole) -> Whole:
    """Return (1 - x²)⁴ of distances in 65,536ths: nearly Hamming's window, which does not ring."""
    square: Whole = np.maximum(ONE - (x * x >> POINT), 0)
    square = square * square >> POINT
    return square * square >> POINT


def sharp(x: Whole) -> Whole:
    """Return twice Keys's cubic kernel (a = -1/2) of distances in 65,536ths, at most 2 of them."""
    x = np.minimum(abs(x), 2 * ONE)
    square = x * x >> POINT
    cube = square * x >> POINT
    return np.where(x < ONE, 3 * cube - 5 * square + 2 * ONE, 5 * square - cube - 8 * x + 4 * ONE)


REACH: dict[Callable[[Whole], Whole], int] = {soft: 1, sharp: 2}  # distance from which a kernel is 0


def resized(picture: Picture, size: tuple[int, int], kernel: Callable[[Whole], Whole]) -> Picture:
    """Return the picture scaled to a width and a height."""
    rows = _scaled(picture, size[1], kernel)
    return _transposed(_scaled(_transposed(rows), size[0], kernel))


def _transposed(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture.view(np.uint32)[..., 0].T)[..., None].view(np.uint8)


def _scaled(picture: Picture, count: int, kernel: Callable[[Whole], Whole]) -> Picture:
    """Return the picture with `count` rows."""
    lines = picture.reshape(len(picture), -1).astype(np.int32)
    total = np.full((count, lines.shape[1]), 1 << (SHARE - 1), np.int32)
    part = np.empty_like(total)
    for place, weight in zip(*_taps(len(picture), count, kernel), strict=True):
        np.take(lines, place, axis=0, out=part, mode="clip")
        part *= weight[:, None]
        total += part
    total >>= SHARE
    np.minimum(np.maximum(total, 0, out=total), 255, out=total)
    return total.astype(np.uint8).reshape(count, *picture.shape[1:])


@lru_cache(512)
def _taps(length: int, count: int, kernel: Callable[[Whole], Whole]) -> tuple[Whole, NDArray[np.int32]]:
    """Return the old rows [T, count] that each of `count` new ones is mixed of, and their weights [T, count]."""
    scale = max(ONE, length * ONE // count)  # a new row covers so much, or kernels would miss old ones
    centre = (2 * np.arange(count, dtype=np.int64) + 1) * length * ONE // (2 * count)
    reach = REACH[kernel] * scale
    places = ((centre - reach + ONE // 2) >> POINT) + np.arange(2 * reach // ONE + 1, dtype=np.int64)[:, None]
    weights = kernel((places * ONE + ONE // 2 - centre) * ONE // scale)
    weights[(places < 0) | (places >= length)] = 0  # where `take` clips
    sums = np.cumsum(weights, axis=0)
    shares = (sums << SHARE) // sums[-1]
    shares[1:] -= shares[:-1].copy()  # of rounded weights that sum to exactly 1, so that flat colours stay
    return places, shares.astype(np.int32)


# Colour


def relit(picture: Picture, gain: tuple[int, ...], lift: tuple[int, ...]) -> Picture:
    """Return the picture with each colour times gain plus lift, in 65,536ths, one each of red, green and blue."""
    wide = picture.shape[1]
    gains, lifts = (np.array([colours] * wide, np.int32) for colours in ((*gain, ONE), (*lift, 0)))
    alpha = np.repeat(picture[..., 3:].astype(np.int32), 4, axis=2)
    light = (picture * gains + alpha * lifts + ONE // 2) >> POINT
    lit: NDArray[np.int32] = np.minimum(np.maximum(light, 0), alpha)
    return lit.astype(np.uint8)


def recoloured(picture: Picture, colour: tuple[int, ...], share: int) -> Picture:
    """Return the picture with a share of its colours replaced by its luma times a colour, all in 65,536ths."""
    rgb, alpha = picture[..., :3].astype(np.int64), picture[..., 3:]
    luma = (rgb * np.array(LUMA)).sum(axis=2, keepdims=True) // sum(LUMA)
    mixed = (rgb * (ONE - share) + (luma * np.array(colour) >> POINT) * share + ONE // 2) >> POINT
    return np.concatenate([mixed.clip(0, alpha), alpha], axis=2).astype(np.uint8)


def paint(canvas: NDArray[np.uint8], picture: Picture) -> None:
    """Lay a picture [h, w, 4] over an opaque canvas [h, w, 3], in place."""
    canvas[:] = picture[..., :3] + by255(canvas, np.repeat(255 - picture[..., 3:], 3, axis=2))


def blurred(image: NDArray[np.uint8], sigma: int) -> NDArray[np.uint8]:
    """Return an image [H, W, 3] under nearly a Gaussian of sigma, 65,536ths of a pixel; edges are continued."""
    kernel = _bell(sigma)
    for axis in (0, 1):
        image = _smoothed(image, kernel, axis)
    return image


def _smoothed(image: NDArray[np.uint8], kernel: list[int], axis: int) -> NDArray[np.uint8]:
    reach, length = len(kernel) // 2, image.shape[axis]
    padded = image.take(np.arange(-reach, length + reach), axis, mode="clip").astype(np.int32)
    total = np.full(image.shape, 1 << (SHARE - 1), np.int32)
    for start, weight in enumerate(kernel):
        total += weight * (padded[start : start + length] if axis == 0 else padded[:, start : start + length])
    return (total >> SHARE).astype(np.uint8)


def _bell(sigma: int) -> list[int]:
    """Return an odd number of weights that sum to 1: three equal box filters, whose variances sum to sigma squared."""
    variance, unit = sigma * sigma, ONE * ONE
    whole = (math.isqrt(1 + 4 * variance // unit) - 1) // 2  # a box of 2 n + 1 pixels has the variance n (n + 1) / 3
    edge = (2 * whole + 1) * (variance - whole * (whole + 1) * unit)
    edge = (edge << SHARE) // (2 * (3 * (whole + 1) ** 2 * unit - variance))  # share of the pixel at either end
    box = np.array([edge, *[1 << SHARE] * (2 * whole + 1), edge], np.int64)
    bell = np.convolve(np.convolve(box, box), box)
    weights = [ratio(1 << SHARE, int(weight), int(bell.sum())) for weight in bell]
    weights[len(weights) // 2] += (1 << SHARE) - sum(weights)
    rim = next(number for number, weight in enumerate(weights) if weight)
    return weights[rim : len(weights) - rim]
