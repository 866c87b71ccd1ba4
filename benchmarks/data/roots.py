"""Which images a pre-training may learn from in a folder that a benchmark knows: those of the train split alone."""

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
