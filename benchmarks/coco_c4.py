"""Mask R-CNN R50-C4 on COCO, 1x schedule (METHODS 10.3).

The settings are those of PixPro's transfer/detection/configs/COCO_R_50_C4_1x_PixPro.yaml, with MoCo's norm behind
res5. Expected there (METHODS 11.3), box and mask AP: 26.4 and 29.3 of a random backbone, 38.2 and 33.3 of a
supervised one.
"""

from dataclasses import dataclass
from typing import ClassVar

from benchmarks import Expected
from benchmarks.detection.mask import MaskDetector
from benchmarks.detection.published import README, TOLERANCE


@dataclass(frozen=True)
class CocoC4(MaskDetector):
    """Mask R-CNN R50-C4 on COCO, 90,000 iterations."""

    name: ClassVar[str] = "coco-c4"
    needs_data: ClassVar[bool] = True
    expected: ClassVar[tuple[Expected, ...]] = (
        Expected("random", "AP", 26.4, TOLERANCE, README),
        Expected("random", "mask_AP", 29.3, TOLERANCE, README),
        Expected("supervised", "AP", 38.2, TOLERANCE, README),
        Expected("supervised", "mask_AP", 33.3, TOLERANCE, README),
        Expected("PixPro, 400 epochs", "AP", 40.5, TOLERANCE, README),
        Expected("PixPro, 400 epochs", "mask_AP", 35.3, TOLERANCE, README),
    )

    family: str = "c4"
    proposals: tuple[int, int, int, int] = (12000, 2000, 6000, 1000)


BENCHMARK = CocoC4
