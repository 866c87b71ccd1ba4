"""Scores detections in one pass: Pascal VOC's AP as detectron2 computes it, and COCO's by faster-coco-eval.

The numbers are those of detectron2's PascalVOCDetectionEvaluator and COCOEvaluator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.utils import comm
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core.mask import frPyObjects
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks.detection.log import bar_off
from benchmarks.resuming.loading import ignore_signals, loaded

Array = NDArray[Any]
Scores = dict[str, dict[str, float]]

SCORES = "AP", "AP50", "AP75"
THRESHOLDS = [percent / 100 for percent in range(50, 100, 5)]  # IoUs that a hit of VOC's exceeds
FIRST = np.array([1, 1, 0, 0], np.float32)  # of a VOC image's pixels; its boxes hold their last ones
FIELDS = "bbox", "category_id", "score", "segmentation"  # of a detection in COCO's form
RECALLS = np.arange(0.0, 1.1, 0.1)  # of VOC 2007


def evaluate_model(cfg: CfgNode, model: nn.Module, evaluator: DatasetEvaluator) -> Scores:
    """Return the evaluator's scores of the model's detections on the test split; none on ranks > 0."""
    loader = evaluation_loader(cfg)
    with tqdm(loaded(loader), desc="test", total=len(loader), disable=bar_off()) as batches:
        scores: Scores = inference_on_dataset(model, batches, evaluator)
    return scores


def evaluation_loader(cfg: CfgNode) -> DataLoader[Any]:
    """Return a loader of the images one by one, as detectron2 has it, or in batches if all have one shape.

    They need no padding then, and the test takes half the time.
    """
    (name,) = cfg.DATASETS.TEST
    shapes = {(image["height"], image["width"]) for image in DatasetCatalog.get(name)}
    batch = cfg.SOLVER.IMS_PER_BATCH if len(shapes) == 1 else 1
    loader: DataLoader[Any] = build_detection_test_loader(cfg, name, batch_size=batch)
    loader.worker_init_fn = ignore_signals
    return loader


def of_all_ranks(rows: list[Any]) -> list[Any]:
    """Return on rank 0 what all ranks have for their parts of the images, in order; nothing on the others."""
    return list(chain(*comm.gather(rows)))


# --- Pascal VOC


class Truth(NamedTuple):
    """The objects of one image."""

    boxes: Array  # [M, 4] px, x0 y0 x1 y1 as VOC counts them
    labels: Array  # [M]
    first: int  # the number of the first of them among all images' objects


class VocEvaluator(DatasetEvaluator):  # type: ignore[misc]
    """Pascal VOC's AP at all thresholds; a detection can hit one object only: that of its class it overlaps most."""

    def __init__(self, test: str, year: int) -> None:
        """Take the objects of a registered split; of AP, 2007 has eleven points and 2012 the area."""
        images = DatasetCatalog.get(test)
        objects = [one for image in images for one in image["annotations"]]
        firsts = np.cumsum([0, *(len(image["annotations"]) for image in images)])
        self.truths = {
            image["image_id"]: truth(image["annotations"], first) for image, first in zip(images, firsts, strict=False)
        }
        self.labels = np.array([one["category_id"] for one in objects], int)
        self.difficult = np.array([one["difficult"] for one in objects], bool)
        self.classes = len(MetadataCatalog.get(test).thing_classes)
        self.average = eleven_points if year == 2007 else area
        self.reset()

    def reset(self) -> None:
        """Nothing is found yet."""
        self.found: list[tuple[Array, Array, Array, Array]] = []  # an image: label, score, IoU, object of each

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Match the detections of some images, rounded as detectron2 prints them and reads them again."""
        for image, output in zip(inputs, outputs, strict=True):
            found = output["instances"].to("cpu")
            # of 32 bits, 64 have room for every digit: they round as the text does that detectron2 writes
            boxes, scores = (found.pred_boxes.tensor + torch.tensor(FIRST)).double(), found.scores.double()
            labels, known = found.pred_classes.numpy(), self.truths[image["image_id"]]
            self.found.append((labels, scores.numpy().round(3), *matched(boxes.numpy().round(1), labels, known)))

    def evaluate(self) -> Scores:
        """AP, AP50 and AP75 of the boxes in per cent, means over the classes."""
        every = of_all_ranks(self.found)
        if not comm.is_main_process():
            return {}
        found = [np.concatenate(column) for column in zip(*every, strict=True)]
        aps = [self.aps(label, *(column[found[0] == label] for column in found[1:])) for label in range(self.classes)]
        ap = np.mean(aps, axis=0)  # of each threshold
        return {"bbox": {"AP": 100 * float(ap.mean()), "AP50": 100 * float(ap[0]), "AP75": 100 * float(ap[5])}}

    def aps(self, label: int, scores: Array, ious: Array, objects: Array) -> list[float]:
        """AP of a class at every threshold, of its detections [N] in the order of the images."""
        # rounded scores are often equal; detectron2's sort is not stable, and only the same one has the same AP
        order = np.argsort(-scores)
        ious, objects = ious[order], objects[order]
        count = np.count_nonzero(~self.difficult[self.labels == label])
        found = []
        for threshold in THRESHOLDS:
            true, false = (np.cumsum(one) for one in judged(ious > threshold, objects, self.difficult))
            with np.errstate(invalid="ignore"):  # without any object that counts, AP is NaN as soon as one is found
                recall = true / np.float64(count)
            found.append(self.average(recall, true / np.maximum(true + false, 1)))
        return found


def truth(objects: Sequence[Mapping[str, Any]], first: int) -> Truth:
    """What detections are matched with; fractions of pixels, which VOC does not have, are rounded half up."""
    boxes = np.array([one["bbox"] for one in objects], float).reshape(-1, 4)
    return Truth(np.floor(boxes + FIRST + 0.5), np.array([one["category_id"] for one in objects], int), first)


def matched(boxes: Array, labels: Array, known: Truth) -> tuple[Array, Array]:
    """The largest IoU of each detection [N, 4] with an object of its class, or -1, and the number of that object."""
    if not len(known.boxes):
        return np.full(len(boxes), -1.0), np.full(len(boxes), -1)
    ious = np.where(labels[:, None] == known.labels, overlaps(boxes, known.boxes), -1.0)
    return ious.max(axis=1), known.first + ious.argmax(axis=1)


def overlaps(first: Array, second: Array) -> Array:
    """The IoU [N, M] of boxes [N, 4] and [M, 4] whose last pixels belong to them."""
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    shared = np.maximum(high - low + 1, 0).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=-1) for boxes in (first, second)]
    ious: Array = shared / (areas[0][:, None] + areas[1] - shared)
    return ious


def judged(hits: Array, objects: Array, difficult: Array) -> tuple[Array, Array]:
    """Which detections [N], the surest first, are true and which are false; a hit of a difficult object is neither."""
    where = np.flatnonzero(hits)
    real = where[~difficult[objects[where]]]
    first = real[np.unique(objects[real], return_index=True)[1]]
    true, false = np.zeros_like(hits), ~hits
    true[first], false[real] = True, True
    return true, false & ~true


def eleven_points(recall: Array, precision: Array) -> float:
    """The mean of the highest precisions at or beyond eleven recalls."""
    return float(np.mean([precision[recall >= least].max(initial=0) for least in RECALLS]))


def area(recall: Array, precision: Array) -> float:
    """The area below the curve, with at each recall the highest precision at or beyond it."""
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * highest))


# --- COCO


class CocoEvaluator(DatasetEvaluator):  # type: ignore[misc]
    """COCO's AP of boxes and masks."""

    def __init__(self, test: str, tasks: Sequence[str]) -> None:
        """Take the objects of a registered split."""
        self.truth, self.tasks = COCO(MetadataCatalog.get(test).json_file), tasks
        self.ids = sorted(self.truth.cats)  # as detectron2 numbers the categories
        self.reset()

    def reset(self) -> None:
        """Nothing is found yet."""
        self.found: list[dict[str, Any]] = []

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Keep the detections of some images in COCO's form."""
        for image, output in zip(inputs, outputs, strict=True):
            found = output["instances"].to("cpu")
            boxes = found.pred_boxes.tensor.float()
            boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist()
            labels = [self.ids[label] for label in found.pred_classes]
            rows = zip(boxes, labels, found.scores.tolist(), map(run_lengths, found.pred_masks.numpy()), strict=True)
            self.found += [{"image_id": image["image_id"], **dict(zip(FIELDS, row, strict=True))} for row in rows]

    def evaluate(self) -> Scores:
        """AP, AP50 and AP75 in per cent of each task."""
        every = of_all_ranks(self.found)
        if not comm.is_main_process():
            return {}
        found = self.truth.loadRes(every)
        return {task: self.scores(found, task) for task in self.tasks}

    def scores(self, found: COCO, task: str) -> dict[str, float]:
        """The three scores of COCO's that are of objects of all sizes and of 100 detections a class and image."""
        judge = COCOeval_faster(self.truth, found, task, print_function=print)
        judge.params.areaRng, judge.params.areaRngLbl, judge.params.maxDets = [[0, 1e10]], ["all"], [100]
        judge.run()
        return {name: 100 * float(score) for name, score in zip(SCORES, judge.stats, strict=False)}


def run_lengths(mask: Array) -> Any:
    """A mask [H, W] in COCO's form: how far apart its edges are, down each column and one after another."""
    height, width = mask.shape
    columns = np.flatnonzero(mask.any(axis=0))
    first, last = (columns[0], columns[-1] + 2) if len(columns) else (0, 0)  # reading all columns takes most time
    edges = first * height + np.flatnonzero(np.diff(mask[:, first:last].T.ravel(), prepend=False))
    counts = np.diff(edges, prepend=0, append=mask.size).tolist()
    return frPyObjects({"size": [height, width], "counts": counts}, height, width)
