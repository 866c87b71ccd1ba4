"""The images that a backbone is pre-trained on: which files of a folder they are, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data.contents import hashes
from benchmarks.data.pixels import SUFFIXES
from benchmarks.data.roots import walk

if TYPE_CHECKING:
    from harness.experiment import Pretraining


def source_folder(training: Pretraining, cache: Path) -> Path:
    """Return the folder of the images to pre-train on: those that come with a benchmark, or the user's."""
    if training.embedded:
        return training.embedded.folder(cache)
    return named_folder(training.data)


def named_folder(data: str | None) -> Path:
    """Return the user's folder of images to pre-train on; ValueError where none is named or the named one is none."""
    if data is None:
        raise ValueError("this preset has no data of its own to pre-train on: --data DIR")
    return existing_folder(data)


def list_images(folder: Path) -> list[Path]:
    """Return the images below a folder, sorted; of VOC and COCO folders their train splits. ValueError for none."""
    return find_images(folder)[0]


def find_images(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the images as list_images does, and a line if links are left out."""
    seen: set[tuple[int, int]] = set()
    twice: list[Path] = []
    images = sorted(file for file in walk(folder, seen, twice) if file.suffix.lower() in SUFFIXES)
    if not images:
        raise ValueError(
            f"{folder}: no images to pre-train on (looked for {', '.join(sorted(SUFFIXES))}; "
            "of a Pascal VOC or COCO folder for its train split)"
        )
    for file in images:
        if file.stat().st_size == 0:
            raise ValueError(f"{file}: an empty file, not an image")
    left = f"links to folders that are taken already, left out: {len(twice):,}"
    return images, [f"{left} ({twice[0]})"] if twice else []


def shared_images(images: Sequence[Path], tested: Sequence[Path], cache: Path | None = None) -> dict[Path, Path]:
    """Return image → test image of the same bytes; read are files of equal size whose hash `cache` does not have."""
    sizes, others = ([file.stat().st_size for file in files] for files in (images, tested))
    alike = set(sizes) & set(others)
    mine, its = (
        [file for file, size in zip(files, known, strict=True) if size in alike]
        for files, known in ((images, sizes), (tested, others))
    )
    contents = dict(zip(hashes(its, cache), its, strict=True))
    return {file: contents[sha] for file, sha in zip(mine, hashes(mine, cache), strict=True) if sha in contents}


def refuse_test_images(images: Sequence[Path], tested: Sequence[Path], allowed: bool, cache: Path | None = None) -> str:
    """Return a line on how many images to pre-train on are test images; ValueError if some are and may not be.

    cache: the folder that remembers hashes.
    """
    if not tested:
        return "whether test images are among those to pre-train on is not known: the benchmark does not name its own"
    shared = shared_images(images, tested, cache)
    line = f"{len(shared):,} of the {len(images):,} images to pre-train on are among the {len(tested):,} test images"
    if shared and not allowed:
        image, test = next(iter(shared.items()))
        raise ValueError(
            f"{line} (by content: {image} is {test}): a score would be too high; take them out, or allow them with "
            "--allow-test-images, which is recorded"
        )
    return line


def existing_folder(text: str) -> Path:
    """Return the path of a folder; ValueError if there is none."""
    if not Path(text).is_dir():
        raise ValueError(f"{text}: no such folder")
    return Path(text)
