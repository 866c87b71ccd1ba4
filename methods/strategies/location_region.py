"""As location, and soft regions agree too (DenseSiam)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from methods.recipe import Recipe, Region
from methods.strategies.location import Location

if TYPE_CHECKING:
    from methods.correspondence import Weighted


@dataclass(frozen=True)
class LocationRegion(Location):
    """METHODS 7: `location`, and a weighted contrast of the regions that the channels of z mark in each view."""

    regional: ClassVar[bool] = True

    region: Region = Region()

    def branches(self, recipe: Recipe, inputs: int) -> Sequence[Weighted]:
        """Return the loss on regions, with the weight that it has in an epoch."""
        from methods.regions import RegionBranch

        return [(RegionBranch(self.region, recipe, inputs), self.region.weight_at)]


STRATEGY = LocationRegion
