"""Mask R-CNN R50-FPN on COCO, 1x schedule, with a box head of four convolutions and one FC layer (METHODS 10.3).

The settings are those of PixPro's transfer/detection/configs/COCO_R_50_FPN_1x_PixPro.yaml, which DenseCL shares.
ReSim's file has another box head (two FC layers, no norm), freezes the stem and res2 and has no precise BN: scores
under one head are not comparable with scores under the other. Expected under this one (METHODS 11.3), box and mask
AP: 32.8 and 29.9 of a random backbone, 39.7 and 35.9 of a supervised one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmarks import Expected
from benchmarks.detection.config import DetectionError
from benchmarks.detection.mask import MaskDetector
from benchmarks.detection.published import README, TOLERANCE

if TYPE_CHECKING:
    from detectron2.config import CfgNode


@dataclass(frozen=True)
class CocoFpn(MaskDetector):
    """Mask R-CNN R50-FPN (4conv1fc) on COCO, 90,000 iterations."""

    name: ClassVar[str] = "coco-fpn"
    needs_data: ClassVar[bool] = True
    expected: ClassVar[tuple[Expected, ...]] = (
        Expected("random", "AP", 32.8, TOLERANCE, README),
        Expected("random", "mask_AP", 29.9, TOLERANCE, README),
        Expected("supervised", "AP", 39.7, TOLERANCE, README),
        Expected("supervised", "mask_AP", 35.9, TOLERANCE, README),
        Expected("PixPro, 400 epochs", "AP", 41.4, TOLERANCE, README),
        Expected("PixPro, 400 epochs", "mask_AP", 37.4, TOLERANCE, README),
    )

    channels: int = 256
    fc: int = 1024
    proposals: tuple[int, int, int, int] = (2000, 1000, 1000, 1000)
    mask_convs: int = 4
    box_convs: int = 4  # 3x3 convolutions of the box head, before its FC layers
    box_fcs: int = 1  # FC layers of the box head

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.box_convs < 0 or self.box_fcs < 1:
            raise DetectionError(f"box_convs={self.box_convs}, box_fcs={self.box_fcs}: at least 0 and 1 were expected")

    def resolve(self, cfg: CfgNode) -> CfgNode:
        """Return detectron2's config with both heads, which have the FPN's norm."""
        box, mask = cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_MASK_HEAD
        box.NUM_CONV, box.NUM_FC = self.box_convs, self.box_fcs
        box.NORM = mask.NORM = cfg.MODEL.FPN.NORM
        return super().resolve(cfg)


BENCHMARK = CocoFpn
