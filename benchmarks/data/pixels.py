"""Images as detectron2 reads them: their sizes, and pixels of more than 8 bits, which it would clip to white."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from benchmarks.data.contents import facts
from benchmarks.data.flaws import DataError, Findings

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow has Ghostscript run what calls itself EPS
EXIF_ORIENTATION = 0x0112
EXIF_SIDEWAYS = (5, 6, 7, 8)  # the orientations that swap width and height

SCALE = 257  # 65,535 / 255


def eight_bits(image: Image.Image) -> Image.Image:
    """Return an opened image, one of 16 bits scaled to 8 by its type's range; ValueError for other wide pixels."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        import numpy as np  # which the command line need not wait for

        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + SCALE // 2) // SCALE).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode}, of 32 bits, have no range: save them with 8 or 16 bits")
    return image


def size_of(path: Path, decode: bool = True) -> tuple[tuple[int, int], str]:
    """Return width and height of an image after its EXIF rotation, and words for the rotation if it swaps them.

    With `decode` the whole image is read, since a truncated file opens without an error. Raises DataError.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            if decode:
                image.load()
                eight_bits(image)
            width, height = image.size
            sideways = image.getexif().get(EXIF_ORIENTATION) in EXIF_SIDEWAYS
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them into
        raise DataError(f"{path}: not a readable image: {' '.join(str(error).split())}") from None
    return ((height, width), " once turned by its EXIF orientation") if sideways else ((width, height), "")


def opened(path: Path) -> str:
    """Return width and height of an image as text, as facts are remembered; an empty one where it cannot be opened."""
    return _as_fact(path, decode=False)


def decoded(path: Path) -> str:
    """Return width and height of an image as text; an empty one where it cannot be decoded whole."""
    return _as_fact(path, decode=True)


def _as_fact(path: Path, decode: bool) -> str:
    try:
        (width, height), _ = size_of(path, decode)
    except DataError:
        return ""
    return f"{width}x{height}"


def refuse_undecodable(images: Sequence[Path], cache: Path | None) -> str:
    """Return a line on how many images were decoded whole; DataError names those that cannot be.

    `cache` remembers those that can.
    """
    sizes = facts(images, cache, "decoded", decoded)
    findings = Findings()
    for file, size in zip(images, sizes, strict=True):
        with findings.collected():
            if not size:
                size_of(file)
    if findings.flaws:
        raise DataError(*findings.flaws)
    return f"{len(images):,} images were decoded before the run"


def upright(path: Path) -> Image.Image:
    """Return an image as it is seen, turned by its EXIF orientation, in RGB; of a broken one Pillow raises anything."""
    with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
        return ImageOps.exif_transpose(eight_bits(image)).convert("RGB")
