"""Tiny photos, Pascal VOC and COCO folders for tests, and spoilt files."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Objects = Sequence[tuple[str, float, float, float, float]]  # class, xmin, ymin, xmax, ymax


def photos(folder: Path, count: int, size: tuple[int, int] = (40, 30)) -> list[Path]:
    """Write noise JPEGs and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return paths


def voc_xml(objects: Objects, width: int = 40, height: int = 30) -> str:
    """An annotation with what strangers leave out left out: pose, truncated, difficult."""
    found = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{found}</annotation>"


def drawing(boxes: Sequence[Sequence[float]], size: tuple[int, int] = (40, 30)) -> Image.Image:
    """An image with a red rectangle a box."""
    image = Image.new("RGB", size, (60, 90, 120))
    for box in boxes:
        x0, y0, x1, y1 = map(int, box)
        image.paste((250, 20, 20), (x0, y0, x1, y1))
    return image


def voc_folder(folder: Path, **splits: Mapping[str, Objects]) -> Path:
    """A VOC folder of 40x30 px images, one rectangle an object; each keyword is a file of ImageSets/Main."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for split, images in splits.items():
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(images) + "\n")
        for id, objects in images.items():
            drawing([box for _, *box in objects]).save(folder / "JPEGImages" / f"{id}.jpg")
            (folder / "Annotations" / f"{id}.xml").write_text(voc_xml(objects))
    return folder


# COCO numbers its 80 categories up to 90
GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_IDS = [id for id in range(1, 91) if id not in GAPS]
COCO_SIZE = 64, 48


def coco_object(number: int, image: int, category: int) -> dict[str, Any]:
    """An object of 10x8 px in one of an image's 20 slots, its mask the box."""
    x, y, wide, high = 2 + number % 5 * 12, 2 + number // 5 % 4 * 11, 10, 8
    corners = [x, y, x + wide, y, x + wide, y + high, x, y + high]
    fields = {"image_id": image, "category_id": category, "iscrowd": 0, "bbox": [x, y, wide, high]}
    return {"id": 100 * image + number, **fields, "area": wide * high, "segmentation": [corners]}


def coco_listing(first: int) -> dict[str, Any]:
    """An annotation file: four images with 20 categories each, one with a crowd alone, one with nothing."""
    wide, high = COCO_SIZE
    images = [{"id": id, "file_name": f"{id:012}.jpg", "width": wide, "height": high} for id in range(first, first + 6)]
    objects = [coco_object(n, first + n // 20, category) for n, category in enumerate(COCO_IDS)]
    crowd = coco_object(99, first + 4, 1)
    rle = {"size": [high, wide], "counts": [0, 5 * high, wide * high - 5 * high]}
    crowd |= {"iscrowd": 1, "bbox": [0, 0, 5, high], "area": 5 * high, "segmentation": rle}
    categories = [{"id": id, "name": f"kind {id}", "supercategory": "kinds"} for id in COCO_IDS]
    return {"info": {}, "images": images, "annotations": [*objects, crowd], "categories": categories}


def coco_folder(folder: Path) -> Path:
    """A COCO 2017 folder of 64x48 px images, one rectangle an object, with all 80 categories in both splits."""
    (folder / "annotations").mkdir(parents=True)
    for split, first in (("train2017", 1), ("val2017", 7)):
        (folder / split).mkdir()
        listing = coco_listing(first)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(listing))
        for image in listing["images"]:
            found = [one["bbox"] for one in listing["annotations"] if one["image_id"] == image["id"]]
            boxes = [(x, y, x + wide, y + high) for x, y, wide, high in found]
            drawing(boxes, COCO_SIZE).save(folder / split / image["file_name"])
    return folder


def spoilt(raw: bytes, chance: random.Random, opening: bytes) -> bytes:
    """A text file with changed bytes, cut, doubled in part, in another encoding, or nested as deep as can be."""
    changed, at, text = bytearray(raw), chance.randrange(len(raw)), raw.decode()
    for _ in range(chance.choice((1, 3, 30))):
        changed[chance.randrange(len(raw))] = chance.randrange(256)
    deep = opening * chance.choice((10, 900, 100_000))
    encodings = [text.encode(name) for name in ("utf-8-sig", "utf-16", "utf-32-le")]
    cut = [b"", raw[:at], raw[:at] + raw[at // 2 :], raw[:at] + deep + raw[at:], deep]
    return chance.choice([bytes(changed)] * 3 + cut + encodings)
