"""Fine-tunes detectron2's Faster R-CNN from a backbone file on a VOC folder and scores it (METHODS 10.2).

Model, augmentation and trainer are detectron2's own. This file chooses the settings and tidies; it starts without
torch, so that the command line can read them.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from benchmarks.data.voc import Record, Voc
from benchmarks.resuming.checkpoints import Checkpoint
from benchmarks.resuming.files import append, trim, write
from benchmarks.resuming.signals import stop_signals
from benchmarks.weights import RESNETS, convert_file, load_into

if TYPE_CHECKING:
    from detectron2.engine import HookBase, SimpleTrainer
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler
    from tqdm import tqdm

    from benchmarks.resuming.training import Saver, Training

MEAN = [123.675, 116.28, 103.53]  # RGB, torchvision's 0.485 0.456 0.406 times 255
STD = [58.395, 57.12, 57.375]  # torchvision's 0.229 0.224 0.225 times 255
LEVELS = 5  # of the FPN: p2 to p6
LONGEST = 1333 / 800  # the longest side detectron2 allows, as a multiple of the shortest
SCORES = "AP", "AP50", "AP75"
METRICS = "detection.jsonl"  # the curve: detectron2's JSON lines
LOG = "detection.log"
LOGGERS = ("detectron2", "fvcore", "iopath", "py.warnings", "torch.fx._symbolic_trace")
CONFIG = "detection.yaml"  # every resolved setting of detectron2
CHECKPOINT = "detection-checkpoint.pth"
GRADIENT = "a gradient is not finite"
WINDOW = 20  # iterations over which the curve's medians go: detectron2's


class DetectionError(ValueError):
    """One line that says which setting or which iteration failed."""


@dataclass(frozen=True)
class Detector:
    """A Faster R-CNN and its fine-tuning; by default a slim R18-FPN for small images on a laptop's CPU."""

    joins: ClassVar[bool] = True

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
    year: int = 2012  # of VOC's rule for AP: 2012 the area, 2007 eleven points (a single hit can earn 9 %)

    def __post_init__(self) -> None:
        choose(self, CHOICES)
        for name, least in LEAST.items():
            if _smallest(getattr(self, name)) < least:
                raise DetectionError(f"{name}={getattr(self, name)}: at least {least} was expected")
        if self.lr <= 0 or (self.clip is not None and self.clip <= 0):
            raise DetectionError(f"lr={self.lr}, clip={self.clip}: more than 0 was expected, or no clip")
        if self.family == "fpn" and len(self.anchors) != LEVELS:
            raise DetectionError(f"anchors={self.anchors}: the FPN has {LEVELS} levels and one for each")
        if not all(0 < part < 1 for part in self.decay):
            raise DetectionError(f"decay={self.decay}: parts of the iterations between 0 and 1 were expected")

    def evaluate(self, backbone: Path, data: Any, folder: Path, seed: int, device: str = "cpu") -> dict[str, float]:
        """The scores in per cent on the test split after fine-tuning on train from the backbone file.

        `folder` keeps the curve, the log, the resolved settings and a checkpoint, from which the same call goes
        on. Everything random follows `seed`: on the CPU the same curve and scores come again, bit for bit, cut
        off or not and with any number of workers. Ctrl-C writes the checkpoint and raises KeyboardInterrupt,
        SIGTERM and SIGUSR1 Requeued. Raises ConvertError for a backbone that does not fit and DetectionError for
        a loss or a gradient that is not finite. With other ranks beside this one, each learns from its part of the
        batch; curve, checkpoint and scores are the first one's; the others get none.
        """
        from detectron2.utils import comm

        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="harness-detection-") as name, log_to(folder / LOG):
            scratch = Path(name)
            weights = scratch / "backbone.pth"
            convert_file(backbone, weights, encoder=self.encoder)
            cfg = config(self, data.classes, seed, device, comm.get_world_size())
            _join_norms(cfg, comm.get_world_size())
            write(folder / CONFIG, lambda out: out.write(cfg.dump().encode()))
            alone = config(self, data.classes, seed, device.partition(":")[0])  # any number of ranks goes on with it
            key = identity(alone, backbone, data)
            with self.registered(data, scratch) as (train, test):
                cfg.DATASETS.TRAIN, cfg.DATASETS.TEST, cfg.MODEL.WEIGHTS = (train,), (test,), str(weights)
                found = _fine_tune(cfg, folder, key, self.evaluator)
                return self.scores(found) if comm.is_main_process() else {}

    # what another protocol does in another way

    def resolve(self, cfg: Any) -> Any:
        """The settings of detectron2 once more, with what only a subclass knows."""
        return cfg

    def registered(self, data: Any, scratch: Path) -> AbstractContextManager[tuple[str, str]]:
        """Both splits under names of their own in detectron2's catalogs, for as long as the block runs."""
        return registered(data, scratch.name)

    def evaluator(self, test: str) -> Any:
        """The evaluator, in detectron2's form, of the registered test split."""
        from benchmarks.detection.evaluation import VocEvaluator

        return VocEvaluator(test, self.year)

    def scores(self, found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """What is recorded of the evaluator's findings."""
        return {score: float(found["bbox"][score]) for score in SCORES}


def choose(settings: Detector, choices: Mapping[str, Sequence[Any]]) -> None:
    """DetectionError names the first setting that is none of its choices."""
    for name, known in choices.items():
        if getattr(settings, name) not in known:
            raise DetectionError(f"{name}={getattr(settings, name)}: choose from {', '.join(map(str, known))}")


def _smallest(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else min(value, default=0)


# --- settings


def config(detector: Detector, classes: Sequence[str], seed: int, device: str = "cpu", processes: int = 1) -> Any:
    """Detectron2's CfgNode for these settings; SyncBN becomes BN in one process: it has the whole batch."""
    from detectron2.config import get_cfg

    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.SEED, cfg.MODEL.DEVICE = ".", seed, device
    _image(cfg, detector)
    _resnet(cfg, detector, "BN" if detector.norm == "SyncBN" and processes == 1 else detector.norm)
    _proposals(cfg, detector)
    FAMILIES[detector.family](cfg, detector)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(classes)
    _solver(cfg, detector)
    return detector.resolve(cfg)


def _join_norms(cfg: Any, processes: int) -> None:
    """Lets every norm of several processes see the joined batch, as one process does."""
    joined = "naiveSyncBN_N" if cfg.MODEL.DEVICE == "cpu" else "SyncBN"  # torch's SyncBatchNorm knows GPUs alone
    for part in (cfg.MODEL.RESNETS, cfg.MODEL.FPN, cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_MASK_HEAD):
        if processes > 1 and part.NORM in ("BN", "SyncBN"):
            part.NORM = joined


def _image(cfg: Any, detector: Detector) -> None:
    cfg.INPUT.FORMAT, cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = "RGB", MEAN, STD
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = detector.sizes, detector.sizes[-1]
    longest = round(max(detector.sizes) * LONGEST)
    cfg.INPUT.MAX_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TEST = longest, longest
    cfg.INPUT.RANDOM_FLIP = "horizontal" if detector.flip else "none"
    cfg.DATALOADER.NUM_WORKERS = detector.workers


def _resnet(cfg: Any, detector: Detector, norm: str) -> None:
    resnet = RESNETS[detector.encoder]
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.NORM = resnet.depth, norm
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False  # torchvision strides in the 3x3 convolution
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = resnet.channels
    cfg.MODEL.BACKBONE.FREEZE_AT = detector.freeze


def _proposals(cfg: Any, detector: Detector) -> None:
    rpn, kept = cfg.MODEL.RPN, detector.proposals
    rpn.PRE_NMS_TOPK_TRAIN, rpn.POST_NMS_TOPK_TRAIN = kept[:2]
    rpn.PRE_NMS_TOPK_TEST, rpn.POST_NMS_TOPK_TEST = kept[2:]
    rpn.BATCH_SIZE_PER_IMAGE, cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = detector.rpn, detector.rois


def _solver(cfg: Any, detector: Detector) -> None:
    solver, last = cfg.SOLVER, detector.iterations
    solver.MAX_ITER, solver.IMS_PER_BATCH, solver.BASE_LR = last, detector.batch, detector.lr
    # detectron2 wants each step below MAX_ITER, which a run of a few iterations can miss by rounding
    solver.STEPS = tuple(step for step in (round(part * last) for part in detector.decay) if 0 < step < last)
    solver.WARMUP_ITERS = detector.warmup
    solver.CLIP_GRADIENTS.ENABLED = detector.clip is not None
    solver.CLIP_GRADIENTS.CLIP_TYPE, solver.CLIP_GRADIENTS.CLIP_VALUE = "norm", detector.clip or 0.0
    cfg.TEST.PRECISE_BN.ENABLED, cfg.TEST.PRECISE_BN.NUM_ITER = detector.precise_bn > 0, detector.precise_bn


def _fpn(cfg: Any, detector: Detector) -> None:
    """Detectron2's configs/Base-RCNN-FPN.yaml, with a norm in the FPN: without it the slim one diverges."""
    levels = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = levels
    cfg.MODEL.FPN.OUT_CHANNELS = detector.channels
    cfg.MODEL.FPN.NORM = "BN" if cfg.MODEL.RESNETS.NORM == "FrozenBN" else cfg.MODEL.RESNETS.NORM
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[size] for size in detector.anchors]
    cfg.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    cfg.MODEL.ROI_HEADS.NAME, cfg.MODEL.ROI_HEADS.IN_FEATURES = "StandardROIHeads", ["p2", "p3", "p4", "p5"]
    box = cfg.MODEL.ROI_BOX_HEAD
    box.NAME, box.NUM_FC, box.FC_DIM, box.POOLER_RESOLUTION = "FastRCNNConvFCHead", 2, detector.fc, detector.pool or 7


def _c4(cfg: Any, detector: Detector) -> None:
    """Detectron2's configs/Base-RCNN-C4.yaml with MoCo's norm behind res5 (METHODS 10.2)."""
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res4"]
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = detector.pool or 14
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [list(detector.anchors)]
    cfg.MODEL.ROI_HEADS.NAME, cfg.MODEL.ROI_HEADS.IN_FEATURES = register_head(), ["res4"]


FAMILIES: dict[str, Callable[[Any, Detector], None]] = {"fpn": _fpn, "c4": _c4}
CHOICES: dict[str, Sequence[Any]] = {
    "encoder": tuple(RESNETS),
    "family": tuple(FAMILIES),
    "norm": ("BN", "FrozenBN", "SyncBN"),
    "freeze": range(6),
    "year": (2007, 2012),
}
LEAST = {
    **dict.fromkeys(("channels", "fc", "anchors", "proposals", "rpn", "rois", "iterations", "batch"), 1),
    **dict.fromkeys(("warmup", "precise_bn", "workers"), 0),
    "sizes": 32,  # px: the stride of res5
}


@cache
def register_head() -> str:
    """The registered name of MoCo's C4 head, which here has the ResNet's own last stage, whichever it is.

    Detectron2 hard-codes three bottlenecks, so that R18's and R34's layer4 would silently stay behind.
    """
    from detectron2.layers import get_norm
    from detectron2.modeling import ROI_HEADS_REGISTRY
    from detectron2.modeling.backbone.resnet import BasicBlock, ResNet
    from detectron2.modeling.roi_heads import Res5ROIHeads
    from torch import nn

    class Res5ROIHeadsExtraNorm(Res5ROIHeads):  # type: ignore[misc]
        @classmethod
        def _build_res5_block(cls, cfg: Any) -> tuple[nn.Sequential, int]:
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


# --- fine-tuning


def _fine_tune(cfg: Any, folder: Path, key: str, evaluator: Callable[[str], Any]) -> dict[str, dict[str, float]]:
    from detectron2.utils.env import seed_all_rng
    from PIL import EpsImagePlugin

    EpsImagePlugin.gs_binary = False  # else Pillow has Ghostscript run any image of detectron2's that is PostScript
    seed_all_rng(cfg.SEED)
    model = build(cfg)
    _train(cfg, model, folder, key)
    return _test(cfg, model, evaluator)


def identity(cfg: Any, backbone: Path, data: Any) -> str:
    """Of all that decides a fine-tuning: settings, backbone, data and code; only an equal one's checkpoint is its."""
    sources = [file.read_bytes() for file in (backbone, *sorted(Path(__file__).parents[1].rglob("*.py")))]
    parts = [cfg.dump().encode(), data.fingerprint.encode(), *sources]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def build(cfg: Any) -> nn.Module:
    """Detectron2's model with the converted backbone of MODEL.WEIGHTS in it."""
    import torch
    from detectron2.modeling import build_model

    model: nn.Module = build_model(cfg)
    load_into(model, torch.load(cfg.MODEL.WEIGHTS, weights_only=True))
    if cfg.SOLVER.AMP.ENABLED:
        train_in_bf16(model)
    return model


def train_in_bf16(model: nn.Module) -> None:
    """Let the forward pass with gradients run under autocast, channels last; precise BN and the test stay fp32."""
    import torch
    from detectron2.modeling.poolers import ROIPooler

    forward, device = model.forward, next(model.parameters()).device.type

    def mixed(images: Any) -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=torch.is_grad_enabled()):
            return forward(images)

    model.to(memory_format=torch.channels_last)
    model.forward = mixed
    for pooler in (part for part in model.modules() if isinstance(part, ROIPooler)):
        # detectron2 gives the boxes the features' type, and in bf16 a coordinate near 1,000 px is off by up to 2
        pooler.register_forward_pre_hook(lambda _, given: ([level.float() for level in given[0]], *given[1:]))


