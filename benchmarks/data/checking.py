"""A check of somebody's data: what a benchmark or a pre-training would find in a folder, all flaws at once."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from benchmarks.data import coco, coco_own, voc
from benchmarks.data.coco_json import parse
from benchmarks.data.flaws import DataError
from benchmarks.data.pixels import upright

COLUMNS, ROWS, TILE = 4, 2, 192  # of a sheet; px a side of an image in it
INK = "#e69f00"


class Sample(NamedTuple):
    """An image of a data set, with its objects."""

    file: Path
    boxes: Sequence[Sequence[float]] = ()  # px, x0 y0 x1 y1
    labels: Sequence[str] = ()


class Report(NamedTuple):
    """What is in a folder."""

    lines: list[str]  # counts, classes, sizes and what was mended
    flaws: tuple[str, ...]  # for which it would be refused
    samples: list[Sample]


def check_annotated(folder: Path, strict: bool = False) -> Report | None:
    """Return what is in a Pascal VOC or a COCO folder; None for any other."""
    try:
        if (folder / voc.LISTS).is_dir():
            return voc_report(voc.read(folder, strict))
        if any(coco_own.lists_of(folder, word) for words in coco_own.SPLITS.values() for word in words):
            return coco_report(read_coco(folder, strict))
    except DataError as error:
        return Report([], error.flaws, [])
    return None


def voc_report(data: voc.Voc) -> Report:
    """Return what is in a Pascal VOC folder."""
    train, test = (Counter(label for record in split for label in record.labels) for split in (data.train, data.test))
    sizes = spread((record.width, record.height) for record in (*data.train, *data.test))
    samples = [Sample(record.jpeg, record.boxes, record.labels) for record in data.train[: COLUMNS * ROWS]]
    counts = [f"{label}: {train[label]:,} objects in train, {test[label]:,} in test" for label in data.classes]
    return Report([f"Pascal VOC: {data.summary}", *counts, sizes, *data.notes], (), samples)


def read_coco(folder: Path, strict: bool) -> coco.Coco:
    """Return a checked COCO folder: COCO 2017 if it has its names and its 80 categories, else one of one's own."""
    lists = coco_own.layout(folder)
    content, _ = parse(lists["train"][0])
    categories = content.get("categories") if isinstance(content, dict) else None
    named = lists["train"][0] == coco.listing(folder, coco.TRAIN) and lists["test"][0] == coco.listing(
        folder, coco.TEST
    )
    if named and isinstance(categories, list) and len(categories) == coco.CATEGORIES:
        return coco.read(folder)
    return coco_own.read_own(folder, False, strict)


def coco_report(data: coco.Coco) -> Report:
    """Return what is in a COCO folder."""
    content = json.loads(data.train.path.read_text(encoding="utf-8"))
    sizes = spread((image["width"], image["height"]) for image in content["images"])
    objects: dict[int, list[tuple[list[float], str]]] = {}
    for each in content["annotations"]:
        x, y, wide, high = each["bbox"]
        named = [x, y, x + wide, y + high], data.train.categories[each["category_id"]]
        objects.setdefault(each["image_id"], []).append(named)
    counts = Counter(label for held in objects.values() for _, label in held)
    samples = [
        Sample(
            data.train.folder / str(coco.located(image["file_name"], data.train.folder, data.folder)),
            [box for box, _ in objects.get(image["id"], [])],
            [label for _, label in objects.get(image["id"], [])],
        )
        for image in content["images"][: COLUMNS * ROWS]
    ]
    lines = [f"{label}: {counts[label]:,} objects in train" for label in data.classes]
    return Report([f"COCO: {data.summary}", *lines, f"of train: {sizes}", *data.notes], (), samples)


def check_images(images: Sequence[Path]) -> Report:
    """Return what is in a folder of images without annotations: each is decoded whole."""
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(size_or_flaw, images))
    sizes = [size for size in found if not isinstance(size, str)]
    flaws = tuple(flaw for flaw in found if isinstance(flaw, str))
    kinds = Counter(file.suffix.lower() for file in images)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    lines = [f"{len(images):,} images to pre-train on: {counts}", *([spread(sizes)] if sizes else [])]
    bad = {flaw.partition(": ")[0] for flaw in flaws}
    return Report(lines, flaws, [Sample(file) for file in images if str(file) not in bad][: COLUMNS * ROWS])


def size_or_flaw(file: Path) -> tuple[int, int] | str:
    """Return width and height of an image that can be decoded, else what is wrong with it."""
    try:
        return voc.decoded(file)[0]
    except DataError as error:
        return str(error)


def spread(sizes: Iterable[tuple[int, int]]) -> str:
    """Return a line on the sizes of images."""
    widths, heights = zip(*sizes, strict=True)
    return f"images of {min(widths)} to {max(widths)} px in width and {min(heights)} to {max(heights)} px in height"


def sheet(samples: Sequence[Sample]) -> Image.Image:
    """Return a picture of the samples, each with its boxes and the names of their classes."""
    whole = Image.new("RGB", (COLUMNS * TILE, ROWS * TILE))
    for number, sample in enumerate(samples):
        turned = upright(sample.file)
        scale = TILE / max(turned.size)
        tile = turned.resize([max(1, round(side * scale)) for side in turned.size])
        pen = ImageDraw.Draw(tile)
        for box, label in zip(sample.boxes, sample.labels, strict=True):
            x0, y0, x1, y1 = (edge * scale for edge in box)
            pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=INK, width=2)
            text = label.encode("latin-1", "replace").decode("latin-1")  # what Pillow's own font can draw
            pen.text((x0 + 3, y0 + 1), text, fill="white", stroke_width=2, stroke_fill="black")
        whole.paste(tile, (number % COLUMNS * TILE, number // COLUMNS * TILE))
    return whole
