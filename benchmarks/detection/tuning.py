"""Fine-tuning: detectron2's SimpleTrainer, resumable at any iteration, with loss and gradients checked before use."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase, SimpleTrainer, hooks
from detectron2.modeling import build_model
from detectron2.modeling.poolers import ROIPooler
from detectron2.solver import build_lr_scheduler, build_optimizer
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventStorage
from PIL import EpsImagePlugin
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from benchmarks import Data
from benchmarks.detection import CHECKPOINT, CURVE
from benchmarks.detection.catalog import Entry
from benchmarks.detection.config import DetectionError
from benchmarks.detection.convert import load_into
from benchmarks.detection.loader import batch_names, seed_step, train_loader
from benchmarks.resuming.checkpoints import Checkpoint, State
from benchmarks.resuming.files import append, trim
from benchmarks.resuming.loading import loaded
from benchmarks.resuming.progress import Progress
from benchmarks.resuming.signals import stop_signals
from benchmarks.resuming.training import Saver, Training, all_finite, gradients
from benchmarks.sources import benchmark_code, hashes, own_files

GRADIENT = "a gradient is not finite"
WINDOW = 20  # iterations over which the curve's medians go: detectron2's


def fine_tune(cfg: CfgNode, folder: Path, key: str) -> nn.Module:
    """Return the model after the last iteration, trained from where the folder's checkpoint of this key stands."""
    EpsImagePlugin.gs_binary = False  # else Pillow has Ghostscript run any image of detectron2's that is PostScript
    seed_all_rng(cfg.SEED)
    model = build(cfg)
    train(cfg, model, folder, key)
    return model


def identity(cfg: CfgNode, backbone: Path, data: Data, benchmark: type) -> str:
    """Return a hash of all that decides a fine-tuning: settings, backbone, data and the benchmark's code.

    A checkpoint of another key is another fine-tuning's.
    """
    code = [benchmark_code(benchmark), *hashes(own_files(benchmark)).values()]
    parts = [text.encode() for text in (cfg.dump(), data.fingerprint, *code)] + [backbone.read_bytes()]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def build(cfg: CfgNode) -> nn.Module:
    """Return detectron2's model with the converted backbone of MODEL.WEIGHTS in it."""
    model: nn.Module = build_model(cfg)
    load_into(model, torch.load(cfg.MODEL.WEIGHTS, weights_only=True))
    if cfg.SOLVER.AMP.ENABLED:
        train_in_bf16(model)
    return model


def train_in_bf16(model: nn.Module) -> None:
    """Let the forward pass with gradients run under autocast, channels last; precise BN and the test stay fp32."""
    forward, device = model.forward, next(model.parameters()).device.type

    def mixed(images: list[Entry]) -> object:
        with torch.autocast(device, torch.bfloat16, enabled=torch.is_grad_enabled()):
            return forward(images)

    model.to(memory_format=torch.channels_last)
    model.forward = mixed
    for pooler in (part for part in model.modules() if isinstance(part, ROIPooler)):
        # detectron2 gives the boxes the features' type, and in bf16 a coordinate near 1,000 px is off by up to 2
        pooler.register_forward_pre_hook(lambda _, args: ([level.float() for level in args[0]], *args[1:]))


def train(cfg: CfgNode, model: nn.Module, folder: Path, key: str) -> None:
    """Make every iteration from where the checkpoint stands to the last; raise DetectionError where one fails."""
    last, optimizer = cfg.SOLVER.MAX_ITER, build_optimizer(cfg, model)
    optimizer.register_step_pre_hook(lambda *_: check_gradients(model))
    scheduler = build_lr_scheduler(cfg, optimizer)
    trainer, training = SimpleTrainer(model, (), optimizer), Training(model, optimizer)
    tuning, checkpoint = Tuning(trainer, training, key), Checkpoint(folder / CHECKPOINT)
    leads = comm.is_main_process()
    with stop_signals() as stopped:
        if leads:
            checkpoint.resume(tuning.take)
        if comm.get_world_size() > 1:
            training.distribute()
        trainer.model, done = training.network, training.step
        set_rates(optimizer, scheduler, done)
        trim(folder / CURVE, "iteration", done)
        saver = Saver(checkpoint, lambda: tuning.state, stopped)
        progress = Progress[None]("fine-tune", "iterations", last, done, leads)
        trainer.register_hooks(build_hooks(cfg, tuning, scheduler, saver, folder / CURVE, progress))
        trainer.data_loader = loaded(train_loader(cfg, done))
        try:
            with progress:
                trainer.train(done, last)
        except FloatingPointError as error:
            what = "gradient" if str(error) == GRADIENT else "loss"
            at = f"iteration {trainer.iter} with lr={cfg.SOLVER.BASE_LR}"
            line = f"the fine-tuning's {what} is not finite at {at}: lower it; its images: "
            raise DetectionError(line + ", ".join(batch_names(cfg, trainer.iter))) from None


def check_gradients(model: nn.Module) -> None:
    """Raise FloatingPointError, as detectron2 does for the loss, if a gradient is not finite."""
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
    def state(self) -> State:
        """What a checkpoint holds; history: name → whether it is smoothed, (value, iteration)s."""
        storage = self.trainer.storage
        hints = storage.smoothing_hints()
        history = {name: (hints[name], past.values()[-WINDOW:]) for name, past in storage.histories().items()}
        return {**self.training.state, "history": history, "key": self.key}

    def take(self, state: State) -> None:
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


def build_hooks(
    cfg: CfgNode, tuning: Tuning, scheduler: LRScheduler, saver: Saver, curve: Path, progress: Progress[None]
) -> list[HookBase]:
    """Return what detectron2 does around each iteration: seeds, rates, precise BN, curve, progress and checkpoint."""
    training, last, leads = tuning.training, cfg.SOLVER.MAX_ITER, comm.is_main_process()

    def show(trainer: SimpleTrainer) -> None:
        progress.note(f"loss {trainer.storage.latest()['total_loss'][0]:.3f}")
        progress.advance()

    def keep(trainer: SimpleTrainer) -> None:
        training.step = trainer.iter + 1
        ended = training.step == last
        if leads and (training.step % max(1, last // 100) == 0 or ended):
            write_point(trainer.storage, curve)
        saver.after_step(ended)

    made = [
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
        made.append(hooks.PreciseBN(0, training.model, batches, cfg.TEST.PRECISE_BN.NUM_ITER))
    return [*made, hooks.CallbackHook(after_step=keep)]


def write_point(storage: EventStorage, curve: Path) -> None:
    """Append what detectron2's storage knows of this iteration, as its JSONWriter does."""
    latest = storage.latest_with_smoothing_hint(WINDOW)
    point = {name: value for name, (value, iteration) in latest.items() if iteration == storage.iter}
    append(curve, dict(sorted({**point, "iteration": storage.iter}.items())))
