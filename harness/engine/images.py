"""The images that a backbone is pre-trained on: which files of a folder they are, and in which order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data.voc import train_names

if TYPE_CHECKING:
    from harness.engine.backbones import Pretraining

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def source_of(trained: Pretraining, cache: Path) -> Path:
    """The folder of the images to pre-train on: embedded scenes, composed if need be, or the user's."""
    if trained.scenes:
        return trained.scenes.folder(cache)
    if trained.data is None:
        raise ValueError("this preset has no data of its own to pre-train on: --data DIR")
    return folder_of(trained.data)


def list_images(folder: Path) -> list[Path]:
    """The images below a folder in a fixed order, of a Pascal VOC folder its train split alone; ValueError if none."""
    found = sorted(file for file in walk(folder) if file.suffix.lower() in SUFFIXES)
    if names := train_names(folder):
        found = [file for file in found if file.parent.name == "JPEGImages" and file.stem in names]
    if not found:
        raise ValueError(f"{folder}: no images to pre-train on (looked for {', '.join(sorted(SUFFIXES))})")
    for file in found:
        if file.stat().st_size == 0:
            raise ValueError(f"{file}: an empty file, not an image")
    return found


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, hidden ones and links to folders left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def folder_of(text: str) -> Path:
    """A path that the user wrote, which must be a folder."""
    if not Path(text).is_dir():
        raise ValueError(f"{text}: no such folder")
    return Path(text)
