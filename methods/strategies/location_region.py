"""As location, and soft regions agree too (DenseSiam)."""

from __future__ import annotations

from dataclasses import dataclass

from methods.recipe import Region
from methods.strategies.location import Location


@dataclass(frozen=True)
class LocationRegion(Location):
    """METHODS 7: `location`, and a weighted contrast of the regions that the channels of z mark in each view."""

    region: Region = Region()


STRATEGY = LocationRegion
