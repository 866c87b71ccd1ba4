"""Decoded images in a memory-mapped temporary file that all loader processes share."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

GIB = 2**30


class Place(NamedTuple):
    """Place of an image in the file, in bytes and pixels."""

    start: int
    width: int
    height: int

    @property
    def end(self) -> int:
        """Return where the next image begins."""
        return self.start + 3 * self.width * self.height


class Cache:
    """Cache of the first images of a list that fit, each decoded once by whichever process comes first.

    Every image has a place of its own, so that no process waits for another, and two that decode the same image write
    the same bytes. The file has no name: it is gone with the last process, however that ends. Loader processes inherit
    it, so they must be forked. TMPDIR says where it lies.
    """

    def __init__(self, files: Sequence[Path], frame: Callable[[Path], tuple[int, int]], gib: float) -> None:
        """Reserve the places, for the widths and heights that `frame` reads; OSError where the disk is full."""
        self.places: list[Place] = []
        end = 0
        for file in files:
            place = Place(end, *frame(file))
            if place.end > gib * GIB:
                break
            self.places.append(place)
            end = place.end
        self.bytes, self.kept = reserve(max(1, end)), reserve(max(1, len(self.places)))

    def read(self, index: int, decode: Callable[[], Image.Image]) -> Image.Image:
        """Return the image of an index: from the cache, or decoded and kept if it has a place."""
        if index >= len(self.places):
            return decode()
        start, width, height = place = self.places[index]
        pixels = self.bytes[start : place.end].reshape(height, width, 3)
        if self.kept[index]:
            return Image.fromarray(pixels)
        image = decode()
        pixels[:] = np.asarray(image)
        self.kept[index] = 1  # the last: whoever sees it finds the pixels
        return image


def reserve(size: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return zero bytes that processes forked later share; their disk space is reserved now."""
    with tempfile.TemporaryFile(prefix="harness-cache-") as file:
        os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, a bus error later
        return np.frombuffer(mmap.mmap(file.fileno(), size), np.uint8)
