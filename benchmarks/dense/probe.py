"""What benchmarks that read labels of pixels from frozen cells share: settings, one reading of all images, scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from benchmarks import Cost
from benchmarks.dense import agreement, hashed, seed_of, segmentation
from benchmarks.dense.frozen import FORWARD, Frozen
from benchmarks.dense.segmentation import Pair, Segmentation

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.dense.cells import ResNet

KEPT = 102_400  # training cells at most, equally many an image
CONTROL = "colour_"  # how the names of the scores of six numbers of colour begin


class Cells(NamedTuple):
    """Cells of N images."""

    ids: tuple[str, ...]  # N, the images' names
    features: Tensor  # [N, k, D]
    shares: Tensor  # [N, k, C] of each learnt class among the cell's pixels that are not void
    valid: Tensor  # [N, k] bool: at most half void, and not only classes that were not learnt


class Prediction(NamedTuple):
    """What a benchmark of this kind tells of the N images' k test cells."""

    log_p: Tensor  # [N, k, C] log-probabilities
    votes: Tensor  # [N, k, C] what is brought to the labels' size, where the largest wins: logits or probabilities
    fair: Tensor  # [N, k, C] the votes freed of the prior
    facts: dict[str, object]  # for the record


@dataclass(frozen=True)
class Weights:
    """A backbone's file, the same wherever its bytes are."""

    sha256: str
    encoder: str
    file: Path = field(compare=False)


class Reading(NamedTuple):
    """What is read of a data set once for all benchmarks."""

    train: Cells  # k of each image's cells in random order
    test: Cells  # all, row-major
    colours: tuple[Tensor, Tensor]  # [N, k, 6] mean and mean square of R, G and B of the same cells
    labels: Tensor  # [N, S, S] classes of the test images' pixels


@dataclass(frozen=True)
class Probe(Frozen[Segmentation]):
    """A benchmark that tells labels of pixels from frozen cells."""

    least: ClassVar[Mapping[str, int]] = {"calibrate": 0}
    # of every score; the gain of a prediction worse than the prior's has no least value
    score_range: ClassVar[tuple[float, float] | None] = (float("-inf"), 100.0)

    stage: int = 4  # that is read
    stride: int = 16  # px of a cell of stage 4: 32, or by dilation 16 or 8
    calibrate: int = 256  # train images that the norms' statistics are measured on, for every backbone alike; 0: stored
    grey: bool = False  # images in grey
    absent: str = "present"  # how the mean IoU treats classes that are absent: present, zero, nan or macro

    def __post_init__(self) -> None:
        """Raise ValueError for settings that nothing can be read by."""
        super().__post_init__()
        choices = {"stage": (3, 4), "stride": (8, 16, 32), "absent": agreement.RULES}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)}: must be one of {', '.join(map(str, allowed))}")
        if self.size < self.stride or self.size % self.stride:
            raise ValueError(f"size={self.size}: must be a multiple of stride={self.stride}")

    def prepare(self, data: Path | None, cache: Path) -> Segmentation:
        """Return a folder's labelled images or the embedded scenes; DataError for masks that do not fit."""
        return segmentation.read(data or self.scenes(cache), cache)

    def evaluate(
        self, backbone: Path, data: Segmentation, folder: Path, seed: int, device: str = "cpu"
    ) -> dict[str, float]:
        """Return the scores of the backbone's cells, and beside them those of six numbers of colour a cell.

        `seed` decides what is drawn. folder keeps the facts of both.
        """
        weights = Weights(hashlib.sha256(backbone.read_bytes()).hexdigest(), self.encoder, backbone)
        reading = read(weights, data, (self.size, self.stage, self.stride, self.calibrate, self.grey), device)
        scores, facts = self.judge(reading.train, reading.test, reading.labels, data, seed)
        train, test = (cells._replace(features=six) for cells, six in zip(reading[:2], reading.colours, strict=True))
        control, more = self.judge(train, test, reading.labels, data, seed)
        self.keep(folder, {"backbone": facts, "colour": more})
        return scores | {f"{CONTROL}{name}": score for name, score in control.items()}

    def judge(
        self, train: Cells, test: Cells, labels: Tensor, data: Segmentation, seed: int
    ) -> tuple[dict[str, float], dict[str, object]]:
        """Return the scores of cells of two splits, labels [N, S, S] of the tested ones, and facts for the record."""
        told = self.predict(train, test, seed)
        scores, facts = self.by_threshold(told, labels, data)
        kept, shares, prior = test.valid, test.shares[test.valid].double(), prior_of(train)
        log_p = told.log_p[kept].double()
        free = {"gain": agreement.gain(log_p, shares, prior), "auroc": agreement.auroc(log_p, shares)}
        return free | scores, {**told.facts, "ceiling of gain": agreement.ceiling(shares, prior), **facts}

    def predict(self, train: Cells, test: Cells, seed: int) -> Prediction:
        """Return what is told of the test cells; a benchmark of this kind defines this or judge."""
        raise NotImplementedError

    def by_threshold(
        self, told: Prediction, labels: Tensor, data: Segmentation
    ) -> tuple[dict[str, float], dict[str, object]]:
        """Return mIoU, mAcc and pixel accuracy, of foreground pixels alone `fg`, in per cent, and their confusion."""
        import torch
        from torch.nn import functional as F

        side, classes = round(told.votes.shape[1] ** 0.5), len(data.values)
        counts, front = (torch.zeros(count, count, dtype=torch.long) for count in (classes, data.learnt))
        known = data.values[: data.learnt]
        back = known.index(0) if 0 in known and data.learnt > 2 else None
        for votes, fair, truth in zip(*(part.split(50) for part in (told.votes, told.fair, labels)), strict=True):
            wide, even = (
                F.interpolate(part.mT.unflatten(2, (side, side)).float(), size=truth.shape[1:], mode="bilinear")
                for part in (votes, fair)
            )
            counts += agreement.confusion(truth, wide.argmax(1), classes, classes)
            if back is not None:
                even[:, back] = -torch.inf
                inside = torch.where((truth < data.learnt) & (truth != back), truth, agreement.VOID)
                front += agreement.confusion(inside, even.argmax(1), data.learnt, data.learnt)
        pixels, mean = agreement.accuracies(counts)
        scores = {"fg": agreement.accuracies(front)[1]} if front.sum() else {}
        scores |= {"mIoU": agreement.mean_iou(counts, self.absent), "mAcc": mean, "pixel_acc": pixels}
        each = [None if iou != iou else 100 * iou for iou in agreement.ious(counts).tolist()]
        return scores, {"values": data.values, "IoU": each, "confusion": counts.tolist()}

    def test_images(self, data: Segmentation) -> list[Path]:
        """Return the images that it tests on."""
        return [pair.image for pair in data.test]

    def notes(self, data: Segmentation) -> list[str]:
        """Return what is unusual of the labels."""
        return [*data.notes]

    def cost(self) -> Cost:
        """Return what one pass over all images costs; what follows is a small part."""
        count = self.train + self.test
        return Cost(f"one pass over {count:,} images at {self.size} px, nothing trained", 2 * count, self.size, FORWARD)


