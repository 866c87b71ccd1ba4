"""Average precision of detections: Pascal VOC's in one pass over the images, COCO's by faster-coco-eval.

Both give the numbers of detectron2's PascalVOCDetectionEvaluator and COCOEvaluator.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

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

from benchmarks.detection import TASKS
from benchmarks.detection.catalog import Entry
from benchmarks.resuming.loading import ignore_signals, loaded
from benchmarks.resuming.progress import Progress

Array = NDArray[Any]
Scores = dict[str, dict[str, float]]
Row = TypeVar("Row")

SCORES = "AP", "AP50", "AP75"
THRESHOLDS = [percent / 100 for percent in range(50, 100, 5)]  # IoUs that a hit of VOC's exceeds
FIRST = np.array([1, 1, 0, 0], np.float32)  # of a VOC image's pixels; its boxes hold their last ones
FIELDS = "bbox", "category_id", "score", "segmentation"  # of a detection in COCO's form
RECALLS = np.arange(0.0, 1.1, 0.1)  # of VOC 2007


def evaluate_model(cfg: CfgNode, model: nn.Module, evaluator: DatasetEvaluator) -> Scores:
    """Return the evaluator's scores of the model's detections on the test split; none on ranks > 0."""
    loader = evaluation_loader(cfg)
    leads = comm.is_main_process()
    with Progress("test", "batches", len(loader), shown=leads, items=loaded(loader)) as batches:
        scores: Scores = inference_on_dataset(model, batches, evaluator)
    return scores


def evaluation_loader(cfg: CfgNode) -> DataLoader[Entry]:
    """Return a loader of the images one by one, as detectron2 has it, or in batches if all have one shape.

    They need no padding then, and the test takes half the time.
    """
    (name,) = cfg.DATASETS.TEST
    shapes = {(image["height"], image["width"]) for image in DatasetCatalog.get(name)}
    batch = cfg.SOLVER.IMS_PER_BATCH if len(shapes) == 1 else 1
    loader: DataLoader[Entry] = build_detection_test_loader(cfg, name, batch_size=batch)
    loader.worker_init_fn = ignore_signals
    return loader


def of_all_ranks(rows: list[Row]) -> list[Row]:
    """Return on rank 0 what all ranks have for their parts of the images, in order; nothing on the others."""
    return list(chain(*comm.gather(rows)))


class Evaluator(DatasetEvaluator):  # type: ignore[misc]
    """An evaluator of detectron2's form that also knows the scores of each class."""

    classes: dict[str, dict[str, float]]  # class → score → per cent, once evaluated; none of a class without an object


# --- Pascal VOC


class Truth(NamedTuple):
    """The objects of one image."""

    boxes: Array  # [M, 4] px, x0 y0 x1 y1 as VOC counts them
    labels: Array  # [M]
    first: int  # the number of the first of them among all images' objects


