"""A control: location with points paired at random.

The points are those of `location`, read in both views in the same way. Then each exchanges its partner with another
one, by a random permutation that is the same in both directions. So the pairs carry no correspondence, while the
network, the number of pairs and the loss are the same. What `location` gains over this row is due to its pairs being
right. Points are permuted within an image, never between images.
"""

from __future__ import annotations

from dataclasses import dataclass

from methods.correspondence import Correspondence, FeatureMap
from methods.rng import CounterRNG
from methods.similarity import Similarity
from methods.strategies.location import Location


@dataclass(frozen=True)
class Shuffled(Location):
    """`location` with a random symmetric permutation of the partners."""

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Return Q and K of `location`, and W [B, N, N], a random pairing of them; one of an odd N keeps its own."""
        import torch

        located = super().__call__(query, key, similarity)
        order = CounterRNG(~query.seed)(located.weight.shape[1]).argsort(dim=1)
        batch, site = (torch.arange(count, device=order.device) for count in order.shape)
        partner = order[:, (site ^ 1).clamp(max=order.shape[1] - 1)]
        weight = torch.zeros_like(located.weight)
        weight[batch[:, None], order, partner] = located.weight.amax(dim=2)
        return located._replace(weight=weight)


STRATEGY = Shuffled
