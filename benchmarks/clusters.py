"""Clusters of frozen cells, and how well classes can be read off them (Leopart, PiCIE); labels only assign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmarks.dense import agreement
from benchmarks.dense.probe import Cells, Probe
from benchmarks.dense.segmentation import Segmentation

if TYPE_CHECKING:
    from torch import Generator, Tensor

DIMENSIONS = 50  # principal components that are kept
ITERATIONS = 100  # of Lloyd's algorithm, at most
FEWEST = 50  # cells a cluster, where the number of clusters follows from that of cells


@dataclass(frozen=True)
class Clusters(Probe):
    """K-means of frozen cells, then assigned to classes."""

    name: ClassVar[str] = "clusters"
    least: ClassVar[Mapping[str, int]] = {**Probe.least, "over": 1, "starts": 1}

    over: int = 500  # clusters of the finer clustering, at most one for every 50 cells
    starts: int = 5  # clusterings, whose scores are averaged

    def judge(
        self, train: Cells, test: Cells, labels: Tensor, data: Segmentation, seed: int
    ) -> tuple[dict[str, float], dict[str, object]]:
        """Return the scores of clusters, in per cent, each the mean over the starts; facts have their deviations.

        `gain` is the share of the labels' entropy that a cell's cluster tells; `purity` the largest class's share.
        """
        import torch

        x = components(test.features.flatten(0, 1).double())
        shares, kept = test.shares.flatten(0, 1).double(), test.valid.flatten()
        classes, many = len(data.values), max(1, min(self.over, int(kept.sum()) // FEWEST))
        found: dict[str, list[float]] = {"gain": [], "mIoU": [], "mIoU_over": [], "purity": []}
        for start in range(self.starts):
            draw = torch.Generator().manual_seed(seed * self.starts + start)
            coarse, fine = (counted(kmeans(x, count, draw), test, labels, classes) for count in (classes, many))
            joint = torch.zeros(many, shares.shape[1], dtype=torch.double)
            joint.index_add_(0, fine[1][kept], shares[kept])
            found["gain"].append(told(joint))
            found["purity"].append(100 * float(joint.amax(1).sum() / joint.sum()))
            found["mIoU"].append(agreement.mean_iou(joined(coarse[0], matched(coarse[0])), self.absent))
            found["mIoU_over"].append(agreement.mean_iou(joined(fine[0], fine[0].argmax(0)), self.absent))
        runs = {name: torch.tensor(values, dtype=torch.double) for name, values in found.items()}
        spread = {name: float(values.std(correction=0)) for name, values in runs.items()}
        return {name: float(values.mean()) for name, values in runs.items()}, {"clusters": many, "deviations": spread}


def components(x: Tensor) -> Tensor:
    """Return the principal components [n, 50] of standardised features [n, D], single precision."""
    import torch

    spread = x.std(0, correction=0)
    x = (x - x.mean(0)) / torch.where(spread == 0, 1.0, spread)
    directions = torch.linalg.eigh(x.T @ x / len(x)).eigenvectors.flip(1)[:, :DIMENSIONS]
    kept: Tensor = (x @ directions).float()
    return kept


def kmeans(x: Tensor, count: int, draw: Generator) -> Tensor:
    """Return the cluster [n] of each row, by k-means++ and Lloyd's algorithm.

    A cluster that loses its last row takes the one farthest from its centre; of equal distances the lower number wins.
    """
    import torch

    centres = x[torch.randint(len(x), (1,), generator=draw)]
    nearest = torch.cdist(x, centres)[:, 0] ** 2
    while len(centres) < min(count, len(x)) and nearest.sum() > 0:
        new = x[torch.multinomial(nearest, 1, generator=draw)]
        centres, nearest = torch.cat([centres, new]), nearest.minimum(torch.cdist(x, new)[:, 0] ** 2)
    before = None
    for _ in range(ITERATIONS):
        distance, cluster = torch.cdist(x, centres).min(1)
        if before is not None and torch.equal(cluster, before):
            break
        before = cluster
        sizes = torch.bincount(cluster, minlength=len(centres))
        centres = torch.zeros_like(centres).index_add_(0, cluster, x) / sizes.clamp(min=1)[:, None]
        for empty, row in zip((sizes == 0).nonzero()[:, 0], distance.argsort(descending=True), strict=False):
            centres[empty] = x[row]
    return cluster


def counted(cluster: Tensor, test: Cells, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return how many pixels of each class are in each cluster [G, K], cells as blocks of pixels, and the clusters."""
    cells = test.valid.shape[1]
    side = round(cells**0.5)
    wide = cluster.reshape(-1, side, side)
    for dim in (1, 2):
        wide = wide.repeat_interleave(labels.shape[1] // side, dim)
    return agreement.confusion(labels, wide, classes, int(cluster.max()) + 1), cluster


def told(joint: Tensor) -> float:
    """Return the mutual information of clusters and classes over the classes' entropy, per cent, by weights [K, C]."""
    p = joint / joint.sum()
    rows, columns = p.sum(1, keepdim=True), p.sum(0, keepdim=True)
    seen = p > 0
    information = (p[seen] * (p / (rows * columns))[seen].log()).sum()
    return 100 * float(information / -(columns[columns > 0] * columns[columns > 0].log()).sum())


def matched(counts: Tensor) -> Tensor:
    """Return the class [K] of each cluster, one to one, with the largest sum of their IoUs; −1 without a class."""
    import torch
    from scipy.optimize import linear_sum_assignment

    iou = counts / (counts.sum(0) + counts.sum(1, keepdim=True) - counts).clamp(min=1)
    rows, columns = linear_sum_assignment(iou.numpy(), maximize=True)
    classes = torch.full((counts.shape[1],), -1)
    classes[torch.as_tensor(columns)] = torch.as_tensor(rows)
    return classes


def joined(counts: Tensor, classes: Tensor) -> Tensor:
    """Return the confusion [G, G] of counts [G, K] whose clusters are these classes [K]."""
    import torch

    confusion = torch.zeros(len(counts), len(counts), dtype=counts.dtype)
    return confusion.index_add_(1, classes[classes >= 0], counts[:, classes >= 0])


BENCHMARK = Clusters