class VocEvaluator(Evaluator):
    """Pascal VOC's AP at ten IoU thresholds; a detection can only hit the object of its class that it overlaps most."""

    def __init__(self, test: str, year: int) -> None:
        """Read the objects of a registered split; AP is of year 2007 (eleven points) or 2012 (the area)."""
        images = DatasetCatalog.get(test)
        objects = [each for image in images for each in image["annotations"]]
        firsts = np.cumsum([0, *(len(image["annotations"]) for image in images)])
        numbered = zip(images, firsts, strict=False)
        self.truths = {image["image_id"]: build_truth(image["annotations"], first) for image, first in numbered}
        self.labels = np.array([each["category_id"] for each in objects], int)
        self.difficult = np.array([each["difficult"] for each in objects], bool)
        self.scored = np.unique(self.labels[~self.difficult]).tolist()
        self.names = MetadataCatalog.get(test).thing_classes
        self.average = eleven_points if year == 2007 else area
        self.reset()

    def reset(self) -> None:
        """Forget all detections."""
        self.detections: list[tuple[Array, Array, Array, Array]] = []  # an image: label, score, IoU, object of each

    def process(self, inputs: Sequence[Entry], outputs: Sequence[Entry]) -> None:
        """Match the detections of some images, rounded as detectron2's evaluator does when it writes them to a file."""
        for image, output in zip(inputs, outputs, strict=True):
            detected = output["instances"].to("cpu")
            # in double precision the numbers round as in the text that detectron2 writes
            boxes, scores = (detected.pred_boxes.tensor + torch.tensor(FIRST)).double(), detected.scores.double()
            labels, known = detected.pred_classes.numpy(), self.truths[image["image_id"]]
            self.detections.append((labels, scores.numpy().round(3), *match(boxes.numpy().round(1), labels, known)))

    def evaluate(self) -> Scores:
        """Return AP, AP50 and AP75 of the boxes in per cent; {} on ranks > 0.

        They are means over the classes with an object that is not difficult: of the others no AP is defined.
        """
        rows = of_all_ranks(self.detections)
        if not comm.is_main_process():
            return {}
        labels, *columns = (np.concatenate(column) for column in zip(*rows, strict=True))
        aps = [self.aps(label, *(column[labels == label] for column in columns)) for label in self.scored]
        self.classes = {self.names[label]: summary(ap) for label, ap in zip(self.scored, aps, strict=True)}
        return {"bbox": summary(np.mean(aps or [[np.nan] * len(THRESHOLDS)], axis=0))}

    def aps(self, label: int, scores: Array, ious: Array, objects: Array) -> list[float]:
        """Return the AP of a class at every threshold, from its detections [N] in the order of the images."""
        # rounded scores are often equal: only detectron2's own sort, which is not stable, gives the same AP
        order = np.argsort(-scores)
        ious, objects = ious[order], objects[order]
        count = np.count_nonzero(~self.difficult[self.labels == label])
        aps = []
        for threshold in THRESHOLDS:
            true, false = (np.cumsum(flags) for flags in hits_and_misses(ious > threshold, objects, self.difficult))
            aps.append(self.average(true / count, true / np.maximum(true + false, 1)))
        return aps


def summary(aps: Sequence[float] | Array) -> dict[str, float]:
    """Return AP, AP50 and AP75 in per cent of the AP at each threshold."""
    return {"AP": 100 * float(np.mean(aps)), "AP50": 100 * float(aps[0]), "AP75": 100 * float(aps[5])}


def build_truth(objects: Sequence[Entry], first: int) -> Truth:
    """Return an image's objects for matching; fractions of pixels, which VOC does not have, are rounded half up."""
    boxes = np.array([each["bbox"] for each in objects], float).reshape(-1, 4)
    return Truth(np.floor(boxes + FIRST + 0.5), np.array([each["category_id"] for each in objects], int), first)


def match(boxes: Array, labels: Array, known: Truth) -> tuple[Array, Array]:
    """Return each detection's largest IoU [N] with an object of its class, or -1, and the object's number [N]."""
    if not len(known.boxes):
        return np.full(len(boxes), -1.0), np.full(len(boxes), -1)
    ious = np.where(labels[:, None] == known.labels, overlaps(boxes, known.boxes), -1.0)
    return ious.max(axis=1), known.first + ious.argmax(axis=1)


def overlaps(first: Array, second: Array) -> Array:
    """Return the IoU [N, M] of boxes [N, 4] and [M, 4] that include their last pixels."""
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    shared = np.maximum(high - low + 1, 0).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=-1) for boxes in (first, second)]
    ious: Array = shared / (areas[0][:, None] + areas[1] - shared)
    return ious


def hits_and_misses(hits: Array, objects: Array, difficult: Array) -> tuple[Array, Array]:
    """Return which detections [N], by falling score, are true and which are false positives.

    The hit of a difficult object is neither; of several hits of an object only the first is true.
    """
    where = np.flatnonzero(hits)
    real = where[~difficult[objects[where]]]
    first = real[np.unique(objects[real], return_index=True)[1]]
    true, false = np.zeros_like(hits), ~hits
    true[first], false[real] = True, True
    return true, false & ~true