def _train(cfg: Any, model: nn.Module, folder: Path, key: str) -> None:
    """Run detectron2's SimpleTrainer from where the checkpoint stands; loss and gradient are checked before use."""
    from detectron2.engine import SimpleTrainer
    from detectron2.solver import build_lr_scheduler, build_optimizer
    from detectron2.utils import comm
    from tqdm import tqdm

    from benchmarks.detection.loader import batch_names, train_loader
    from benchmarks.resuming.loading import loaded
    from benchmarks.resuming.training import Saver, Training

    last, optimizer = cfg.SOLVER.MAX_ITER, build_optimizer(cfg, model)
    optimizer.register_step_pre_hook(lambda *_: check_gradients(model))
    scheduler = build_lr_scheduler(cfg, optimizer)
    trainer = SimpleTrainer(model, (), optimizer)
    tuning = Tuning(trainer, Training(model, optimizer), key)
    checkpoint = Checkpoint(folder / CHECKPOINT)
    with tqdm(total=last, desc="fine-tune", unit="it", disable=_silent()) as bar, stop_signals() as stopped:
        saver = Saver(checkpoint, lambda: tuning.state, stopped)
        trainer.register_hooks(_hooks(cfg, tuning, scheduler, saver, folder / METRICS, bar))
        if comm.is_main_process():
            checkpoint.resume(tuning.take)
        if comm.get_world_size() > 1:
            tuning.training.distribute()
        trainer.model, done = tuning.training.network, tuning.training.step
        set_rates(optimizer, scheduler, done)
        trim(folder / METRICS, "iteration", done)
        bar.update(done)
        trainer.data_loader = loaded(train_loader(cfg, done))
        try:
            trainer.train(done, last)
        except FloatingPointError as error:
            what = "gradient" if str(error) == GRADIENT else "loss"
            at = f"iteration {trainer.iter} with lr={cfg.SOLVER.BASE_LR}"
            line = f"the fine-tuning's {what} is not finite at {at}: lower it; its images: "
            raise DetectionError(line + ", ".join(batch_names(cfg, trainer.iter))) from None


