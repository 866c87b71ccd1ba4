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
JITTER = [0.6, 1.4], [0.6, 1.4], [0.6, 1.4], [-0.1, 0.1]  # of TURNS: SimSiam's ColorJitter(0.4, 0.4, 0.4, 0.1)
TURNS = F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue  # as ColorJitter numbers them
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow has Ghostscript run what calls itself EPS


class View(NamedTuple):
    """One crop of each source image of a batch."""

    image: Tensor  # [B, 3, S, S] normalised, or uint8 as it leaves the loader
    box: Tensor  # [B, 4] source pixels x0, y0, x1, y1; x0 > x1 if mirrored
    frame: Tensor  # [B, 2] width and height of the source in pixels
    seed: Tensor  # [B] int64, the same for both views of an image: begins the random numbers of a strategy


class BrokenImage(ValueError):
    """An image file that cannot be decoded."""


class Plan(NamedTuple):
    """What is drawn for one view, before a pixel is read."""

    window: tuple[int, int, int, int]  # source pixels: top, left, height, width
    jitter: tuple[Tensor, float, float, float, float] | None  # the order of TURNS and their amounts; None: no jitter
    grey: bool
    sigma: float  # px of the blur, 0: none
    mirrored: bool


class Colours(NamedTuple):
    """What a batch's plans change in its colours."""

    jitter: Tensor  # [B] bool
    order: Tensor  # [B, 4] int64: which of TURNS comes first, second, …
    amount: Tensor  # [B, 4] float32: of each of TURNS
    grey: Tensor  # [B] bool
    sigma: Tensor  # [B] float32: px of the blur, 0: none


class Uncoloured(NamedTuple):
    """Views that are cropped and mirrored, and what is left to do to their colours (methods.augment)."""

    view: View
    colours: Colours


