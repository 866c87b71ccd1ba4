"""Whole views agree: global pooling (SimSiam, CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods.boxes import Pairs
from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.recipe import Heads
from methods.similarity import Similarity, cosine


@dataclass(frozen=True)
class SimSiam(Strategy):
    """METHODS 1: one site a view, the mean of its cells, through SimSiam's own heads, compared by the cosine."""

    pools_first = True
    heads: ClassVar[Heads | None] = Heads(hidden=None, out=2048, predictor=512)
    similarity: ClassVar[Similarity | None] = staticmethod(cosine)

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Q and K [B, 1, H·W] take the mean of all cells; W [B, 1, 1] is one."""
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
