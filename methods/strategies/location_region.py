"""As location, and soft regions agree too (DenseSiam).

The pairs and their loss are those of `location`. Beside it, the channels of z are read as soft labels: a softmax over
them says how much each sampled point belongs to each of C regions. A region's feature is the sum of the backbone
features at the points, weighted by its label, and passes through heads of its own. In each image, InfoNCE asks a region
to resemble the same region of the other view more than any other region. Its weight is 0.1, and the labels have a
gradient, so that they become pseudo categories (Figure A1).

Paper: Zhang et al., Dense Siamese Network for Dense Unsupervised Learning, https://arxiv.org/abs/2203.11075
"""

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
    """`location`, and a weighted contrast of the regions that the channels of z mark in each view (METHODS 7)."""

    regional: ClassVar[bool] = True

    region: Region = Region()

    def branches(self, recipe: Recipe, inputs: int) -> Sequence[Weighted]:
        """Return the loss on regions, with the weight that it has in an epoch."""
        from methods.regions import RegionBranch

        return [(RegionBranch(self.region, recipe, inputs), self.region.weight_at)]


STRATEGY = LocationRegion