class TwoViews(Dataset[tuple[Any, Any]]):
    """Two views of every image, a pure function of (seed, epoch, index) whatever worker makes them."""

    def __init__(
        self, files: Sequence[Path], recipe: Recipe, seed: int,
        colours: bool = True, reduced: bool = False, cache: Cache | None = None,
    ) -> None:  # fmt: skip
        """Keep the list; nothing is read yet. Without `colours` the views are Uncoloured.

        With `reduced` a JPEG is decoded at 1/2, 1/4 or 1/8 where both crops still have as many pixels as their views;
        that shrinks by JPEG's own filter, so pixels change a little. Nothing of it enters the cache.
        """
        self.files, self.recipe, self.seed = files, recipe, seed
        self.colours, self.reduced, self.cache = colours, reduced, cache

    def __len__(self) -> int:
        """Images, not views."""
        return len(self.files)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Any, Any]:
        """The two views of (epoch, index), uint8: View or Uncoloured."""
        epoch, index = key
        seed = mix(self.seed, epoch, index)
        source, (first, second) = self.read_reduced(index, seed) if self.reduced else self.read(index, seed)
        make: Callable[[Source, Plan, int, int], View | Uncoloured] = show if self.colours else uncoloured
        return make(source, first, self.recipe.size, seed), make(source, second, self.recipe.size, seed)

    def read(self, index: int, seed: int) -> tuple[Source, tuple[Plan, Plan]]:
        """An image, decoded or from the cache, and the plans of its views."""
        decode = partial(read, self.files[index])
        image = self.cache.read(index, decode) if self.cache else decode()
        return Source(image, image.size), two_plans(image.size, self.recipe, seed)

    def read_reduced(self, index: int, seed: int) -> tuple[Source, tuple[Plan, Plan]]:
        """An image at the smallest scale that serves both views, and the plans of these."""
        with opened(self.files[index]) as image:
            frame, plans = image.size, two_plans(image.size, self.recipe, seed)
            factor = spare(plans, self.recipe.size)
            image.draft("RGB", (frame[0] // factor, frame[1] // factor))
            return Source(rgb(image), frame), plans


class Order(Sampler[list[tuple[int, int]]]):
    """The batches of (epoch, index) from a step on, each epoch a permutation of its own without its ragged end."""

    def __init__(self, images: int, recipe: Recipe, seed: int, start: int) -> None:
        """Begin at step `start`."""
        self.images, self.recipe, self.seed, self.start = images, recipe, seed, start

    def __len__(self) -> int:
        """Steps that are left."""
        return self.images // self.recipe.batch * self.recipe.epochs - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield one step's keys at a time."""
        steps = self.images // self.recipe.batch
        for epoch in range(self.start // steps, self.recipe.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
            for step in range(self.start - epoch * steps if epoch == self.start // steps else 0, steps):
                chosen = order[step * self.recipe.batch : (step + 1) * self.recipe.batch]
                yield [(epoch, int(index)) for index in chosen]


def mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest(), "little") >> 1


class Source(NamedTuple):
    """An image that views are cut from."""

    image: Image.Image  # RGB, at its own or a reduced scale
    frame: tuple[int, int]  # its own width and height, in which boxes are given


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """An image file that is about to be decoded; BrokenImage names it if that fails."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            yield image
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them into
        raise BrokenImage(f"{file}: cannot be decoded as an image ({' '.join(str(error).split())})") from error


def read(file: Path) -> Image.Image:
    """Decode a file to RGB, grey and CMYK ones included; BrokenImage names the file if that fails."""
    with opened(file) as image:
        return rgb(image)


def rgb(image: Image.Image) -> Image.Image:
    """An opened image, decoded; Pillow's own conversion would copy one that is RGB."""
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def frame(file: Path) -> tuple[int, int]:
    """Width and height of an image, of which only the head is read."""
    with opened(file) as image:
        return image.size


def two_views(source: Image.Image, recipe: Recipe, seed: int) -> tuple[View, View]:
    """Two views of a source, a pure function of the seed."""
    first, second = two_plans(source.size, recipe, seed)
    whole = Source(source, source.size)
    return show(whole, first, recipe.size, seed), show(whole, second, recipe.size, seed)


def two_plans(frame: tuple[int, int], recipe: Recipe, seed: int) -> tuple[Plan, Plan]:
    """The plans of both views of an image of that width and height, a pure function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return plan(frame, recipe), plan(frame, recipe)


def plan(frame: tuple[int, int], recipe: Recipe) -> Plan:
    """Crop, jitter, grey, blur and mirror, drawn from torch's generator in SimSiam's order."""
    shape = torch.empty((1, frame[1], frame[0]), device="meta")
    return Plan(
        window=RandomResizedCrop.get_params(shape, [recipe.crop, 1.0], [3 / 4, 4 / 3]),
        jitter=ColorJitter.get_params(*JITTER) if chance(recipe.jitter) else None,
        grey=chance(recipe.grey),
        sigma=float(torch.empty(()).uniform_(0.1, 2.0)) if chance(recipe.blur) else 0.0,
        mirrored=chance(recipe.flip),
    )


def view(source: Image.Image, recipe: Recipe, seed: int) -> View:
    """A view drawn from torch's generator: an image [3, S, S] uint8 and its signed box [4]; the seed is handed on."""
    return show(Source(source, source.size), plan(source.size, recipe), recipe.size, seed)


def show(source: Source, plan: Plan, size: int, seed: int) -> View:
    """A plan's view."""
    return placed(coloured(cropped(source, plan, size), plan), source, plan, seed)


def uncoloured(source: Source, plan: Plan, size: int, seed: int) -> Uncoloured:
    """A plan's view with its colours as they are, and what is left to do."""
    order, *amounts = plan.jitter or (torch.arange(4), 1.0, 1.0, 1.0, 0.0)
    numbers = plan.jitter is not None, order, amounts, plan.grey, plan.sigma
    return Uncoloured(placed(cropped(source, plan, size), source, plan, seed), Colours(*map(torch.as_tensor, numbers)))


def cropped(source: Source, plan: Plan, size: int) -> Image.Image:
    """The window at `size` pixels a side, mirrored before the colours: in either order it has the same bits."""
    top, left, height, width = plan.window
    if source.image.size == source.frame:
        image: Image.Image = F.resized_crop(source.image, top, left, height, width, [size, size], antialias=True)
    else:
        x, y = (part / full for part, full in zip(source.image.size, source.frame, strict=True))
        box = left * x, top * y, (left + width) * x, (top + height) * y
        image = source.image.resize((size, size), Image.Resampling.BILINEAR, box)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if plan.mirrored else image


def coloured(image: Image.Image, plan: Plan) -> Image.Image:
    """Jitter, grey and blur."""
    if plan.jitter is not None:
        order, *amounts = plan.jitter
        for turn in order.tolist():
            image = TURNS[turn](image, amounts[turn])
    if plan.grey:
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    return image.filter(ImageFilter.GaussianBlur(radius=plan.sigma)) if plan.sigma else image


def placed(image: Image.Image, source: Source, plan: Plan, seed: int) -> View:
    """The image as a tensor, with its signed box."""
    top, left, height, width = plan.window
    x0, x1 = (left + width, left) if plan.mirrored else (left, left + width)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    numbers = (x0, top, x1, top + height), source.frame
    place, frame = (torch.tensor(part, dtype=torch.float32) for part in numbers)
    return View(pixels, place, frame, torch.tensor(seed))


def spare(plans: Sequence[Plan], size: int) -> int:
    """The largest of 8, 4, 2 and 1 by which all windows can shrink and still have `size` pixels a side."""
    least = min(side for plan in plans for side in plan.window[2:])
    return next((factor for factor in (8, 4, 2) if least >= factor * size), 1)


def chance(share: float) -> bool:
    """True in that share of the draws."""
    return float(torch.rand(())) < share


def normalise(view: View, device: torch.device) -> View:
    """A loader's uint8 view on the device, as the encoder takes it: [0, 1] minus ImageNet's mean over its std."""
    image = view.image.to(device, non_blocking=True).float().div_(255)
    mean, std = (torch.tensor(three)[:, None, None].to(device, non_blocking=True) for three in (MEAN, STD))
    image = image.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
    return View(image, *(part.to(device, non_blocking=True) for part in view[1:]))
