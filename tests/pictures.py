"""Tiny photos and Pascal VOC folders for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def photos(folder: Path, count: int, size: tuple[int, int] = (40, 30)) -> list[Path]:
    """Write noise JPEGs and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return paths
