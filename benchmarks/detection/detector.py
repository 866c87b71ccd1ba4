"""What every benchmark does that fine-tunes detectron2's Faster R-CNN from a backbone file (METHODS 10.2).

Model, augmentation and trainer are detectron2's own. It starts without torch, so that the command line can read the
settings.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks import CLASSES, Cost
from benchmarks.data.coco import Coco
from benchmarks.data.voc import Voc
from benchmarks.detection import CONFIG, CURVE, LOG
from benchmarks.detection.catalog import registered
from benchmarks.detection.config import Settings, config, join_norms
from benchmarks.detection.convert import convert_file
from benchmarks.detection.log import log_to
from benchmarks.resuming.files import write, write_json

if TYPE_CHECKING:
    from benchmarks.detection.evaluation import Evaluator

STEP = {"fpn": 1.5, "c4": 6.0}  # time of a detector's step over its encoder's, measured within a factor of two


@dataclass(frozen=True)
class Detector(Settings):
    """A Faster R-CNN that is fine-tuned on the train split and scored on the test split."""

    distributed: ClassVar[bool] = True
    curve: ClassVar[str | None] = CURVE
    score_range: ClassVar[tuple[float, float] | None] = (0.0, 100.0)  # per cent

    def evaluate(
        self, backbone: Path, data: Voc | Coco, folder: Path, seed: int, device: str = "cpu"
    ) -> dict[str, float]:
        """Return the scores in per cent on the test split after fine-tuning on train from the backbone file.

        `folder` keeps the curve, the log, the resolved settings, the scores of each class and a checkpoint, from which
        the same call goes on. Everything random follows `seed`: on the CPU the same curve and scores come again, bit
        for bit, cut off or not and with any number of workers. Ctrl-C writes the checkpoint and raises
        KeyboardInterrupt, SIGTERM and SIGUSR1 Requeued. Raises ConvertError for a backbone that does not fit and
        DetectionError for a loss or a gradient that is not finite. With other ranks beside this one, each learns from
        its part of the batch; curve, checkpoint and scores are rank 0's; the others return none.
        """
        from detectron2.utils import comm

        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="harness-detection-") as scratch, log_to(folder / LOG):
            from benchmarks.dense.calibration import calibrated
            from benchmarks.detection.evaluation import evaluate_model
            from benchmarks.detection.tuning import fine_tune, identity

            weights, side = Path(scratch, "initial.pth"), self.sizes[-1]
            if self.calibrate:
                images = data.learnt[: self.calibrate]
                backbone = calibrated(backbone, self.encoder, images, side, Path(scratch, "calibrated.pth"), device)
            width = convert_file(backbone, weights, encoder=self.encoder)
            cfg = config(self, data.classes, seed, device, comm.get_world_size(), width)
            join_norms(cfg, comm.get_world_size())
            write(folder / CONFIG, lambda out: out.write(cfg.dump().encode()))
            alone = config(self, data.classes, seed, device.partition(":")[0], width=width)  # for any number of ranks
            key = identity(alone, backbone, data, type(self))
            with registered(data, Path(scratch).name) as (train_split, test_split):
                cfg.DATASETS.TRAIN, cfg.DATASETS.TEST, cfg.MODEL.WEIGHTS = (train_split,), (test_split,), str(weights)
                model = fine_tune(cfg, folder, key)
                evaluator = self.evaluator(test_split)
                results = evaluate_model(cfg, model, evaluator)
                if not comm.is_main_process():
                    return {}
                write_json(folder / CLASSES, evaluator.classes)
                return self.scores(results)

    def test_images(self, data: Voc | Coco) -> list[Path]:
        """Return the files of the test split."""
        return data.tested

    def train_images(self, data: Voc | Coco) -> list[Path]:
        """Return the files of the train split."""
        return data.learnt

    def cost(self) -> Cost:
        """Return what its fine-tuning costs; the test is a small part."""
        side = self.sizes[-1]
        work = f"{self.iterations:,} iterations of {self.batch} images at {side} px"
        return Cost(work, self.iterations * self.batch, side, STEP[self.family])

    # what a subclass does in another way

    def evaluator(self, test: str) -> Evaluator:
        """Return the evaluator, in detectron2's form, of the registered test split."""
        from benchmarks.detection.evaluation import VocEvaluator

        return VocEvaluator(test, self.year)

    def scores(self, results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Return what is recorded of the evaluator's results, task → score → per cent."""
        return dict(results["bbox"])
