"""A control: no pre-training, the seed's random backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.similarity import Similarity


@dataclass(frozen=True)
class Random(Strategy):
    """Links nothing and trains nothing; the paper's scratch line (METHODS 11.3)."""

    trains: ClassVar[bool] = False

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """No sites: Q [B, 0, H·W], K [B, 0, H·W], W [B, 0, 0]."""
        return Correspondence(
            query.cells.new_empty(len(query.cells), 0, query.cells.shape[1]),
            key.cells.new_empty(len(key.cells), 0, key.cells.shape[1]),
            query.cells.new_empty(len(query.cells), 0, 0),
        )


STRATEGY = Random
