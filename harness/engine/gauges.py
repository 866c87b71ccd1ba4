"""Gauges of a training step: how its features and its correspondence look, for the curve and the table of gauges."""

from __future__ import annotations

from math import isfinite

import torch
from torch import Tensor
from torch.nn.functional import normalize

from methods import geometry
from methods.correspondence import FeatureMap
from methods.pixsim import Loss

ROWS = 512  # of z that the effective rank is taken from, evenly spread over the batch


@torch.no_grad()
def gauges(loss: Loss) -> dict[str, float | None]:
    """Return every gauge of a step; None for one that has nothing to measure.

    Of z at the first view's sites: collapse, the std of ẑ·√C, about 1 if healthy and 0 if collapsed (SimSiam, 4.1);
    rank, the effective rank; entropy and usage of the pseudo categories arg-max z, each a share of what C allows.
    Of the pairs from the first view to the second: matched, the share of images with any; pairs, their mean number an
    image; error, see match_error.
    """
    sites, weight = loss.z.flatten(0, 1).float(), loss.forth.weight
    unit = normalize(sites, dim=-1)
    pairs = (weight > 0).sum((1, 2)).float()
    used = sites.argmax(dim=-1).bincount(minlength=sites.shape[1]).float() / max(len(sites), 1)
    measured = {
        "collapse": unit.std(dim=0, correction=0).mean() * unit.shape[1] ** 0.5,
        "rank": effective_rank(unit),
        "matched": (pairs > 0).float().mean(),
        "pairs": pairs.mean(),
        "error": match_error(loss),
        "entropy": -used.xlogy(used).sum() / torch.tensor(float(sites.shape[1])).log(),
        "usage": (used > 0).float().mean(),
    }
    values = torch.stack([*measured.values()]).tolist()  # one wait for the device
    return {name: round(value, 6) if isfinite(value) else None for name, value in zip(measured, values, strict=True)}


def effective_rank(unit: Tensor) -> Tensor:
    """Return exp(entropy of the covariance's normalised eigenvalues) of unit rows [N, C] (Roy & Vetterli, 2007)."""
    rows = unit[:: max(1, len(unit) // ROWS)][:ROWS]
    centred = rows - rows.mean(dim=0)
    gram = centred.mT @ centred if rows.shape[0] > rows.shape[1] else centred @ centred.mT
    values: Tensor = torch.linalg.eigvalsh(gram.double()).clamp(min=0)
    share = values / values.sum().clamp(min=1e-12)
    return share.xlogy(share).sum().neg().exp().to(unit.dtype)


def match_error(loss: Loss) -> Tensor:
    """Return the weighted mean distance of linked sites in the source, in sides of the larger cell; nan for none."""
    (first, second), (query, key, weight) = loss.views, loss.forth
    across, down = (places(first, query)[:, :, None] - places(second, key)[:, None]).unbind(-1)
    cell = torch.maximum(cell_side(first), cell_side(second))[:, None, None]
    total: Tensor = (weight * torch.hypot(across, down) / cell).sum()
    return total / weight.sum()


def places(view: FeatureMap, rows: Tensor) -> Tensor:
    """Return where the sites [B, N, H·W] of a view lie in the source: points [B, N, 2] in pixels."""
    cells = geometry.to_source(geometry.centres(view.shape, view.box), view.box)
    return rows / rows.sum(dim=-1, keepdim=True).clamp(min=1e-6) @ cells


def cell_side(view: FeatureMap) -> Tensor:
    """Return the side [B] of a square as large as a cell of the view, in source pixels."""
    height, width = view.shape
    return ((view.box[:, 2:] - view.box[:, :2]).abs().prod(dim=1) / (height * width)).sqrt()
