"""The images that a backbone is pre-trained on: which files of a folder they are, and in which order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data.voc import train_names

if TYPE_CHECKING:
    from harness.experiment import Pretraining

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def source_folder(training: Pretraining, cache: Path) -> Path:
    """Return the folder of the images to pre-train on: those that come with a benchmark, or the user's."""
    if training.embedded:
        return training.embedded.folder(cache)
    if training.data is None:
        raise ValueError("this preset has no data of its own to pre-train on: --data DIR")
    return existing_folder(training.data)


def list_images(folder: Path) -> list[Path]:
    """Return the images below a folder, sorted; of a Pascal VOC folder its train split. ValueError for none."""
    images = sorted(file for file in walk(folder) if file.suffix.lower() in SUFFIXES)
    if names := train_names(folder):
        images = [file for file in images if file.parent.name == "JPEGImages" and file.stem in names]
    if not images:
        raise ValueError(f"{folder}: no images to pre-train on (looked for {', '.join(sorted(SUFFIXES))})")
    for file in images:
        if file.stat().st_size == 0:
            raise ValueError(f"{file}: an empty file, not an image")
    return images


def walk(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder, without hidden ones and without following links to folders."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def existing_folder(text: str) -> Path:
    """Return the path of a folder; ValueError if there is none."""
    if not Path(text).is_dir():
        raise ValueError(f"{text}: no such folder")
    return Path(text)