def eleven_points(recall: Array, precision: Array) -> float:
    """Return VOC 2007's AP: the mean, over eleven recalls, of the highest precision at that recall or a higher one."""
    return float(np.mean([precision[recall >= least].max(initial=0) for least in RECALLS]))


def area(recall: Array, precision: Array) -> float:
    """Return VOC 2012's AP: the area below the curve of the highest precision at each recall or a higher one."""
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * highest))


# --- COCO


class CocoEvaluator(Evaluator):
    """COCO's AP of boxes, or of boxes and masks."""

    def __init__(self, test: str, tasks: Sequence[str]) -> None:
        """Read the objects of a registered split; tasks are COCO's bbox and segm."""
        self.truth, self.tasks = COCO(MetadataCatalog.get(test).json_file), tasks
        self.ids = sorted(self.truth.cats)  # as detectron2 numbers the categories
        self.reset()

    def reset(self) -> None:
        """Forget all detections."""
        self.detections: list[Entry] = []

    def process(self, inputs: Sequence[Entry], outputs: Sequence[Entry]) -> None:
        """Keep the detections of some images in COCO's result format."""
        for image, output in zip(inputs, outputs, strict=True):
            detected = output["instances"].to("cpu")
            boxes = detected.pred_boxes.tensor.float()
            boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist()
            labels = [self.ids[label] for label in detected.pred_classes]
            columns = [boxes, labels, detected.scores.tolist()]
            if "segm" in self.tasks:
                columns.append([run_lengths(mask) for mask in detected.pred_masks.numpy()])
            rows = zip(*columns, strict=True)
            self.detections += [{"image_id": image["image_id"], **dict(zip(FIELDS, row, strict=False))} for row in rows]

    def evaluate(self) -> Scores:
        """Return AP, AP50 and AP75 of each task in per cent; {} on ranks > 0."""
        rows = of_all_ranks(self.detections)
        if not comm.is_main_process():
            return {}
        results, self.classes = self.truth.loadRes(rows), {}
        return {task: self.scores(results, task) for task in self.tasks}

    def scores(self, results: COCO, task: str) -> dict[str, float]:
        """Return COCO's three scores over objects of all sizes, with 100 detections of a class and image.

        Those of each class that has an object enter `classes`.
        """
        evaluation = COCOeval_faster(self.truth, results, task, print_function=print)
        params = evaluation.params
        params.areaRng, params.areaRngLbl, params.maxDets = [[0, 1e10]], ["all"], [100]
        evaluation.run()
        precision = evaluation.eval["precision"][..., 0, 0]  # [thresholds, recalls, classes]: -1 without an object
        for number, id in enumerate(params.catIds):
            if (known := precision[..., number]).max() >= 0:
                scores = {f"{TASKS[task]}{name}": value for name, value in summary(known.mean(axis=1)).items()}
                self.classes.setdefault(self.truth.cats[id]["name"], {}).update(scores)
        return {name: 100 * float(score) for name, score in zip(SCORES, evaluation.stats, strict=False)}


def run_lengths(mask: Array) -> object:
    """Return a mask [H, W] in COCO's compressed run-length encoding, which goes down the columns one after another."""
    height, width = mask.shape
    columns = np.flatnonzero(mask.any(axis=0))
    first, last = (columns[0], columns[-1] + 2) if len(columns) else (0, 0)  # reading all columns takes most time
    edges = first * height + np.flatnonzero(np.diff(mask[:, first:last].T.ravel(), prepend=False))
    counts = np.diff(edges, prepend=0, append=mask.size).tolist()
    return frPyObjects({"size": [height, width], "counts": counts}, height, width)
