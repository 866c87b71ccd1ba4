"""Cells at the same place agree, on a grid (DenseSiam).

Two views of an image overlap in a rectangle of the source. A sampler chooses points in it: by default the 49 centres of
a 7 × 7 grid (Table A2 compares others). The projection z and the prediction p of every cell are read at those points in
both views by bilinear interpolation, whatever their crops and flips. A point in one view agrees with the same point in
the other and with no other one. Views that do not overlap have no pair and do not count.

Paper: Zhang et al., Dense Siamese Network for Dense Unsupervised Learning, https://arxiv.org/abs/2203.11075
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods import geometry
from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.recipe import require
from methods.rng import CounterRNG
from methods.sampling import Regular, Sampler
from methods.similarity import Similarity, distance

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Location(Strategy):
    """Points of the overlap, read bilinearly in both views, each paired with itself (METHODS 6)."""

    sampler: Sampler = Regular()
    border: bool = True  # [R] beyond the outer cell centres the map goes on (True) or falls to zero (False)
    min_overlap: float = 0.0  # [R] source pixels; an overlap must be longer than this along both axes

    def __post_init__(self) -> None:
        """Raise ValueError for an overlap that views without one have."""
        require("min_overlap", self.min_overlap, self.min_overlap >= 0, "at least 0")

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Return Q, K [B, N, H·W] that read the same N places, and W [B, N, N], the identity if the views overlap."""
        shared = geometry.overlap(query.box, key.box)

        def unlike(points: Tensor) -> Tensor:
            """Return the views' distance [B, N] at points [B, N, 2] of the overlap, the mean of both directions."""
            q, k = self.read(points, shared, query), self.read(points, shared, key)
            there = distance(similarity, q @ query.p, k @ key.z)
            return (there + distance(similarity, k @ key.p, q @ query.z)) / 2

        points = self.sampler(shared, CounterRNG(query.seed), unlike)
        long = ((shared[:, 2:] - shared[:, :2]) > self.min_overlap).all(dim=1)
        return Correspondence(
            self.read(points, shared, query),
            self.read(points, shared, key),
            long[:, None, None] * shared.new_ones(points.shape[1]).diag(),
        )

    def read(self, points: Tensor, shared: Tensor, view: FeatureMap) -> Tensor:
        """Return rows [B, N, H·W] that read a view at points [B, N, 2] of the overlap's unit square."""
        there = geometry.to_unit(geometry.to_source(points, shared), view.box)
        return geometry.read_at(there, view.shape, self.border)


STRATEGY = Location
