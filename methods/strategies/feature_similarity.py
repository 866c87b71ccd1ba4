"""Cells that look most alike agree (DenseCL, CVPR 2021).

Every cell of the predicting view is paired with one cell of the other: the one whose backbone feature has the largest
cosine with its own. The pairs follow the features alone, so they are poor at first and improve as the network learns.
The other direction chooses its own pairs. A cell always has a partner, even where the views share nothing, unless
scope=intersection leaves out the cells that only one view shows. DenseCL contrasts the pairs with a queue of negatives;
here they enter the same loss as every other row.

Paper: Wang et al., Dense Contrastive Learning for Self-Supervised Visual Pre-Training, https://arxiv.org/abs/2011.09157
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from methods import geometry
from methods.correspondence import Correspondence, FeatureMap, Strategy, per_pair
from methods.similarity import Similarity, cosine

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FeatureSimilarity(Strategy):
    """Each cell with the cell of the other view whose feature has the largest cosine (METHODS 3)."""

    match_on: Literal["backbone", "projection"] = "backbone"  # the features that are compared
    scope: Literal["full", "intersection"] = "full"  # all cells, or those whose centre both views show

    directed: ClassVar[bool] = True
    average = staticmethod(per_pair)

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Return identities Q, K [B, H·W, H·W] and W [B, H·W, H·W], one at each row's best key (first of equals)."""
        import torch

        q, k = (view.cells if self.match_on == "backbone" else view.z for view in (query, key))
        query_hat, key_hat = cosine(q, k)
        cosines = query_hat @ key_hat.mT
        weight = cosines.new_ones(cosines.shape[:2])
        if self.scope == "intersection":
            cosines = cosines.masked_fill(~seen(key, query)[:, None], -2.0)
            weight = (seen(query, key) & seen(key, query).any(1, keepdim=True)).to(cosines.dtype)
        identity = torch.eye(cosines.shape[1], dtype=cosines.dtype, device=cosines.device).expand(len(cosines), -1, -1)
        best = cosines.argmax(dim=2, keepdim=True)
        return Correspondence(identity, identity, torch.zeros_like(cosines).scatter_(2, best, weight[..., None]))


def seen(view: FeatureMap, other: FeatureMap) -> Tensor:
    """Return which cells [B, H·W] of a view have their centre in the other view too."""
    centres = geometry.to_source(geometry.centres(view.shape, view.box), view.box)
    there = geometry.to_unit(centres, other.box)
    return ((there >= 0) & (there < 1)).all(-1)


STRATEGY = FeatureSimilarity
