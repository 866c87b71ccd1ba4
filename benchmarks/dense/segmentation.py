"""Images with a label for each pixel: folders in the layout of Pascal VOC with SegmentationClass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from benchmarks.data import voc
from benchmarks.data.contents import hashes
from benchmarks.data.flaws import DataError, Findings
from benchmarks.data.pixels import EXIF_ORIENTATION, FORMATS
from benchmarks.dense.agreement import VOID

if TYPE_CHECKING:
    from torch import Tensor

MASKS = "SegmentationClass"
UPRIGHT = (None, 1)  # EXIF orientations of an image that is seen as it is stored


class Pair(NamedTuple):
    """An image and its labels."""

    id: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Segmentation:
    """A checked data set: each mask fits its image, and its values are classes."""

    train: tuple[Pair, ...]
    test: tuple[Pair, ...]
    values: tuple[int, ...]  # of the masks: those that occur in train, sorted, then those that occur in test alone
    learnt: int  # how many of them occur in train
    notes: tuple[str, ...]
    fingerprint: str  # sha256 over names, masks' bytes and images' bytes

    @property
    def summary(self) -> str:
        """One line: images and classes."""
        return f"{len(self.train)} train and {len(self.test)} test images, {self.learnt} classes a pixel"


def read(folder: Path, cache: Path | None = None) -> Segmentation:
    """Return the images of a folder whose pixels are labelled, checked; DataError names all flaws in one line.

    `cache` remembers the hashes of the files.
    """
    lists = folder / "ImageSets" / "Segmentation"
    lists = lists if lists.is_dir() else folder / voc.LISTS
    if not (folder / MASKS).is_dir() or not lists.is_dir():
        missing = folder / MASKS if lists.is_dir() else lists
        raise DataError(f"{missing}: missing, and without labels of pixels only matching and structure can be measured")
    tested = next((name for name in ("test", "val") if (lists / f"{name}.txt").is_file()), None)
    learnt = next((name for name in voc.train_lists(lists) if (lists / f"{name}.txt").is_file()), None)
    if tested is None or learnt is None:
        raise DataError(f"{lists}: a list of train and one of test or val images were expected")
    findings = Findings()
    flaws, splits, left = findings.flaws, [], 0
    for name in (learnt, tested):
        pairs = [*_pairs(folder, lists / f"{name}.txt", findings)]
        splits.append(tuple(pair for pair in pairs if pair.mask.is_file()))
        left += len(pairs) - len(splits[-1])
    train, test = splits
    shared = {pair.id for pair in train} & {pair.id for pair in test}
    flaws += [f"{folder}: image {id!r} is in train and in test" for id in sorted(shared)]
    known, digest = [_values(split, findings) for split in splits], hashlib.sha256()
    if flaws:
        raise DataError(*flaws)
    if len(train) < 2 or not test:
        raise DataError(f"{folder}: {len(train)} train and {len(test)} test images with labels: 2 and 1 are needed")
    if len(known[0]) < 2:
        raise DataError(f"{folder}: the train images show {len(known[0])} classes: at least 2 are needed")
    named = [(pair.id, file) for pair in (*train, *test) for file in (pair.image, pair.mask)]
    for (id, _), sha in zip(named, hashes([file for _, file in named], cache), strict=True):
        digest.update(f"{id}\n".encode() + bytes.fromhex(sha))
    unseen = sorted(known[1] - known[0])
    notes = [f"left out: {left:,} listed images without a mask"] if left else []
    notes += [f"value {value} of test masks is in no train mask: it scores 0" for value in unseen]
    return Segmentation(train, test, (*sorted(known[0]), *unseen), len(known[0]), tuple(notes), digest.hexdigest())


def _pairs(folder: Path, listing: Path, findings: Findings) -> Iterable[Pair]:
    """Yield the images that a list names; a name that is a path and a file that is missing enter the findings."""
    with findings.collected():
        for id in dict.fromkeys(voc.listed(listing)):
            with findings.collected():
                image = voc.image_of(folder / voc.IMAGES, id)
                yield Pair(id, image, folder / MASKS / f"{image.stem}.png")


def _values(split: Iterable[Pair], findings: Findings) -> set[int]:
    """Return the values that masks have; a mask that does not fit its image enters the findings."""
    values: set[int] = set()
    for pair in split:
        with findings.collected():
            values |= _values_of(pair)
    return values - {VOID}


def _values_of(pair: Pair) -> set[int]:
    """Return the values of a mask; DataError for one that does not fit its image."""
    size, _ = voc.decoded(pair.image)
    try:
        with Image.open(pair.image, formats=FORMATS) as image:
            turned = image.getexif().get(EXIF_ORIENTATION) not in UPRIGHT
        with Image.open(pair.mask, formats=["PNG"]) as mask:
            values, kind, its = {value for value, count in enumerate(mask.histogram()) if count}, mask.mode, mask.size
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them into
        raise DataError(f"{pair.mask}: not a readable mask: {' '.join(str(error).split())}") from None
    if kind not in ("P", "L"):
        raise DataError(f"{pair.mask}: a mask of mode {kind}: indices (mode P or L) were expected, not colours")
    if turned:
        raise DataError(f"{pair.image}: turned by its EXIF orientation, but its mask is not")
    if its != size:
        raise DataError(f"{pair.mask}: {its[0]}x{its[1]} px, but its image {size[0]}x{size[1]}")
    return values


def labels(data: Segmentation, pair: Pair, size: int) -> Tensor:
    """Return the classes [S, S] of a mask's pixels, their places in `values`, brought to `size` by the nearest."""
    import numpy as np
    import torch

    with Image.open(pair.mask, formats=["PNG"]) as mask:
        values = np.asarray(mask.resize((size, size), Image.Resampling.NEAREST))
    table = np.full(256, VOID, np.uint8)
    table[list(data.values)] = np.arange(len(data.values))
    return torch.from_numpy(table[values])