def prior_of(train: Cells) -> Tensor:
    """Return the mean share [C] of each class among the training cells."""
    shares: Tensor = train.shares[train.valid].double().mean(0)
    return shares.clamp(min=1e-12)


@lru_cache(maxsize=1)
def read(weights: Weights, data: Segmentation, asked: tuple[int, int, int, int, bool], device: str) -> Reading:
    """Return the cells of both splits; benchmarks of one process that ask the same share one reading.

    asked: size, stage, stride, calibrate and grey.
    """
    import torch

    from benchmarks.dense.cells import BATCH, ResNet

    size, stage, stride, calibrate, grey = asked
    network = ResNet(weights.file, weights.encoder, device)
    first = sorted(data.train, key=lambda pair: hashed(pair.id))[:calibrate]
    with torch.inference_mode():
        starts = range(0, len(first), BATCH)
        network.calibrate((pictures(first[at : at + BATCH], size, grey) for at in starts), stride)
        train = cells_of(network, data, data.train, (size, stage, stride, grey), max(1, KEPT // len(data.train)))
        test = cells_of(network, data, data.test, (size, stage, stride, grey), None)
    labels = torch.stack([segmentation.labels(data, pair, size) for pair in data.test])
    return Reading(train[0], test[0], (train[1], test[1]), labels)


def pictures(pairs: Sequence[Pair], size: int, grey: bool) -> Tensor:
    """Return whole images [B, 3, S, S] uint8."""
    import torch
    from PIL import Image

    from benchmarks.dense.images import opened, tensor

    images = [opened(pair.image).resize((size, size), Image.Resampling.BILINEAR) for pair in pairs]
    return torch.stack([tensor(image.convert("L").convert("RGB") if grey else image) for image in images])


def cells_of(
    network: ResNet, data: Segmentation, pairs: Sequence[Pair], asked: tuple[int, int, int, bool], most: int | None
) -> tuple[Cells, Tensor]:
    """Return the cells of some images and their colours; `most` of each in random order, or all in theirs."""
    import torch

    from benchmarks.dense.cells import BATCH

    size, stage, stride, grey = asked
    parts: list[list[Tensor]] = [[], [], [], []]
    for at in range(0, len(pairs), BATCH):
        batch = pairs[at : at + BATCH]
        images = pictures(batch, size, grey)
        maps = network.read([images], (stage,), stride)[stage].cpu()
        side = maps.shape[-1]
        masks = torch.stack([segmentation.labels(data, pair, size) for pair in batch])
        shares = torch.stack([(masks == c).float() for c in range(data.learnt)], 1)
        bright = images.float() / 255
        known, six = (pooled(each, side) for each in (shares, torch.cat([bright, bright**2], 1)))
        whole = known.sum(2)
        seen = pooled((masks != agreement.VOID)[:, None].float(), side)[..., 0]
        valid = (seen >= 0.5) & (whole > 0)
        known = known / whole.clamp(min=1e-12)[..., None]
        chosen = [order(pair.id, side**2)[:most] if most else torch.arange(side**2) for pair in batch]
        picked = torch.stack(chosen)
        for part, values in zip(parts, (maps.flatten(2).mT, known, valid[..., None], six), strict=True):
            part.append(values.gather(1, picked[..., None].expand(-1, -1, values.shape[2])))
    features, known, valid, six = map(torch.cat, parts)
    return Cells(tuple(pair.id for pair in pairs), features, known, valid[..., 0]), six


def order(id: str, count: int) -> Tensor:
    """Return the random order [count] of an image's cells, by its name."""
    import torch

    return torch.randperm(count, generator=torch.Generator().manual_seed(seed_of(id)))


def pooled(pixels: Tensor, side: int) -> Tensor:
    """Return the means [B, side², P] of pixels [B, P, S, S] over each cell."""
    from torch.nn import functional as F

    return F.avg_pool2d(pixels, pixels.shape[-1] // side).flatten(2).mT
