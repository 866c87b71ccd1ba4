"""Mask R-CNN on COCO 2017 (METHODS 10.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks import Benchmark
from benchmarks.data.coco import Coco, CocoError, read
from benchmarks.detection import TASKS
from benchmarks.detection.config import DetectionError
from benchmarks.detection.published import Published

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from benchmarks.detection.evaluation import Evaluator


@dataclass(frozen=True)
class MaskDetector(Published, Benchmark[Coco]):
    """Mask R-CNN R50 on COCO 2017: what FPN and C4 share (METHODS 10.3)."""

    official: ClassVar[tuple[int, int]] = (118_287, 5_000)

    encoder: str = "resnet50"
    norm: str = "SyncBN"
    anchors: tuple[int, ...] = (32, 64, 128, 256, 512)
    rpn: int = 256
    rois: int = 512
    iterations: int = 90000
    batch: int = 16
    decay: tuple[float, ...] = (60000 / 90000, 80000 / 90000)
    warmup: int = 1000
    clip: float | None = None
    sizes: tuple[int, ...] = tuple(range(640, 801, 32))
    precise_bn: int = 200
    workers: int = 4
    mask_convs: int = 0  # 3x3 convolutions of the mask head, before the one that doubles its cells

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask_convs < 0:
            raise DetectionError(f"mask_convs={self.mask_convs}: at least 0 was expected")

    def prepare(self, data: Path | None, cache: Path) -> Coco:
        """Read train2017 and val2017, the test split; `cache` remembers hashes. Raises CocoError."""
        if data is None:
            raise CocoError(f"benchmark {self.name!r} needs a COCO folder: --benchmark-data DIR")
        return read(data, cache).with_contents(cache)

    def resolve(self, cfg: CfgNode) -> CfgNode:
        """Return detectron2's config with the mask head."""
        cfg.MODEL.MASK_ON, cfg.MODEL.ROI_MASK_HEAD.NUM_CONV = True, self.mask_convs
        return super().resolve(cfg)

    def evaluator(self, test: str) -> Evaluator:
        """Return COCO's evaluation of the registered test split."""
        from benchmarks.detection.evaluation import CocoEvaluator

        return CocoEvaluator(test, tuple(TASKS))

    def scores(self, results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Return AP of boxes and of masks."""
        return {prefix + name: score for task, prefix in TASKS.items() for name, score in results[task].items()}
