"""A COCO folder of somebody's own: where its parts may lie, with any categories; small flaws are mended and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.data.coco import Coco, read_split
from benchmarks.data.coco_json import CocoError, Rules
from benchmarks.data.flaws import Findings

SPLITS = {"train": ("train",), "test": ("val", "valid", "validation", "test")}  # split → how its files may begin
EXPORTED = "_annotations.coco.json"  # in the folder of a split's images, as Roboflow writes it


def read_own(folder: Path, masks: bool, strict: bool, cache: Path | None = None) -> Coco:
    """Read and check a folder of one's own with any categories; raise CocoError, which names all flaws in one line.

    With `masks` every object needs one. With `strict` nothing is mended, and every class needs a test object.
    """
    findings = Findings(strict)
    rules = Rules(0, masks, False, True)
    train, test = (
        read_split(*lists, folder, rules, findings, cache, side == "test") for side, lists in layout(folder).items()
    )
    unlearnt = sorted(test.categories[id] for id in test.classes - train.classes)
    flaws = [*findings.flaws, *(f"{test.path}: category {name!r} has no object in train" for name in unlearnt)]
    flaws += [f"{file}: listed in train and in test" for file in sorted({*train.files} & {*test.files})]
    for id in train.categories.keys() & test.categories.keys():
        if train.categories[id] != test.categories[id]:
            flaws.append(f"{test.path}: category {id} is {test.categories[id]!r}, in train {train.categories[id]!r}")
    data = Coco(folder, train, test, (), True, masks, findings.mended)
    if strict and not flaws:
        flaws += [
            f"{test.path}: no object of {name!r}" for id, name in data.categories.items() if id not in test.classes
        ]
    if flaws:
        raise CocoError(*flaws)
    return data


def layout(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return train and test → their annotation file and the folder of its images; CocoError where there is none.

    Known are annotations/instances_SPLIT*.json with images in a folder named as the split or in `images`, and
    SPLIT/_annotations.coco.json beside its images.
    """
    if not folder.is_dir():
        raise CocoError(f"{folder}: no such folder")
    found = {}
    for side, words in SPLITS.items():
        lists = [lists for word in words if (lists := lists_of(folder, word))]
        if not lists:
            names = " or ".join(f"annotations/instances_{word}*.json" for word in words[:1])
            raise CocoError(f"{folder}: no list of {side} images: {names}, or {words[0]}/{EXPORTED}, was expected")
        if len(lists[0]) > 1:
            raise CocoError(f"{folder}: several lists of {side} images: {', '.join(file.name for file in lists[0])}")
        (path,) = lists[0]
        found[side] = path, images_of(folder, path)
    return found


def lists_of(folder: Path, word: str) -> list[Path]:
    """Return the annotation files of a split in a folder of one's own."""
    exported = folder / word / EXPORTED
    return [exported] if exported.is_file() else sorted((folder / "annotations").glob(f"instances_{word}*.json"))


def images_of(folder: Path, path: Path) -> Path:
    """Return the folder that the names of an annotation file's images are relative to."""
    if path.name == EXPORTED:
        return path.parent
    split = path.stem.removeprefix("instances_")
    places = (folder / split, folder / "images" / split, folder / "images")
    return next((place for place in places if place.is_dir()), folder)


def plain(content: dict[str, Any], data: Coco) -> dict[str, Any]:
    """Return the content of an annotation file of one's own as COCO itself would have it.

    Objects are numbered from 1; boxes end at the edge; an area that is missing, and any without masks, is the box's;
    categories without a train object are left out, with the crowds of them.
    """
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    objects = []
    learnt = [entry for entry in content["annotations"] if entry["category_id"] in data.categories]
    for number, entry in enumerate(learnt, 1):
        x, y, wide, high = entry["bbox"]
        width, height = sizes[entry["image_id"]]
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + wide, width), min(y + high, height)
        box = [x0, y0, x1 - x0, y1 - y0]
        kept = {key: entry[key] for key in ("image_id", "category_id", *(("segmentation",) if data.masks else ()))}
        area = entry["area"] if data.masks and isinstance(entry.get("area"), int | float) else box[2] * box[3]
        objects.append({"id": number, "iscrowd": entry.get("iscrowd", 0), **kept, "bbox": box, "area": area})
    categories = [{"id": id, "name": name} for id, name in data.categories.items()]
    return {"images": content["images"], "annotations": objects, "categories": categories}
