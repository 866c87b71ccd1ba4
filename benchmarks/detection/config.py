"""The settings of a detector, and detectron2's config that they stand for (METHODS 10.2); it starts without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.weights import PIXEL_MEAN, PIXEL_STD, RESNETS, WIDTH

if TYPE_CHECKING:
    from detectron2.config import CfgNode

LEVELS = 5  # of the FPN: p2 to p6
LONGEST = 1333 / 800  # the longest side detectron2 allows, as a multiple of the shortest


class DetectionError(ValueError):
    """A setting or an iteration that failed, in one line."""


@dataclass(frozen=True)
class Settings:
    """A Faster R-CNN and its fine-tuning; by default a slim R18-FPN for small images on a laptop's CPU."""

    encoder: str = "resnet18"  # torchvision's name; the backbone file must hold the same
    family: str = "fpn"  # fpn, or c4: the last stage is the head
    norm: str = "BN"  # of the ResNet and the new layers: BN, SyncBN; FrozenBN: the new layers get BN
    freeze: int = 0  # stages of the ResNet: 0 none, 1 the stem, … 5 all (c4: 4, since res5 is the head)
    channels: int = 64  # of the FPN
    fc: int = 256  # width of the FPN's box head
    pool: int | None = None  # cells a side that the head takes of a proposal; None: detectron2's 7 (fpn), 14 (c4)
    anchors: tuple[int, ...] = (8, 16, 32, 64, 96)  # px, of the resized image; fpn: one a level
    proposals: tuple[int, int, int, int] = (500, 100, 300, 50)  # before and after NMS: training, test
    rpn: int = 64  # anchors per image in the RPN's loss
    rois: int = 32  # proposals per image in the head's loss
    iterations: int = 400
    batch: int = 4  # images
    lr: float = 0.02  # for this batch: it is not rescaled
    decay: tuple[float, ...] = (0.75,)  # parts of the iterations after which the lr falls to a tenth
    warmup: int = 50  # iterations
    clip: float | None = 5.0  # norm to which detectron2 cuts the gradient of each parameter alone
    sizes: tuple[int, ...] = (96,)  # px of the shortest side: drawn per training image, the last in the test
    flip: bool = True  # mirror half of the training images
    precise_bn: int = 0  # iterations that measure the norms' statistics anew after training
    workers: int = 0  # processes that load images
    calibrate: int = 0  # train images that the ResNet's norms are measured anew on before the fine-tuning; 0: as stored
    year: int = 2012  # of VOC's rule for AP: 2012 the area, 2007 eleven points (a single hit can earn 9 %)

    def __post_init__(self) -> None:
        """Raise DetectionError, which names the field, for a value that cannot be."""
        require_choices(self, CHOICES)
        for name, least in LEAST.items():
            if getattr(self, name) is not None and _smallest(getattr(self, name)) < least:
                raise DetectionError(f"{name}={getattr(self, name)}: at least {least} was expected")
        if self.lr <= 0 or (self.clip is not None and self.clip <= 0):
            raise DetectionError(f"lr={self.lr}, clip={self.clip}: more than 0 was expected, or no clip")
        if self.family == "fpn" and len(self.anchors) != LEVELS:
            raise DetectionError(f"anchors={self.anchors}: the FPN has {LEVELS} levels and one for each")
        if not all(0 < part < 1 for part in self.decay):
            raise DetectionError(f"decay={self.decay}: parts of the iterations between 0 and 1 were expected")

    def resolve(self, cfg: CfgNode) -> CfgNode:
        """Return detectron2's config with what only a subclass has settings for."""
        return cfg


def require_choices(settings: Settings, choices: Mapping[str, Sequence[object]]) -> None:
    """Raise DetectionError for the first field whose value is none of its choices."""
    for name, known in choices.items():
        if getattr(settings, name) not in known:
            raise DetectionError(f"{name}={getattr(settings, name)}: choose from {', '.join(map(str, known))}")


