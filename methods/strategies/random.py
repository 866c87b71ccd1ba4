"""A control: no pre-training, the seed's random backbone.

Nothing is paired and nothing is trained. The backbone is written as the run's seed initialises it. Every other row of
the same seed begins from these very weights. The benchmark then fine-tunes them like any other backbone. What a
strategy gains over this row is what its pre-training is worth (METHODS 11.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.similarity import Similarity


@dataclass(frozen=True)
class Random(Strategy):
    """No pairs and no training: the papers' "scratch"."""

    trains: ClassVar[bool] = False

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Return no sites: Q [B, 0, H·W], K [B, 0, H·W], W [B, 0, 0]."""
        return Correspondence(
            query.cells.new_empty(len(query.cells), 0, query.cells.shape[1]),
            key.cells.new_empty(len(key.cells), 0, key.cells.shape[1]),
            query.cells.new_empty(len(query.cells), 0, 0),
        )


STRATEGY = Random
