"""Published detection protocols: how a run departs from the publication, and which scores are implausible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import TYPE_CHECKING, ClassVar

from benchmarks import Expected, out_of_range
from benchmarks.data.coco import Coco
from benchmarks.data.voc import Voc
from benchmarks.detection.config import DetectionError, config, require_choices
from benchmarks.detection.detector import Detector

if TYPE_CHECKING:
    from detectron2.config import CfgNode

GPUS = 8  # of each protocol
CHOICES: dict[str, tuple[object, ...]] = {"gpus": (1, 2, 4, 8), "precision": ("fp32", "bf16")}
COLUMNS = 80  # of a terminal
TOLERANCE = 1.0  # five times the deviation of AP between identical fine-tunings (METHODS 10.5); the factor is ours
README = "README of PixPro, METHODS 11.3"


@dataclass(frozen=True)
class Published(Detector):
    """A protocol that was published on 8 GPUs, with the number of its images and the scores known of it."""

    name: ClassVar[str]
    expected: ClassVar[tuple[Expected, ...]]
    official: ClassVar[tuple[int, int]]  # images of train and test

    gpus: int = GPUS  # of the protocol's 8: batch, rate and iterations are scaled linearly to so many
    # not detectron2's fp16: its gradient scaler would be one more state that a checkpoint has to hold
    precision: str = "fp32"  # of the training, never of the test; bf16: autocast, channels_last

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choices(self, CHOICES)
        if self.gpus != GPUS and self.batch % GPUS:
            raise DetectionError(f"batch={self.batch}: gpus={self.gpus} needs a multiple of the protocol's {GPUS} GPUs")

    def resolve(self, cfg: CfgNode) -> CfgNode:
        """Return detectron2's config with the precision, scaled to fewer GPUs by detectron2's linear rule.

        The rule leaves the iterations of precise BN as they are.
        """
        from detectron2.engine import DefaultTrainer

        cfg.SOLVER.REFERENCE_WORLD_SIZE, cfg.SOLVER.AMP.ENABLED = GPUS, self.precision == "bf16"
        return DefaultTrainer.auto_scale_workers(cfg, self.gpus)

    def notes(self, data: Voc | Coco) -> list[str]:
        """Return how the run departs from the 8 GPUs, the precision and the data of the publication."""
        notes = [self._on_gpus(data)]
        if self.precision != "fp32":
            notes.append(f"not the published precision: fine-tuned in {self.precision} instead of fp32, tested in fp32")
        if data.images != self.official:
            text = "not the official data: {:,} train, {:,} test images instead of {:,} and {:,}"
            notes.append(text.format(*data.images, *self.official))
        return [line for text in notes for line in wrap(text, COLUMNS, break_on_hyphens=False)]

    def _on_gpus(self, data: Voc | Coco) -> str:
        if self.gpus == GPUS:
            return (
                f"{self.name} is defined on {GPUS} GPUs: one device here takes all {self.batch} images of a batch, "
                "and BatchNorm sees all of them, as SyncBN does; "
                "benchmark.gpus=1 scales batch, rate and iterations down instead"
            )
        solver = config(self, data.classes, seed=0).SOLVER
        return (
            f"{self.name} scaled linearly to {self.gpus} of {GPUS} GPUs: batch {solver.IMS_PER_BATCH}, "
            f"lr {solver.BASE_LR:g}, {solver.MAX_ITER:,} iterations, {solver.WARMUP_ITERS:,} of them warm-up"
        )

    def warnings(self, scores: Mapping[str, float], data: Voc | Coco, trained: bool) -> list[str]:
        """Return a line on each score outside of the known ones.

        It needs the publication's data and settings, save `workers`.
        """
        same = replace(self, workers=type(self).workers) == type(self)() and data.images == self.official
        return list(out_of_range(self.expected, scores, trained)) if same else []