def check_gradients(model: nn.Module) -> None:
    """Raise FloatingPointError, as detectron2 does for the loss, if a gradient is not finite."""
    from benchmarks.resuming.training import all_finite, gradients

    if not all_finite(gradients(model)):
        raise FloatingPointError(GRADIENT)


def set_rates(optimizer: Optimizer, scheduler: LRScheduler, step: int) -> None:
    """Give every group of weights the learning rate of a step."""
    scheduler.last_epoch = step
    for group, rate in zip(optimizer.param_groups, scheduler.get_lr(), strict=True):
        group["lr"] = rate


@dataclass
class Tuning:
    """A fine-tuning as a checkpoint holds it: the training, and the curve's last values, which its medians need."""

    trainer: SimpleTrainer
    training: Training
    key: str  # see identity
    history: Mapping[str, tuple[bool, list[tuple[float, int]]]] = field(default_factory=dict)

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint holds; history: name → whether it is smoothed, (value, iteration)s."""
        storage = self.trainer.storage
        hints = storage.smoothing_hints()
        history = {name: (hints[name], past.values()[-WINDOW:]) for name, past in storage.histories().items()}
        return {**self.training.state, "history": history, "key": self.key}

    def take(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, unless it is another fine-tuning's."""
        if state["key"] != self.key:
            print("the checkpoint is of other settings, data, code or weights: from the first iteration on")
            return
        self.training.take(state)
        self.history = state["history"]

    def restore_history(self, trainer: SimpleTrainer) -> None:
        """Put the curve's last values into detectron2's storage."""
        for name, (smoothed, past) in self.history.items():
            for value, iteration in past:
                trainer.storage.put_scalar(name, value, smoothing_hint=smoothed, cur_iter=iteration)


