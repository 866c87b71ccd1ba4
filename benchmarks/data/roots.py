"""Which images a pre-training may learn from in a folder that a benchmark knows: those of the train split alone."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.data import coco, voc


def train_images(folder: Path) -> list[Path] | None:
    """Return the train images of a Pascal VOC or a COCO folder, of JPEGImages those of its VOC folder; None for others.

    Raises VocError for an image that the train list names and that is absent.
    """
    if (folder / voc.LISTS).is_dir():
        return voc.train_images(folder, folder / voc.IMAGES)
    whole = folder.resolve()
    if whole.name == voc.IMAGES and (whole.parent / voc.LISTS).is_dir():
        return voc.train_images(whole.parent, folder)
    if coco.listing(folder, coco.TRAIN).is_file() and (folder / coco.TRAIN).is_dir():
        return voc.visible_files(folder / coco.TRAIN)
    return None


def walk(
    folder: Path, seen: set[tuple[int, int]], twice: list[Path],
    known: Callable[[Path], list[Path] | None] = train_images,
) -> Iterator[Path]:  # fmt: skip
    """Yield every file below a folder, without hidden ones; each real folder counts once, whatever links to it.

    Of each folder on the way that is `known` it yields what this returns: as a rule of a Pascal VOC and a COCO folder
    the train images alone, no mask and no test image. `seen` holds device and inode of the folders so far; links to
    those are added to `twice`.
    """
    links = []
    for parent, folders, names in os.walk(folder):
        status = os.stat(parent)
        seen.add((status.st_dev, status.st_ino))
        if (files := known(Path(parent))) is not None:
            folders.clear()
            yield from files
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links += [Path(parent, name) for name in folders if os.path.islink(Path(parent, name))]
        yield from (Path(parent, name) for name in names if not name.startswith("."))
    for link in links:  # last, so that a folder keeps its own name
        status = link.stat()
        if (status.st_dev, status.st_ino) in seen:
            twice.append(link)
        else:
            yield from walk(link, seen, twice, known)
