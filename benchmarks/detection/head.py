"""MoCo's C4 head, for every ResNet."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from benchmarks.weights import RESNETS

if TYPE_CHECKING:
    from detectron2.config import CfgNode
    from torch import nn


@cache
def register_head() -> str:
    """Return the registered name of MoCo's C4 head, which here has the ResNet's own last stage, whichever it is.

    Detectron2 hard-codes three bottlenecks, so that R18's and R34's layer4 would silently stay behind.
    """
    from detectron2.layers import get_norm
    from detectron2.modeling import ROI_HEADS_REGISTRY
    from detectron2.modeling.backbone.resnet import BasicBlock, ResNet
    from detectron2.modeling.roi_heads import Res5ROIHeads
    from torch import nn

    class Res5ROIHeadsExtraNorm(Res5ROIHeads):  # type: ignore[misc]
        @classmethod
        def _build_res5_block(cls, cfg: CfgNode) -> tuple[nn.Sequential, int]:
            resnet, norm = RESNETS[f"resnet{cfg.MODEL.RESNETS.DEPTH}"], cfg.MODEL.RESNETS.NORM
            if resnet.convs == 2:
                stage = ResNet.make_stage(
                    BasicBlock,
                    resnet.blocks[-1],
                    stride_per_block=[2] + [1] * (resnet.blocks[-1] - 1),
                    in_channels=256,
                    out_channels=512,
                    norm=norm,
                )
                res5, channels = nn.Sequential(*stage), 512
            else:
                res5, channels = super()._build_res5_block(cfg)
            res5.add_module("norm", get_norm(norm, channels))
            return res5, channels

    ROI_HEADS_REGISTRY.register(Res5ROIHeadsExtraNorm)
    return "Res5ROIHeadsExtraNorm"
