"""Data sets in detectron2's catalogs, for as long as they are used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from benchmarks.data.coco import Coco, located
from benchmarks.data.coco_own import plain
from benchmarks.data.pixels import eight_bits
from benchmarks.data.voc import Record, Voc

Entry: TypeAlias = dict[str, Any]  # an image with its objects, in detectron2's format


@contextmanager
def wide_pixels_scaled() -> Iterator[None]:
    """Let detectron2 read images of 16 bits as benchmarks.data.pixels scales them, within the block."""
    from detectron2.data import detection_utils

    original = detection_utils.convert_PIL_to_numpy
    detection_utils.convert_PIL_to_numpy = lambda image, format: original(eight_bits(image), format)
    try:
        yield
    finally:
        detection_utils.convert_PIL_to_numpy = original


@contextmanager
def registered(data: Voc | Coco, name: str) -> Iterator[tuple[str, str]]:
    """Yield the names of the train and the test split in detectron2's catalogs; remove them there afterwards.

    Within the block detectron2 scales images of 16 bits.
    """
    names = f"{name}-train", f"{name}-test"
    with TemporaryDirectory(prefix="harness-annotations-") as scratch:
        if isinstance(data, Coco):
            register_coco(data, names, Path(scratch))
        else:
            register_voc(data, names)
        try:
            with wide_pixels_scaled():
                yield names
        finally:
            unregister(names)


def register_voc(voc: Voc, names: tuple[str, str]) -> None:
    """Enter both splits, with what is difficult, which only the evaluation reads."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    for name, split in zip(names, (voc.train, voc.test), strict=True):
        DatasetCatalog.register(name, partial(dataset, split, voc.classes))
        MetadataCatalog.get(name).set(thing_classes=list(voc.classes))


def register_coco(coco: Coco, names: tuple[str, str], scratch: Path) -> None:
    """Enter both splits as detectron2 reads COCO, and each image where `benchmarks.data.coco` has read it.

    Annotations of one's own are written into `scratch` in COCO's form.
    """
    from detectron2.data import DatasetCatalog, MetadataCatalog

    for name, split in zip(names, (coco.train, coco.test), strict=True):
        file = split.path
        if coco.own:
            file = scratch / f"{name}.json"
            content = plain(json.loads(split.path.read_text(encoding="utf-8")), coco)
            file.write_text(json.dumps(content), encoding="utf-8")
        DatasetCatalog.register(name, partial(coco_dataset, file, split.folder, coco.folder, name))
        MetadataCatalog.get(name).set(json_file=str(file), image_root=str(split.folder), evaluator_type="coco")


def coco_dataset(file: Path, folder: Path, root: Path, name: str) -> list[Entry]:
    """Return a split of COCO in detectron2's format."""
    from detectron2.data.datasets import load_coco_json

    entries: list[Entry] = load_coco_json(str(file), "", name)
    return [{**each, "file_name": f"{folder}/{located(each['file_name'], folder, root)}"} for each in entries]


def unregister(names: Sequence[str]) -> None:
    """Remove data sets from detectron2's catalogs."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def dataset(split: Sequence[Record], classes: Sequence[str]) -> list[Entry]:
    """Return a split of VOC in detectron2's format, with a key `difficult` in each annotation."""
    from detectron2.structures import BoxMode

    def annotation(box: Sequence[float], label: str, difficult: bool) -> Entry:
        where = {"bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS}
        return {**where, "category_id": classes.index(label), "difficult": difficult}

    return [
        {
            "file_name": str(record.jpeg),
            "image_id": record.id,
            "height": record.height,
            "width": record.width,
            "annotations": [
                annotation(*each) for each in zip(record.boxes, record.labels, record.difficult, strict=True)
            ],
        }
        for record in split
    ]
