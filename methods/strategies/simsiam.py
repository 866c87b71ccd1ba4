"""Whole views agree: global pooling (SimSiam, CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.recipe import Heads
from methods.similarity import Similarity, cosine


@dataclass(frozen=True)
class SimSiam(Strategy):
    """METHODS 1: one site a view, the mean of its cells, through SimSiam's own heads, compared by the cosine."""

    pools_first = True
    heads = Heads(hidden=None, out=2048, predictor=512)
    similarity = staticmethod(cosine)

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Q and K [B, 1, H·W] take the mean of all cells; W [B, 1, 1] is one."""
        cells = query.cells.shape[1], key.cells.shape[1]
        return Correspondence(
            query.cells.new_full((len(query.cells), 1, cells[0]), 1 / cells[0]),
            key.cells.new_full((len(key.cells), 1, cells[1]), 1 / cells[1]),
            query.cells.new_ones(len(query.cells), 1, 1),
        )


STRATEGY = SimSiam
