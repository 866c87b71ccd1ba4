"""Projector g and predictor h, the two heads through which a loss compares sites (METHODS 2.2, 2.3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

from methods.contract import Misfit
from methods.recipe import Heads


class Sites(NamedTuple):
    """The two embeddings of one view at its sites."""

    z: Tensor  # [B, N, C] projections
    p: Tensor  # [B, N, C] predictions


class Head(nn.Module):
    """Projector and predictor of one loss."""

    def __init__(self, inputs: int, heads: Heads) -> None:
        """Build both for rows of `inputs` channels."""
        super().__init__()
        self.projector, self.predictor = projector(inputs, heads), predictor(heads)

    def forward(self, cells: Tensor) -> Sites:
        """Embed [B, N, D] as z and p [B, N, C]; BatchNorm takes its statistics over B·N, and Misfit refuses one row."""
        if self.training and cells.shape[:2].numel() == 1 and not distributed.is_initialized():
            raise Misfit("batch=1: at least 2 were expected, since BatchNorm would see the one site of one image alone")
        z = self.projector(cells.flatten(0, 1))
        return Sites(*(at_least_single(rows.unflatten(0, cells.shape[:2])) for rows in (z, self.predictor(z))))


def at_least_single(numbers: Tensor) -> Tensor:
    """Return numbers in fp32, or as they are if they are more precise."""
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))


def projector(inputs: int, heads: Heads) -> nn.Sequential:
    """Build g: [B, D] → [B, C]; its last BatchNorm has no affine part and cancels the last bias, which is frozen.

    A Linear layer on rows of cells is the 1 × 1 convolution of METHODS 2.2.
    """
    hidden = heads.hidden or inputs
    last = nn.Linear(hidden, heads.out)
    assert last.bias is not None
    last.bias.requires_grad = False
    return nn.Sequential(
        nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
        nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
        last, nn.BatchNorm1d(heads.out, affine=False),
    )  # fmt: skip


def predictor(heads: Heads) -> nn.Sequential:
    """Build h: [B, C] → [B, C] of two layers, without BatchNorm at its output (METHODS 1.1, 2.3)."""
    return nn.Sequential(
        nn.Linear(heads.out, heads.predictor, bias=False), nn.BatchNorm1d(heads.predictor), nn.ReLU(inplace=True),
        nn.Linear(heads.predictor, heads.out),
    )  # fmt: skip
