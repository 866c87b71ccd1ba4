"""Settings of a pre-training and nothing of the machine it runs on; [R] marks our own choices."""

from __future__ import annotations

from dataclasses import dataclass

from methods.encoder import ENCODERS, WIDTH
from methods.similarity import Similarity, cross_entropy

CELL = 32  # pixels a side, the stride of the encoder


def choose(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    require(name, value, value in choices, f"one of {', '.join(map(str, choices))}")


def require(name: str, value: object, holds: bool, what: str) -> None:
    """Raise ValueError with one line that names the field, its value and what it must be."""
    if not holds:
        raise ValueError(f"{name}={value}: must be {what}")


@dataclass(frozen=True)
class Heads:
    """Widths of the projector g (two hidden layers) and the predictor h (one), as in SimSiam (METHODS 2.2, 2.3)."""

    hidden: int | None = 512  # [R] of g; None: as wide as the backbone's output
    out: int = 512  # [R] C, channels of z and p
    predictor: int = 512  # [R] hidden width of h

    def __post_init__(self) -> None:
        """Raise ValueError for a layer without channels."""
        for name in ("hidden", "out", "predictor"):
            value = getattr(self, name)
            require(name, value, value is None or value >= 1, "at least 1")


@dataclass(frozen=True)
class Region:
    """Loss on soft regions (DenseSiam's RegionSim, METHODS 7)."""

    weight: float = 0.1  # beside the pairs' loss (DenseSiam's code)
    tau: float = 0.1  # temperature of the contrast (DenseSiam's code)
    start_epoch: int = 0  # [R] weight 0 before it; the released segmentation recipe starts two epochs before its end
    heads: Heads | None = None  # [R] None: as wide as the recipe's
    negatives: bool = True  # False: no contrast with the image's other regions, only −cosine
    stop_grad: bool = False  # True: no gradient to the predicted side
    mask_norm: bool = False  # True: a region is the mean of its cells, not their sum
    mask_detach: bool = False  # True: no gradient through the masks

    def __post_init__(self) -> None:
        """Raise ValueError for settings that no loss can be made from."""
        require("weight", self.weight, self.weight >= 0, "at least 0")
        require("tau", self.tau, self.tau > 0, "above 0")
        require("start_epoch", self.start_epoch, self.start_epoch >= 0, "at least 0")

    def weight_at(self, epoch: int) -> float:
        """Return the weight in an epoch, counted from 0."""
        return self.weight if epoch >= self.start_epoch else 0.0


@dataclass(frozen=True)
class Recipe:
    """One pre-training; the defaults are the paper's setting as far as METHODS 1.3, 2 and 14 can tell it."""

    encoder: str = "resnet50"  # one of methods.encoder.ENCODERS
    width: int = WIDTH  # channels of the encoder's stem; every layer is as much narrower, or wider, than torchvision's
    zero_init: bool = True  # residual branches start shut, at γ = 0 (SimSiam's code)
    size: int = 224  # pixels a side of a view
    epochs: int = 100  # [R]
    batch: int = 256  # [R] images a step
    lr: float = 0.05  # per 256 images, cosine per epoch (SimSiam, Section 4)
    fix_predictor_lr: bool = True  # the predictors' learning rate does not decay (SimSiam's fix-pred-lr)
    momentum: float = 0.9
    weight_decay: float = 1e-4  # on every parameter, biases and BatchNorm included
    precision: str = "fp32"  # or bf16: autocast, the matching and the losses stay fp32
    heads: Heads = Heads()
    similarity: Similarity = cross_entropy  # [R] of the dense rows; SimSiam has its own
    global_weight: float = 0.0  # [R] times SimSiam's loss beside the strategy's
    crop: float = 0.2  # smallest share of the source's area that a view shows (DenseSiam supplement)
    flip: float = 0.5  # share of mirrored views
    jitter: float = 0.8  # share of views with changed colours
    grey: float = 0.2  # share of grey views
    blur: float = 0.5  # [R] share of blurred views; the paper names none

    def __post_init__(self) -> None:
        """Raise ValueError for settings that no pre-training can be made from."""
        choose("encoder", self.encoder, ENCODERS)
        choose("precision", self.precision, ("fp32", "bf16"))
        for name in ("width", "size", "batch", "epochs"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("lr", "momentum", "weight_decay", "global_weight"):
            require(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        for name in ("crop", "flip", "jitter", "grey", "blur"):
            require(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "between 0 and 1")
        require("crop", self.crop, self.crop > 0, "above 0")
        lone = self.batch == 1 and self.size <= CELL
        require("batch", self.batch, not lone, f"at least 2 at size={self.size}: BatchNorm needs more than one cell")
