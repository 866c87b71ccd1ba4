"""Random objects and detections of them, and detectron2's own evaluators, which ours are compared with."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator, PascalVOCDetectionEvaluator
from detectron2.structures import Boxes, BoxMode, Instances
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.detection.catalog import unregister

Annotation = dict[str, Any]


class Amount(NamedTuple):
    """How much there is at most."""

    images: int = 12
    objects: int = 5  # an image
    found: int = 30  # an image
    classes: int = 4
    size: tuple[int, int] = (120, 90)  # px, width and height


class Case(NamedTuple):
    """A registered test split and what a detector found there."""

    test: str
    found: list[Instances]

    def score(self, evaluator: DatasetEvaluator) -> dict[str, dict[str, float]]:
        """What an evaluator says of it."""
        evaluator.reset()
        for image, found in zip(DatasetCatalog.get(self.test), self.found, strict=True):
            evaluator.process([image], [{"instances": found}])
        scores: dict[str, dict[str, float]] = evaluator.evaluate()
        return {task: {name: by[name] for name in ("AP", "AP50", "AP75")} for task, by in scores.items()}


def box(random: Generator, amount: Amount) -> NDArray[Any]:
    """A box [4], x0 y0 x1 y1, inside of the image."""
    low, high = np.sort(random.uniform(0, 1, (2, 2)), axis=0) * amount.size
    return np.concatenate([low, np.minimum(high + 4, amount.size)])


def detect(random: Generator, objects: Sequence[tuple[int, NDArray[Any]]], amount: Amount, masks: bool) -> Instances:
    """Objects found about where they are, some of them several times, and others where nothing is.

    Scores tie, some as they are and some once they are rounded.
    """
    boxes, labels = [], []
    for _ in range(int(random.integers(amount.found // 2, amount.found + 1))):
        label, place = int(random.integers(amount.classes - 1)), box(random, amount)  # the last class is never found
        if len(objects) and random.random() < 0.7:
            label, place = objects[int(random.integers(len(objects)))]
            place = place + random.choice([0, 1, 3]) * random.normal(size=4)
        boxes.append([*place[:2], *np.maximum(place[:2], place[2:])])
        labels.append(min(label, amount.classes - 2))
    found = Instances(amount.size[::-1])
    found.pred_boxes = Boxes(torch.tensor(np.array(boxes).reshape(-1, 4), dtype=torch.float32))
    scores = random.uniform(0, 1, len(boxes)).round(2) + random.choice([0, 3e-4], len(boxes))
    found.scores = torch.tensor(scores, dtype=torch.float32)
    found.pred_classes = torch.tensor(labels, dtype=torch.int64)
    if masks:
        drawn = [ellipse(np.array(place), amount) for place in boxes]
        found.pred_masks = torch.tensor(np.array(drawn, bool).reshape(-1, *amount.size[::-1]))
    return found


def ellipse(place: NDArray[Any], amount: Amount) -> NDArray[Any]:
    """The mask [H, W] of an ellipse in a box, drawn in its part of the image alone."""
    width, height = amount.size
    mask = np.zeros((height, width), bool)
    x0, y0, x1, y1 = (max(0, math.floor(side)) for side in place)
    x, y = np.meshgrid(np.arange(x0, min(x1, width)), np.arange(y0, min(y1, height)))
    mask[y0:y1, x0:x1] = ((x - x0) / max(x1 - x0, 1) - 0.5) ** 2 + ((y - y0) / max(y1 - y0, 1) - 0.5) ** 2 <= 0.25
    return mask


# --- Pascal VOC


@contextmanager
def voc(seed: int, amount: Amount) -> Iterator[Case]:
    """Images with and without objects, a third of these difficult."""
    random, test = np.random.default_rng(seed), f"random-voc-{seed}"
    images = [voc_image(random, number, amount) for number in range(amount.images)]
    objects = [[(one["category_id"], np.array(one["bbox"])) for one in image["annotations"]] for image in images]
    DatasetCatalog.register(test, lambda: images)
    MetadataCatalog.get(test).set(thing_classes=[f"class{number}" for number in range(amount.classes)])
    try:
        yield Case(test, [detect(random, known, amount, masks=False) for known in objects])
    finally:
        unregister([test])


def voc_image(random: Generator, number: int, amount: Amount) -> dict[str, Any]:
    """An image in the form that our reader of VOC gives to detectron2."""
    count = int(random.integers(amount.objects + 1))
    return {
        "image_id": str(number),
        "annotations": [
            {
                "bbox": box(random, amount).round(1).tolist(),
                "category_id": int(random.integers(amount.classes)),
                "difficult": bool(random.random() < 0.3),
            }
            for _ in range(count)
        ],
    }


def detectron2_voc(test: str, year: int, folder: Path) -> PascalVOCDetectionEvaluator:
    """Detectron2's evaluator of a registered split, with the annotations written where it reads them again."""
    images, classes = DatasetCatalog.get(test), MetadataCatalog.get(test).thing_classes
    MetadataCatalog.get(test).set(dirname=str(folder), split="test", year=year)
    (folder / "Annotations").mkdir(parents=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "test.txt").write_text("".join(f"{image['image_id']}\n" for image in images))
    for image in images:
        root = ET.Element("annotation")
        for one in image["annotations"]:
            write_object(ET.SubElement(root, "object"), classes[one["category_id"]], one)
        ET.ElementTree(root).write(folder / "Annotations" / f"{image['image_id']}.xml", encoding="utf-8")
    return PascalVOCDetectionEvaluator(test)


