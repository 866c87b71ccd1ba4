"""Cells at the same place agree, on a grid (DenseSiam)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods import geometry
from methods.chance import Stream
from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.sampling import Regular, Sampler
from methods.similarity import Similarity, distance

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Location(Strategy):
    """METHODS 6: each grid point of the overlap is read bilinearly in both views; disjoint views do not count."""

    sampler: Sampler = Regular()
    border: bool = True  # [R] beyond the outer cell centres the map goes on (True) or falls to zero (False)
    min_overlap: float = 0.0  # [R] source pixels; an overlap must be longer than this along both axes

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Q, K [B, N, H·W] read the same N source points; W [B, N, N] is the identity where the views overlap."""
        shared = geometry.overlap(query.box, key.box)

        def unlike(points: Tensor) -> Tensor:
            """How dissimilar the views are at points [B, N, 2] of the overlap, the mean of both directions [B, N]."""
            q, k = self.read(points, shared, query), self.read(points, shared, key)
            there = distance(similarity, q @ query.p, k @ key.z)
            return (there + distance(similarity, k @ key.p, q @ query.z)) / 2

        points = self.sampler(shared, Stream(query.seed), unlike)
        long = ((shared[:, 2:] - shared[:, :2]) > self.min_overlap).all(dim=1)
        return Correspondence(
            self.read(points, shared, query),
            self.read(points, shared, key),
            long[:, None, None] * shared.new_ones(points.shape[1]).diag(),
        )

    def read(self, points: Tensor, shared: Tensor, view: FeatureMap) -> Tensor:
        """Rows [B, N, H·W] that read a view at points [B, N, 2] of the overlap's unit square."""
        there = geometry.to_unit(geometry.to_source(points, shared), view.box)
        return geometry.read_at(there, view.shape, self.border)


STRATEGY = Location
