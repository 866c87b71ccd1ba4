"""The whole views agree, whatever lies where: SimSiam's global pooling (Chen and He, CVPR 2021, Section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods.correspondence import Average, Correspondence, FeatureMap, per_matched_image
from methods.recipe import Heads
from methods.similarity import Similarity, cosine


@dataclass(frozen=True)
class SimSiam:
    """METHODS 1: one site a view, the mean of its cells, goes through SimSiam's own heads and is compared by the cosine."""

    trains: ClassVar[bool] = True
    pools_first: ClassVar[bool] = True
    directed: ClassVar[bool] = False
    heads: ClassVar[Heads | None] = Heads(hidden=None, out=2048, predictor=512)
    similarity: ClassVar[Similarity | None] = staticmethod(cosine)
    average: ClassVar[Average] = staticmethod(per_matched_image)

    def __call__(self, query: FeatureMap, key: FeatureMap) -> Correspondence:
        """Q and K [B, 1, H·W] take the mean of all cells; W [B, 1, 1] is one."""
        everywhere = [view.cells.new_full((len(view.cells), 1, view.cells.shape[1]), 1 / view.cells.shape[1])
                      for view in (query, key)]
        return Correspondence(*everywhere, weight=query.cells.new_ones(len(query.cells), 1, 1))


STRATEGY = SimSiam
