"""Views: random crops of a source image, their boxes, and the data set of two views an image (METHODS 9.1)."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision.transforms import ColorJitter, RandomResizedCrop
from torchvision.transforms import functional as F

from methods.cache import Cache
from methods.recipe import Recipe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision's ResNets expect
JITTER = [0.6, 1.4], [0.6, 1.4], [0.6, 1.4], [-0.1, 0.1]  # of COLOR_OPS: SimSiam's ColorJitter(0.4, 0.4, 0.4, 0.1)
COLOR_OPS = F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue  # as ColorJitter numbers them
SCALE = 257  # 65,535 / 255: of 16 bits over 8
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow has Ghostscript run what calls itself EPS


class View(NamedTuple):
    """One crop of each source image of a batch."""

    image: Tensor  # [B, 3, S, S] normalised, or uint8 as it leaves the loader
    box: Tensor  # [B, 4] source pixels x0, y0, x1, y1; x0 > x1 if mirrored
    frame: Tensor  # [B, 2] width and height of the source in pixels
    seed: Tensor  # [B] int64, the same for both views of an image: begins the random numbers of a strategy


class BrokenImage(ValueError):
    """Error for an image file that cannot be decoded."""


class AugmentParams(NamedTuple):
    """Random parameters of one view, drawn before a pixel is read."""

    window: tuple[int, int, int, int]  # source pixels: top, left, height, width
    jitter: tuple[Tensor, float, float, float, float] | None  # order and amounts of COLOR_OPS; None: no jitter
    grey: bool
    sigma: float  # px of the blur, 0: none
    mirrored: bool


class Colours(NamedTuple):
    """Parameters of the colours of a batch of views."""

    jitter: Tensor  # [B] bool
    order: Tensor  # [B, 4] int64: which of COLOR_OPS comes first, second, …
    amount: Tensor  # [B, 4] float32: of each of COLOR_OPS
    grey: Tensor  # [B] bool
    sigma: Tensor  # [B] float32: px of the blur, 0: none


class RawView(NamedTuple):
    """Views that are cropped and mirrored, with the colour parameters that methods.augment applies on the device."""

    view: View
    colours: Colours


class TwoViews(Dataset[tuple[Any, Any]]):
    """Data set of two views of every image, each a pure function of (seed, epoch, index) on any worker."""

    def __init__(
        self, files: Sequence[Path], recipe: Recipe, seed: int,
        colours: bool = True, reduced: bool = False, cache: Cache | None = None,
    ) -> None:  # fmt: skip
        """Keep the list; nothing is read yet. With colours=False the views are RawView, their colours still unchanged.

        With `reduced` a JPEG is decoded at 1/2, 1/4 or 1/8 where both crops still have as many pixels as their views;
        that shrinks by JPEG's own filter, so pixels change a little. Nothing of it enters the cache.
        """
        self.files, self.recipe, self.seed = files, recipe, seed
        self.colours, self.reduced, self.cache = colours, reduced, cache

    def __len__(self) -> int:
        """Return the number of images, not of views."""
        return len(self.files)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Any, Any]:
        """Return the two views of (epoch, index), uint8: View or RawView."""
        epoch, index = key
        seed = mix(self.seed, epoch, index)
        source, (first, second) = self.read_reduced(index, seed) if self.reduced else self.read(index, seed)
        make: Callable[[Source, AugmentParams, int, int], View | RawView] = make_view if self.colours else make_raw_view
        return make(source, first, self.recipe.size, seed), make(source, second, self.recipe.size, seed)

    def read(self, index: int, seed: int) -> tuple[Source, tuple[AugmentParams, AugmentParams]]:
        """Return an image, decoded or from the cache, and the parameters of its two views."""
        decode = partial(read, self.files[index])
        image = self.cache.read(index, decode) if self.cache else decode()
        return Source(image, image.size), draw_both(image.size, self.recipe, seed)

    def read_reduced(self, index: int, seed: int) -> tuple[Source, tuple[AugmentParams, AugmentParams]]:
        """Return an image at the smallest scale that serves both views, and their parameters."""
        with opened(self.files[index]) as image:
            frame, params = image.size, draw_both(image.size, self.recipe, seed)
            factor = draft_scale(params, self.recipe.size)
            image.draft("RGB", (frame[0] // factor, frame[1] // factor))
            return Source(rgb(image), frame), params


class Order(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) from a step on; each epoch is a permutation of its own without an incomplete batch."""

    def __init__(self, images: int, recipe: Recipe, seed: int, start: int, rank: int = 0, ranks: int = 1) -> None:
        """Begin at step `start`; yield one rank's part of each batch, which joined in the ranks' order is the batch."""
        self.images, self.recipe, self.seed, self.start = images, recipe, seed, start
        self.first, self.share = recipe.batch // ranks * rank, recipe.batch // ranks

    def __len__(self) -> int:
        """Return the number of steps that are left."""
        return self.images // self.recipe.batch * self.recipe.epochs - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield one step's keys at a time."""
        steps = self.images // self.recipe.batch
        for epoch in range(self.start // steps, self.recipe.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
            for step in range(self.start - epoch * steps if epoch == self.start // steps else 0, steps):
                begin = step * self.recipe.batch + self.first
                yield [(epoch, int(index)) for index in order[begin : begin + self.share]]


def mix(*numbers: int) -> int:
    """Return one 63-bit seed from several numbers."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest(), "little") >> 1


class Source(NamedTuple):
    """Image that views are cut from."""

    image: Image.Image  # RGB, at its own or a reduced scale
    frame: tuple[int, int]  # its own width and height, in which boxes are given


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """Open an image file for decoding within the block; BrokenImage names the file if that fails."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            yield image
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them into
        raise BrokenImage(f"{file}: cannot be decoded as an image ({' '.join(str(error).split())})") from error


def read(file: Path) -> Image.Image:
    """Return a file decoded to RGB, also a grey or a CMYK one; BrokenImage names the file if that fails."""
    with opened(file) as image:
        return rgb(image)


def rgb(image: Image.Image) -> Image.Image:
    """Return an opened image decoded to RGB, without a copy if it is RGB already."""
    image.load()
    return image if image.mode == "RGB" else eight_bits(image).convert("RGB")


def eight_bits(image: Image.Image) -> Image.Image:
    """Return an image, one of 16 bits scaled to 8 by its type's range, where Pillow would clip it.

    ValueError for integers and floats of 32 bits, whose range no file states.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + SCALE // 2) // SCALE).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode}, of 32 bits, have no range: save them with 8 or 16 bits")
    return image


def frame(file: Path) -> tuple[int, int]:
    """Return width and height of an image file, of which only the header is read."""
    with opened(file) as image:
        return image.size


def two_views(source: Image.Image, recipe: Recipe, seed: int) -> tuple[View, View]:
    """Return two views of a source, a pure function of the seed."""
    first, second = draw_both(source.size, recipe, seed)
    whole = Source(source, source.size)
    return make_view(whole, first, recipe.size, seed), make_view(whole, second, recipe.size, seed)


def draw_both(frame: tuple[int, int], recipe: Recipe, seed: int) -> tuple[AugmentParams, AugmentParams]:
    """Return the parameters of both views of an image of that width and height, a pure function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return draw_params(frame, recipe), draw_params(frame, recipe)


def draw_params(frame: tuple[int, int], recipe: Recipe) -> AugmentParams:
    """Draw crop, jitter, grey, blur and mirror from torch's generator in SimSiam's order."""
    shape = torch.empty((1, frame[1], frame[0]), device="meta")
    return AugmentParams(
        window=RandomResizedCrop.get_params(shape, [recipe.crop, 1.0], [3 / 4, 4 / 3]),
        jitter=ColorJitter.get_params(*JITTER) if happens(recipe.jitter) else None,
        grey=happens(recipe.grey),
        sigma=float(torch.empty(()).uniform_(0.1, 2.0)) if happens(recipe.blur) else 0.0,
        mirrored=happens(recipe.flip),
    )


def view(source: Image.Image, recipe: Recipe, seed: int) -> View:
    """Return a view drawn from torch's generator: an image [3, S, S] uint8 and its signed box [4]; seed is stored."""
    return make_view(Source(source, source.size), draw_params(source.size, recipe), recipe.size, seed)


def make_view(source: Source, params: AugmentParams, size: int, seed: int) -> View:
    """Return the view of some parameters."""
    return placed(coloured(cropped(source, params, size), params), source, params, seed)


def make_raw_view(source: Source, params: AugmentParams, size: int, seed: int) -> RawView:
    """Return the view of some parameters with its colours unchanged, and the parameters of the colours."""
    order, *amounts = params.jitter or (torch.arange(4), 1.0, 1.0, 1.0, 0.0)
    numbers = params.jitter is not None, order, amounts, params.grey, params.sigma
    return RawView(placed(cropped(source, params, size), source, params, seed), Colours(*map(torch.as_tensor, numbers)))


def cropped(source: Source, params: AugmentParams, size: int) -> Image.Image:
    """Return the window resized to `size` pixels a side and mirrored, with the same bits as after the colours."""
    top, left, height, width = params.window
    if source.image.size == source.frame:
        image: Image.Image = F.resized_crop(source.image, top, left, height, width, [size, size], antialias=True)
    else:
        x, y = (part / full for part, full in zip(source.image.size, source.frame, strict=True))
        box = left * x, top * y, (left + width) * x, (top + height) * y
        image = source.image.resize((size, size), Image.Resampling.BILINEAR, box)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if params.mirrored else image


def coloured(image: Image.Image, params: AugmentParams) -> Image.Image:
    """Return the image with jitter, grey and blur."""
    if params.jitter is not None:
        order, *amounts = params.jitter
        for op in order.tolist():
            image = COLOR_OPS[op](image, amounts[op])
    if params.grey:
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    return image.filter(ImageFilter.GaussianBlur(radius=params.sigma)) if params.sigma else image


def placed(image: Image.Image, source: Source, params: AugmentParams, seed: int) -> View:
    """Return the image as a tensor, with its signed box."""
    top, left, height, width = params.window
    x0, x1 = (left + width, left) if params.mirrored else (left, left + width)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    numbers = (x0, top, x1, top + height), source.frame
    place, frame = (torch.tensor(part, dtype=torch.float32) for part in numbers)
    return View(pixels, place, frame, torch.tensor(seed))


def draft_scale(params: Sequence[AugmentParams], size: int) -> int:
    """Return the largest of 8, 4, 2 and 1 by which all windows can shrink and still have `size` pixels a side."""
    least = min(side for view in params for side in view.window[2:])
    return next((factor for factor in (8, 4, 2) if least >= factor * size), 1)


def happens(probability: float) -> bool:
    """Return True with a probability, drawn from torch's generator."""
    return float(torch.rand(())) < probability


def normalise(view: View, device: torch.device) -> View:
    """Return a loader's uint8 view on the device as the encoder takes it: scaled to [0, 1], minus mean, over std."""
    image = view.image.to(device, non_blocking=True).float().div_(255)
    mean, std = (torch.tensor(three)[:, None, None].to(device, non_blocking=True) for three in (MEAN, STD))
    image = image.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
    return View(image, *(part.to(device, non_blocking=True) for part in view[1:]))