def _silent() -> bool | None:
    """What tqdm disables: None, a bar that no terminal shows, and every bar of a rank beside the first."""
    from detectron2.utils import comm

    return None if comm.is_main_process() else True


def _hooks(
    cfg: Any, tuning: Tuning, scheduler: LRScheduler, saver: Saver, metrics: Path, bar: tqdm[Any]
) -> list[HookBase]:
    from detectron2.engine import hooks
    from detectron2.utils import comm

    from benchmarks.detection.loader import seed_step, train_loader
    from benchmarks.resuming.loading import loaded

    training, last, leads = tuning.training, cfg.SOLVER.MAX_ITER, comm.is_main_process()

    def show(trainer: SimpleTrainer) -> None:
        bar.set_postfix(loss=f"{trainer.storage.latest()['total_loss'][0]:.3f}", refresh=False)
        bar.update()

    def keep(trainer: SimpleTrainer) -> None:
        training.step = trainer.iter + 1
        ended = training.step == last
        if leads and (training.step % max(1, last // 100) == 0 or ended):
            write_point(trainer.storage, metrics)
        saver.after_step(ended)

    found = [
        hooks.CallbackHook(
            before_train=tuning.restore_history,
            before_step=lambda trainer: seed_step(cfg.SEED, trainer.iter, comm.get_rank()),
            after_step=show if leads else None,  # the losses come together in the first process
        ),
        hooks.IterationTimer(),
        hooks.LRScheduler(training.optimizer, scheduler),
    ]
    if cfg.TEST.PRECISE_BN.ENABLED:
        batches = loaded(train_loader(cfg, last))
        found.append(hooks.PreciseBN(0, training.model, batches, cfg.TEST.PRECISE_BN.NUM_ITER))
    return [*found, hooks.CallbackHook(after_step=keep)]


def write_point(storage: Any, metrics: Path) -> None:
    """Append what detectron2's storage knows of this iteration, as its JSONWriter has it: one line, on the disk."""
    found = storage.latest_with_smoothing_hint(WINDOW)
    point = {name: value for name, (value, iteration) in found.items() if iteration == storage.iter}
    append(metrics, dict(sorted({**point, "iteration": storage.iter}.items())))


def _test(cfg: Any, model: nn.Module, evaluator: Callable[[str], Any]) -> dict[str, dict[str, float]]:
    from detectron2.evaluation import inference_on_dataset
    from tqdm import tqdm

    from benchmarks.resuming.loading import loaded

    name = cfg.DATASETS.TEST[0]
    loader = evaluation_loader(cfg, name)
    with tqdm(loaded(loader), desc="test", total=len(loader), disable=_silent()) as batches:
        found: dict[str, dict[str, float]] = inference_on_dataset(model, batches, evaluator(name))
    return found


def evaluation_loader(cfg: Any, name: str) -> Any:
    """Images one by one, as detectron2 has it, or in batches if they need no padding: twice as fast."""
    from detectron2.data import DatasetCatalog, build_detection_test_loader

    from benchmarks.resuming.loading import ignore_signals

    shapes = {(image["height"], image["width"]) for image in DatasetCatalog.get(name)}
    batch = cfg.SOLVER.IMS_PER_BATCH if len(shapes) == 1 else 1
    loader = build_detection_test_loader(cfg, name, batch_size=batch)
    loader.worker_init_fn = ignore_signals
    return loader


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Detectron2's log, all warnings and what COCO's evaluation prints go to the file and nowhere else."""
    handler = logging.FileHandler(path, encoding="utf-8")  # appends: a fine-tuning that goes on keeps its log
    handler.handleError = broken_log  # type: ignore[method-assign]
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    handler.addFilter(without_path)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logging.captureWarnings(True)
    try:
        with redirect_stdout(handler.stream):
            yield
    finally:
        logging.captureWarnings(False)
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()


def broken_log(record: logging.LogRecord) -> NoReturn:
    """Raise the error that the log could not be written for, instead of printing it with its traceback."""
    raise


def without_path(record: logging.LogRecord) -> bool:
    """Always true; a warning loses the machine's path to the code that gave it, since the log may be published."""
    if record.name == "py.warnings":
        record.msg, record.args = record.getMessage().partition(": ")[2].splitlines()[0], None
    return True


# --- data


@contextmanager
def registered(voc: Voc, name: str) -> Iterator[tuple[str, str]]:
    """Both splits under names of their own in detectron2's catalogs, and gone from there afterwards."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    names = f"{name}-train", f"{name}-test"
    for split, records in zip(names, (voc.train, voc.test), strict=True):
        DatasetCatalog.register(split, partial(dataset, records, voc.classes))
        MetadataCatalog.get(split).set(thing_classes=list(voc.classes))
    try:
        yield names
    finally:
        forget(names)


def forget(names: Sequence[str]) -> None:
    """Takes the data sets from detectron2's catalogs."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def dataset(split: Sequence[Record], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The records in detectron2's format, with what is difficult, which only the evaluation reads."""
    from detectron2.structures import BoxMode

    def annotation(box: Sequence[float], label: str, difficult: bool) -> dict[str, Any]:
        where = {"bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS}
        return {**where, "category_id": classes.index(label), "difficult": difficult}

    return [
        {
            "file_name": str(record.jpeg),
            "image_id": record.id,
            "height": record.height,
            "width": record.width,
            "annotations": [
                annotation(*one) for one in zip(record.boxes, record.labels, record.difficult, strict=True)
            ],
        }
        for record in split
    ]
