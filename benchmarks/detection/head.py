"""What detectron2 has not of a ResNet: MoCo's C4 head for every depth, and the shallow ones at another width."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from benchmarks.weights import RESNETS, WIDTH

if TYPE_CHECKING:
    from detectron2.config import CfgNode
    from detectron2.layers import ShapeSpec
    from detectron2.modeling import Backbone
    from torch import nn

STRIDES = 1, 2, 2, 2  # of the stages' first blocks


def backbone_name(cfg: CfgNode, usual: str) -> str:
    """Return the registered name of what builds the config's ResNet, with an FPN or not: detectron2's unless it cannot.

    Detectron2 insists that a ResNet of basic blocks has the width 64.
    """
    resnets = cfg.MODEL.RESNETS
    basic = RESNETS[f"resnet{resnets.DEPTH}"].convs == 2
    if not basic or resnets.STEM_OUT_CHANNELS == WIDTH:
        return usual
    register_shallow()
    return SHALLOW[usual]


SHALLOW = {
    "build_resnet_backbone": "build_shallow_resnet_backbone",
    "build_resnet_fpn_backbone": "build_shallow_resnet_fpn_backbone",
}


@cache
def register_shallow() -> None:
    """Register the ResNets of basic blocks, of the width that the config has, alone and with an FPN."""
    from detectron2.modeling import BACKBONE_REGISTRY, FPN
    from detectron2.modeling.backbone.fpn import LastLevelMaxPool
    from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, ResNet

    def build_shallow_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
        asked, blocks = cfg.MODEL.RESNETS, RESNETS[f"resnet{cfg.MODEL.RESNETS.DEPTH}"].blocks
        outputs = [asked.RES2_OUT_CHANNELS * 2**stage for stage in range(4)]
        stages = [
            ResNet.make_stage(
                BasicBlock,
                count,
                stride_per_block=[stride] + [1] * (count - 1),
                in_channels=before,
                out_channels=after,
                norm=asked.NORM,
            )
            for count, stride, before, after in zip(
                blocks, STRIDES, [asked.STEM_OUT_CHANNELS, *outputs], outputs, strict=False
            )
        ]
        stem = BasicStem(input_shape.channels, asked.STEM_OUT_CHANNELS, asked.NORM)
        return ResNet(stem, stages, out_features=asked.OUT_FEATURES, freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT)

    def build_shallow_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
        asked = cfg.MODEL.FPN
        return FPN(
            bottom_up=build_shallow_resnet_backbone(cfg, input_shape),
            in_features=asked.IN_FEATURES,
            out_channels=asked.OUT_CHANNELS,
            norm=asked.NORM,
            top_block=LastLevelMaxPool(),
            fuse_type=asked.FUSE_TYPE,
        )

    for builder in (build_shallow_resnet_backbone, build_shallow_resnet_fpn_backbone):
        BACKBONE_REGISTRY.register(builder)


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
            channels = cfg.MODEL.RESNETS.RES2_OUT_CHANNELS * 8
            if resnet.convs == 2:
                stage = ResNet.make_stage(
                    BasicBlock,
                    resnet.blocks[-1],
                    stride_per_block=[2] + [1] * (resnet.blocks[-1] - 1),
                    in_channels=channels // 2,
                    out_channels=channels,
                    norm=norm,
                )
                res5 = nn.Sequential(*stage)
            else:
                res5, _ = super()._build_res5_block(cfg)
            res5.add_module("norm", get_norm(norm, channels))
            return res5, channels

    ROI_HEADS_REGISTRY.register(Res5ROIHeadsExtraNorm)
    return "Res5ROIHeadsExtraNorm"
