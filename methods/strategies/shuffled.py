"""A control: location with points paired at random."""

from __future__ import annotations

from dataclasses import dataclass

from methods.chance import Stream
from methods.correspondence import Correspondence, FeatureMap
from methods.similarity import Similarity
from methods.strategies.location import Location


@dataclass(frozen=True)
class Shuffled(Location):
    """Points of the overlap change partners two by two, which is the same permutation in both directions."""

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """As `location`, but W [B, N, N] is a random symmetric permutation; of an odd N one point keeps its place."""
        import torch

        found = super().__call__(query, key, similarity)
        order = Stream(~query.seed)(found.weight.shape[1]).argsort(dim=1)
        batch, site = (torch.arange(count, device=order.device) for count in order.shape)
        partner = order[:, (site ^ 1).clamp(max=order.shape[1] - 1)]
        weight = torch.zeros_like(found.weight)
        weight[batch[:, None], order, partner] = found.weight.amax(dim=2)
        return found._replace(weight=weight)


STRATEGY = Shuffled
