"""Cells at the same place agree, on a grid (DenseSiam, Table A1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from methods import geometry
from methods.correspondence import Average, Correspondence, FeatureMap, per_matched_image
from methods.recipe import Heads
from methods.sampling import Regular, Sampler
from methods.similarity import Similarity

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Location:
    """METHODS 6: each grid point of the overlap is read bilinearly in both views; disjoint views do not count."""

    sampler: Sampler = Regular()
    border: bool = True  # [R] beyond the outer cell centres the map goes on (True) or falls to zero (False)
    min_overlap: float = 0.0  # [R] source pixels; an overlap must be longer than this along both axes

    trains: ClassVar[bool] = True
    pools_first: ClassVar[bool] = False
    directed: ClassVar[bool] = False
    heads: ClassVar[Heads | None] = None
    similarity: ClassVar[Similarity | None] = None
    average: ClassVar[Average] = staticmethod(per_matched_image)

    def __call__(self, query: FeatureMap, key: FeatureMap) -> Correspondence:
        """Q, K [B, N, H·W] read the same N source points; W [B, N, N] is the identity where the views overlap."""
        shared = geometry.overlap(query.box, key.box)
        points = geometry.to_source(self.sampler(shared), shared)
        sites = points.shape[1]
        return Correspondence(
            geometry.read_at(geometry.to_unit(points, query.box), query.shape, self.border),
            geometry.read_at(geometry.to_unit(points, key.box), key.shape, self.border),
            self.overlaps(shared)[:, None, None] * shared.new_ones(sites).diag(),
        )

    def overlaps(self, shared: Tensor) -> Tensor:
        """1 or 0 [B]: whether an overlap [B, 4] is long enough along both axes."""
        return ((shared[:, 2:] - shared[:, :2]) > self.min_overlap).all(dim=1).to(shared.dtype)


STRATEGY = Location
