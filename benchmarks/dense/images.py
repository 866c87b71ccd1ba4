"""Images that a frozen backbone is tested on, of any folder, and how they become tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from benchmarks.data import coco, voc
from benchmarks.data.flaws import DataError, Findings
from benchmarks.data.pixels import SUFFIXES, upright
from benchmarks.data.roots import walk
from benchmarks.dense import hashed

if TYPE_CHECKING:
    from torch import Tensor


def tested(folder: Path, most: int) -> list[Path]:
    """Return at most so many images of a folder, sorted; of a Pascal VOC or COCO folder, of its test split.

    Which ones are taken follows a hash of their names. DataError for no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    if (folder / voc.LISTS).is_dir():
        findings = Findings()
        files = [record.jpeg for record in voc.read_split(folder, findings, "test", "val")]
        if findings.flaws:
            raise DataError(*findings.flaws)
    else:
        root = folder / coco.TEST if coco.listing(folder, coco.TEST).is_file() else folder
        files = [file for file in walk(root, set(), [], lambda folder: None) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(f"{folder}: no image (looked for {', '.join(sorted(SUFFIXES))})")
    chosen = sorted(files, key=lambda file: hashed(str(file.relative_to(folder))))
    return sorted(chosen[:most])


def opened(file: Path) -> Image.Image:
    """Return an image as it is seen, turned by its EXIF orientation, in RGB; DataError where it cannot be decoded."""
    try:
        return upright(file)
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them into
        raise DataError(f"{file}: not a readable image: {' '.join(str(error).split())}") from None


def tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as a tensor [3, H, W] uint8."""
    import torch
    from torchvision.transforms import functional as F

    pixels: Tensor = F.pil_to_tensor(image)
    return pixels.to(torch.uint8)


def squares(files: Sequence[Path], side: int) -> Tensor:
    """Return whole images, whatever their shape, as squares [B, 3, side, side] uint8."""
    import torch

    return torch.stack([tensor(opened(file).resize((side, side))) for file in files])
