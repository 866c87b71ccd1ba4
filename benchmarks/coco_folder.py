"""Any folder with COCO's annotations, of any categories: boxes alone, or boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks import Benchmark
from benchmarks.data.coco import Coco, CocoError
from benchmarks.data.coco_own import read_own
from benchmarks.detection import TASKS
from benchmarks.detection.detector import Detector

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from benchmarks.detection.evaluation import Evaluator


# inherits the detector's fields, so that its settings are set and recorded flat: `--set benchmark.lr=0.01`
@dataclass(frozen=True)
class CocoFolder(Detector, Benchmark[Coco]):
    """A detector on your own folder with COCO's annotations."""

    name: ClassVar[str] = "coco-folder"
    needs_data: ClassVar[bool] = True

    sizes: tuple[int, ...] = (160,)
    anchors: tuple[int, ...] = (16, 32, 64, 112, 176)
    masks: bool = False  # learn and score masks too, which every object must have
    strict: bool = False  # refuse a folder that needs mending, and a class without a test object

    @property
    def tasks(self) -> dict[str, str]:
        """What is scored: task of COCO's evaluation → how the names of its scores begin."""
        return TASKS if self.masks else {"bbox": ""}

    def prepare(self, data: Path | None, cache: Path) -> Coco:
        """Return the checked folder; `cache` remembers what its images are. Raises CocoError."""
        if data is None:
            raise CocoError(f"benchmark {self.name!r} needs a folder: --benchmark-data DIR")
        return read_own(data, self.masks, self.strict, cache).with_contents(cache)

    def notes(self, data: Coco) -> list[str]:
        """Return what was mended and which classes are not scored."""
        return data.notes

    def resolve(self, cfg: CfgNode) -> CfgNode:
        """Return detectron2's config with the mask head where masks are learnt: four convolutions, as coco-fpn's."""
        cfg.MODEL.MASK_ON, cfg.MODEL.ROI_MASK_HEAD.NUM_CONV = self.masks, 4 if self.family == "fpn" else 0
        return super().resolve(cfg)

    def evaluator(self, test: str) -> Evaluator:
        """Return COCO's evaluation of the registered test split."""
        from benchmarks.detection.evaluation import CocoEvaluator

        return CocoEvaluator(test, tuple(self.tasks))

    def scores(self, results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Return AP of boxes, and of masks where they are learnt."""
        return {prefix + name: score for task, prefix in self.tasks.items() for name, score in results[task].items()}


BENCHMARK = CocoFolder
