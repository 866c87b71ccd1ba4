"""Cells that look most alike agree (DenseCL, CVPR 2021)."""

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
    """METHODS 3: the arg-max of the cosine over the other view, asked anew in each direction; no place is used."""

    match_on: Literal["backbone", "projection"] = "backbone"  # the features that are compared
    scope: Literal["full", "intersection"] = "full"  # all cells, or those whose centre both views show

    directed: ClassVar[bool] = True
    average = staticmethod(per_pair)

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Q, K [B, H·W, H·W] are identities; a row of W [B, H·W, H·W] is one at its best key, the first of equals."""
        import torch

        q, k = (view.cells if self.match_on == "backbone" else view.z for view in (query, key))
        query_hat, key_hat = cosine(q, k)
        alike = query_hat @ key_hat.mT
        weight = alike.new_ones(alike.shape[:2])
        if self.scope == "intersection":
            alike = alike.masked_fill(~seen(key, query)[:, None], -2.0)
            weight = (seen(query, key) & seen(key, query).any(1, keepdim=True)).to(alike.dtype)
        identity = torch.eye(alike.shape[1], dtype=alike.dtype, device=alike.device).expand(len(alike), -1, -1)
        best = alike.argmax(dim=2, keepdim=True)
        return Correspondence(identity, identity, torch.zeros_like(alike).scatter_(2, best, weight[..., None]))


def seen(view: FeatureMap, other: FeatureMap) -> Tensor:
    """Which cells [B, H·W] of a view have their centre in the other view too."""
    centres = geometry.to_source(geometry.centres(view.shape, view.box), view.box)
    there = geometry.to_unit(centres, other.box)
    return ((there >= 0) & (there < 1)).all(-1)


STRATEGY = FeatureSimilarity