def write_object(node: ET.Element, name: str, one: Annotation) -> None:
    """An object as VOC has it, whose pixels are whole and begin with 1."""
    fields = {"name": name, "pose": "Unspecified", "truncated": "0", "difficult": str(int(one["difficult"]))}
    for tag, text in fields.items():
        ET.SubElement(node, tag).text = text
    frame, (x0, y0, x1, y1) = ET.SubElement(node, "bndbox"), one["bbox"]
    for tag, value in {"xmin": x0 + 1, "ymin": y0 + 1, "xmax": x1, "ymax": y1}.items():
        ET.SubElement(frame, tag).text = str(math.floor(value + 0.5))


# --- COCO


@contextmanager
def coco(seed: int, folder: Path, amount: Amount) -> Iterator[Case]:
    """Images with and without objects, crowds among these, and a class with neither objects nor detections."""
    random, test = np.random.default_rng(seed), f"random-coco-{seed}"
    wide, high = amount.size
    ids = range(1, amount.images + 1)
    images = [{"id": id, "file_name": f"{id}.jpg", "width": wide, "height": high} for id in ids]
    objects = [coco_object(random, id, amount) for id in ids for _ in range(int(random.integers(amount.objects + 1)))]
    content = {
        "info": {},
        "images": images,
        "categories": [{"id": 2 + 3 * number, "name": f"class{number}"} for number in range(amount.classes)],
        "annotations": [{**one, "id": number + 1} for number, one in enumerate(objects)],
    }
    (folder / "listing.json").write_text(json.dumps(content))
    register_coco_instances(test, {}, str(folder / "listing.json"), "")
    try:
        known = [
            [
                (one["category_id"], np.array(BoxMode.convert(one["bbox"], one["bbox_mode"], BoxMode.XYXY_ABS)))
                for one in image["annotations"]
            ]
            for image in DatasetCatalog.get(test)
        ]
        yield Case(test, [detect(random, objects, amount, masks=True) for objects in known])
    finally:
        unregister([test])


def coco_object(random: Generator, image: int, amount: Amount) -> Annotation:
    """An object with a polygon of twelve corners, or a crowd with run lengths."""
    x0, y0, x1, y1 = (float(side) for side in box(random, amount))
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    corners = np.stack([x0 + x1 + (x1 - x0) * np.cos(turn), y0 + y1 + (y1 - y0) * np.sin(turn)], axis=1) / 2
    crowd, label = bool(random.random() < 0.1), int(random.integers(amount.classes - 1))
    wide, high = amount.size
    rle = {"size": [high, wide], "counts": [5 * high, (wide // 2) * high, wide * high - (5 + wide // 2) * high]}
    return {
        "image_id": image,
        "category_id": 2 + 3 * label,
        "iscrowd": int(crowd),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "segmentation": rle if crowd else [corners.ravel().tolist()],
    }


def detectron2_coco(test: str) -> COCOEvaluator:
    """Detectron2's evaluator, with pycocotools' official evaluation."""
    return COCOEvaluator(test, tasks=("bbox", "segm"), use_fast_impl=False)
