"""The places of two views that a strategy links."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from harness.engine.gauges import places
from methods.pixsim import Loss, PixSim
from methods.views import View, normalise


class Links(NamedTuple):
    """The n pairs of sites that a correspondence of one image links."""

    first: Tensor  # [n, 2] where the first view is read, in source pixels
    second: Tensor  # [n, 2] where the second view is read, in source pixels
    weight: Tensor  # [n] > 0
    sites: Tensor  # [n, 2] the rows of Q and of K


@torch.no_grad()
def link(model: PixSim, pair: tuple[View, View]) -> Loss:
    """Return the loss of two uint8 views, which holds what the model's strategy links."""
    first, second = (model.look(normalise(view, torch.device("cpu"))) for view in pair)
    loss: Loss = model.branch(first, second)
    return loss


def links(loss: Loss) -> Links:
    """Return every pair of the first image of a batch, row-major in W."""
    (first, second), (query, key, weight) = loss.views, loss.forth
    sites = weight[0].nonzero()
    here, there = places(first, query)[0], places(second, key)[0]
    return Links(here[sites[:, 0]], there[sites[:, 1]], weight[0][tuple(sites.T)], sites)
