"""Whole views agree: global pooling (SimSiam, CVPR 2021).

The mean of all cells of each view passes through the projector g and the predictor h. The prediction p of one view is
compared with the projection z of the other by the cosine, through which no gradient reaches z. Both directions count
half. There are no negative pairs and no slow copy of the network: predictor and stop-gradient alone keep the features
from collapsing. No place in the image is used, so this row is the baseline of all dense ones.

Paper: Chen and He, Exploring Simple Siamese Representation Learning, https://arxiv.org/abs/2011.10566
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods.boxes import Pairs
from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.recipe import Heads
from methods.similarity import Similarity, cosine


@dataclass(frozen=True)
class SimSiam(Strategy):
    """One site for each view, the mean of its cells, with SimSiam's own heads and the cosine (METHODS 1)."""

    pools_first = True
    heads: ClassVar[Heads | None] = Heads(hidden=None, out=2048, predictor=512)
    similarity: ClassVar[Similarity | None] = staticmethod(cosine)

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Return Q and K [B, 1, H·W], which average all cells, and W [B, 1, 1] of ones."""
        cells = query.cells.shape[1], key.cells.shape[1]
        return Correspondence(
            query.cells.new_full((len(query.cells), 1, cells[0]), 1 / cells[0]),
            key.cells.new_full((len(key.cells), 1, cells[1]), 1 / cells[1]),
            query.cells.new_ones(len(query.cells), 1, 1),
        )

    def outlines(self, query: FeatureMap, key: FeatureMap) -> Pairs:
        """Return both whole views."""
        whole = query.box.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(len(query.box), 1, -1)
        return Pairs(whole, whole, whole[..., 0] == 0)


STRATEGY = SimSiam
