"""Pixels of more than 8 bits, which Pillow and detectron2 would clip to white."""

from PIL import Image

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
