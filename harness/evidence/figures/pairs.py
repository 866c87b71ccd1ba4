"""The pairs of places in two views of an image that a strategy's correspondence makes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from harness.engine.gauges import places
from methods.pixsim import Loss, PixSim
from methods.views import View, normalise


class SitePairs(NamedTuple):
    """The n pairs of sites of a correspondence of one image."""

    first: Tensor  # [n, 2] the places in the first view, in pixels of the source
    second: Tensor  # [n, 2] the places in the second view, in pixels of the source
    weight: Tensor  # [n] > 0
    sites: Tensor  # [n, 2] the rows of both sites, in Q and in K


@torch.no_grad()
def loss_of(model: PixSim, pair: tuple[View, View]) -> Loss:
    """Return the loss of a pair of uint8 views, which holds the correspondence."""
    first, second = (model.look(normalise(view, torch.device("cpu"))) for view in pair)
    loss: Loss = model.branch(first, second)
    return loss


def site_pairs(loss: Loss) -> SitePairs:
    """Return every pair of the first image of a batch, row-major in W."""
    (first, second), (query, key, weight) = loss.views, loss.forth
    sites = weight[0].nonzero()
    here, there = places(first, query)[0], places(second, key)[0]
    return SitePairs(here[sites[:, 0]], there[sites[:, 1]], weight[0][tuple(sites.T)], sites)