def _smallest(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else min(value, default=0)


def config(
    settings: Settings,
    classes: Sequence[str],
    seed: int,
    device: str = "cpu",
    processes: int = 1,
    width: int = WIDTH,
) -> CfgNode:
    """Return detectron2's config for these settings and a backbone of this width.

    SyncBN becomes BN in one process, which has the whole batch.
    """
    from detectron2.config import get_cfg

    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.SEED, cfg.MODEL.DEVICE = ".", seed, device
    _image(cfg, settings)
    _resnet(cfg, settings, "BN" if settings.norm == "SyncBN" and processes == 1 else settings.norm, width)
    _proposals(cfg, settings)
    FAMILIES[settings.family](cfg, settings)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(classes)
    _solver(cfg, settings)
    return settings.resolve(cfg)


def join_norms(cfg: CfgNode, processes: int) -> None:
    """Let every norm see the joined batch of several processes, as it does in one process."""
    joined = "naiveSyncBN_N" if cfg.MODEL.DEVICE == "cpu" else "SyncBN"  # torch's SyncBatchNorm knows GPUs alone
    for part in (cfg.MODEL.RESNETS, cfg.MODEL.FPN, cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_MASK_HEAD):
        if processes > 1 and part.NORM in ("BN", "SyncBN"):
            part.NORM = joined


def _image(cfg: CfgNode, settings: Settings) -> None:
    cfg.INPUT.FORMAT, cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = "RGB", PIXEL_MEAN, PIXEL_STD
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = settings.sizes, settings.sizes[-1]
    longest = round(max(settings.sizes) * LONGEST)
    cfg.INPUT.MAX_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TEST = longest, longest
    cfg.INPUT.RANDOM_FLIP = "horizontal" if settings.flip else "none"
    cfg.DATALOADER.NUM_WORKERS = settings.workers


def _resnet(cfg: CfgNode, settings: Settings, norm: str, width: int) -> None:
    resnet = RESNETS[settings.encoder]
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.NORM = resnet.depth, norm
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False  # torchvision strides in the 3x3 convolution
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = cfg.MODEL.RESNETS.WIDTH_PER_GROUP = width
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = width * resnet.expansion
    cfg.MODEL.BACKBONE.FREEZE_AT = settings.freeze


def _proposals(cfg: CfgNode, settings: Settings) -> None:
    rpn, kept = cfg.MODEL.RPN, settings.proposals
    rpn.PRE_NMS_TOPK_TRAIN, rpn.POST_NMS_TOPK_TRAIN = kept[:2]
    rpn.PRE_NMS_TOPK_TEST, rpn.POST_NMS_TOPK_TEST = kept[2:]
    rpn.BATCH_SIZE_PER_IMAGE, cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = settings.rpn, settings.rois


def _solver(cfg: CfgNode, settings: Settings) -> None:
    solver, last = cfg.SOLVER, settings.iterations
    solver.MAX_ITER, solver.IMS_PER_BATCH, solver.BASE_LR = last, settings.batch, settings.lr
    # detectron2 wants each step below MAX_ITER, which a run of a few iterations can miss by rounding
    solver.STEPS = tuple(step for step in (round(part * last) for part in settings.decay) if 0 < step < last)
    solver.WARMUP_ITERS = settings.warmup
    solver.CLIP_GRADIENTS.ENABLED = settings.clip is not None
    solver.CLIP_GRADIENTS.CLIP_TYPE, solver.CLIP_GRADIENTS.CLIP_VALUE = "norm", settings.clip or 0.0
    cfg.TEST.PRECISE_BN.ENABLED, cfg.TEST.PRECISE_BN.NUM_ITER = settings.precise_bn > 0, settings.precise_bn


def _fpn(cfg: CfgNode, settings: Settings) -> None:
    """Follow detectron2's configs/Base-RCNN-FPN.yaml, with a norm in the FPN: without it the slim one diverges."""
    from benchmarks.detection.head import backbone_name

    levels = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.BACKBONE.NAME = backbone_name(cfg, "build_resnet_fpn_backbone")
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = levels
    cfg.MODEL.FPN.OUT_CHANNELS = settings.channels
    cfg.MODEL.FPN.NORM = "BN" if cfg.MODEL.RESNETS.NORM == "FrozenBN" else cfg.MODEL.RESNETS.NORM
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[size] for size in settings.anchors]
    cfg.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    cfg.MODEL.ROI_HEADS.NAME, cfg.MODEL.ROI_HEADS.IN_FEATURES = "StandardROIHeads", ["p2", "p3", "p4", "p5"]
    box = cfg.MODEL.ROI_BOX_HEAD
    box.NAME, box.NUM_FC, box.FC_DIM, box.POOLER_RESOLUTION = "FastRCNNConvFCHead", 2, settings.fc, settings.pool or 7


def _c4(cfg: CfgNode, settings: Settings) -> None:
    """Follow detectron2's configs/Base-RCNN-C4.yaml with MoCo's norm behind res5 (METHODS 10.2)."""
    from benchmarks.detection.head import backbone_name, register_head

    cfg.MODEL.BACKBONE.NAME = backbone_name(cfg, "build_resnet_backbone")
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res4"]
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = settings.pool or 14
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [list(settings.anchors)]
    cfg.MODEL.ROI_HEADS.NAME, cfg.MODEL.ROI_HEADS.IN_FEATURES = register_head(), ["res4"]


FAMILIES: dict[str, Callable[[CfgNode, Settings], None]] = {"fpn": _fpn, "c4": _c4}
CHOICES: dict[str, Sequence[object]] = {
    "encoder": tuple(RESNETS),
    "family": tuple(FAMILIES),
    "norm": ("BN", "FrozenBN", "SyncBN"),
    "freeze": range(6),
    "year": (2007, 2012),
}
LEAST = {
    **dict.fromkeys(("channels", "fc", "pool", "anchors", "proposals", "rpn", "rois", "iterations", "batch"), 1),
    **dict.fromkeys(("warmup", "precise_bn", "workers", "calibrate"), 0),
    "sizes": 32,  # px: the stride of res5
}
