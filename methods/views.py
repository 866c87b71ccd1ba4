"""Views: random crops of a source image, their boxes, and the data set of two views an image (METHODS 9.1)."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision.transforms import ColorJitter, RandomResizedCrop
from torchvision.transforms import functional as F

from methods.recipe import Recipe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision's ResNets expect
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow has Ghostscript run what calls itself EPS


class View(NamedTuple):
    """One crop of each source image of a batch."""

    image: Tensor  # [B, 3, S, S] normalised, or uint8 as it leaves the loader
    box: Tensor  # [B, 4] source pixels x0, y0, x1, y1; x0 > x1 if mirrored
    frame: Tensor  # [B, 2] width and height of the source in pixels
    seed: Tensor  # [B] int64, the same for both views of an image: begins the random numbers of a strategy


class BrokenImage(ValueError):
    """An image file that cannot be decoded."""


class TwoViews(Dataset[tuple[View, View]]):
    """Two views of every image, a pure function of (seed, epoch, index) whatever worker makes them."""

    def __init__(self, files: Sequence[Path], recipe: Recipe, seed: int) -> None:
        """Keep the list; nothing is read yet."""
        self.files, self.recipe, self.seed = files, recipe, seed

    def __len__(self) -> int:
        """Images, not views."""
        return len(self.files)

    def __getitem__(self, key: tuple[int, int]) -> tuple[View, View]:
        """The two views, uint8, of (epoch, index)."""
        epoch, index = key
        return two_views(read(self.files[index]), self.recipe, mix(self.seed, epoch, index))


class Order(Sampler[list[tuple[int, int]]]):
    """The batches of (epoch, index) from a step on, each epoch a permutation of its own without its ragged end."""

    def __init__(self, images: int, recipe: Recipe, seed: int, start: int, rank: int = 0, ranks: int = 1) -> None:
        """Begin at step `start`; of each batch one rank's share, which in the ranks' order are the batch."""
        self.images, self.recipe, self.seed, self.start = images, recipe, seed, start
        self.first, self.share = recipe.batch // ranks * rank, recipe.batch // ranks

    def __len__(self) -> int:
        """Steps that are left."""
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
    """One 63-bit seed from several numbers."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest(), "little") >> 1


def read(file: Path) -> Image.Image:
    """Decode a file to RGB, grey and CMYK ones included; BrokenImage names the file if that fails."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them into
        raise BrokenImage(f"{file}: cannot be decoded as an image ({' '.join(str(error).split())})") from error


def two_views(source: Image.Image, recipe: Recipe, seed: int) -> tuple[View, View]:
    """Two views of a source, a pure function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return view(source, recipe, seed), view(source, recipe, seed)


def view(source: Image.Image, recipe: Recipe, seed: int) -> View:
    """Crop, jitter, grey, blur and mirror, in SimSiam's order; an image [3, S, S] uint8 and its signed box [4].

    What is random comes from torch's generator; the seed is only handed on.
    """
    top, left, height, width = RandomResizedCrop.get_params(source, [recipe.crop, 1.0], [3 / 4, 4 / 3])
    image = F.resized_crop(source, top, left, height, width, [recipe.size, recipe.size], antialias=True)
    box = (left, top, left + width, top + height)
    if chance(recipe.jitter):
        image = ColorJitter(0.4, 0.4, 0.4, 0.1)(image)
    if chance(recipe.grey):
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if chance(recipe.blur):
        image = image.filter(ImageFilter.GaussianBlur(radius=float(torch.empty(()).uniform_(0.1, 2.0))))
    if chance(recipe.flip):
        image, box = F.hflip(image), (box[2], box[1], box[0], box[3])
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    place, frame = (torch.tensor(numbers, dtype=torch.float32) for numbers in (box, source.size))
    return View(pixels, place, frame, torch.tensor(seed))


def chance(share: float) -> bool:
    """True in that share of the draws."""
    return float(torch.rand(())) < share


def normalise(view: View, device: torch.device) -> View:
    """A loader's uint8 view on the device, as the encoder takes it: [0, 1] minus ImageNet's mean over its std."""
    image = view.image.to(device, non_blocking=True).float().div_(255)
    mean, std = (torch.tensor(three, device=device)[:, None, None] for three in (MEAN, STD))
    image = image.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
    return View(image, *(part.to(device, non_blocking=True) for part in view[1:]))
