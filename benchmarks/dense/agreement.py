"""How predictions agree with labels: a confusion matrix and its averages, and three scores without a threshold.

C classes that the training images show come first; classes that only test images show follow and are never predicted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

VOID = 255
RULES = ("present", "zero", "nan", "macro")


def confusion(labels: Tensor, predicted: Tensor, classes: int, columns: int) -> Tensor:
    """Return how many pixels of each class [classes] were predicted as each of `columns`, without void pixels."""
    import torch

    seen = labels != VOID
    index = labels[seen].long() * columns + predicted[seen].long()
    return torch.bincount(index, minlength=classes * columns).reshape(classes, columns)


def ious(counts: Tensor) -> Tensor:
    """Return the intersection over union [G] of a confusion matrix [G, G]; NaN where a class is nowhere."""
    right = counts.diag().double()
    return right / (counts.sum(0) + counts.sum(1) - right)


def mean_iou(counts: Tensor, rule: str) -> float:
    """Return the mean intersection over union, in per cent, of a confusion matrix [G, G].

    rule: `zero` counts a class that is nowhere as 0 (Leopart), `nan` and `macro` leave it out (DINOv3, CAPI),
    `present` leaves out each class without a labelled pixel.
    """
    import torch

    each = ious(counts)
    if rule == "zero":
        return 100 * float(each.nan_to_num(0).mean())
    kept = counts.sum(1) > 0 if rule == "present" else ~torch.isnan(each)
    return 100 * float(each[kept].mean())


def accuracies(counts: Tensor) -> tuple[float, float]:
    """Return the share of right pixels and its mean over the classes that have pixels, in per cent."""
    rows = counts.sum(1)
    each = counts.diag().double()[rows > 0] / rows[rows > 0]
    return 100 * float(counts.diag().sum() / rows.sum()), 100 * float(each.mean())


def gain(log_p: Tensor, shares: Tensor, prior: Tensor) -> float:
    """Return how much of the labels' entropy predictions explain, in per cent: 0 is the prior's, below is worse.

    log_p [n, C] log-probabilities, shares [n, C] of each class in a cell, prior [C] of the training cells.
    """
    before = -(shares @ prior.log()).mean()
    after = -(shares * log_p).sum(1).mean()
    return 100 * float(1 - after / before)


def ceiling(shares: Tensor, prior: Tensor) -> float:
    """Return the gain of a prediction that equals the labels: below 100, since cells hold several classes."""
    return gain(shares.clamp(min=1e-300).log(), shares, prior)


def auroc(log_p: Tensor, shares: Tensor) -> float:
    """Return the mean area under the ROC of each class's log-odds [n, C] against the cells' largest share, per cent.

    Ties count half; a class that no cell, or every cell, has is left out.
    """
    import torch

    odds = log_p - torch.log1p(-log_p.exp().clamp(max=1 - 1e-12))
    largest, areas = shares.argmax(1), []
    for c in range(shares.shape[1]):
        own = largest == c
        positives, negatives = int(own.sum()), int((~own).sum())
        if positives and negatives:
            _, place, counts = odds[:, c].unique(return_inverse=True, return_counts=True)
            ranks = (counts.cumsum(0) - (counts - 1) / 2.0)[place]  # of equals their mean rank
            areas.append((float(ranks[own].double().sum()) - positives * (positives + 1) / 2) / (positives * negatives))
    return 100 * sum(areas) / len(areas) if areas else 50.0
