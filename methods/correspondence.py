"""The nouns of the one formula: loss = −⟨W, S(Q p, K stopgrad(z))⟩, with Q, K and W chosen by a strategy.

Letters used everywhere: B images of a batch · H, W cells down and across a feature map · D backbone channels ·
C embedding channels · N query sites · M key sites.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from methods.recipe import Heads, Region
from methods.similarity import Similarity

if TYPE_CHECKING:
    from torch import Tensor


class FeatureMap(NamedTuple):
    """What a strategy may look at in one view."""

    cells: Tensor  # [B, H·W, D] backbone features, row-major
    box: Tensor  # [B, 4] where the view lies in its source, x0 > x1 if mirrored
    frame: Tensor  # [B, 2] width and height of the source in pixels
    seed: Tensor  # [B] int64, the same in both views: begins an image's own random numbers
    shape: tuple[int, int]  # (H, W)
    z: Tensor  # [B, H·W, C] projections; C is 0 where a strategy pools before it embeds
    p: Tensor  # [B, H·W, C] predictions; C is 0 likewise


class Correspondence(NamedTuple):
    """Which sites of two views should agree, and how much."""

    query: Tensor  # Q [B, N, H·W] rows that read the sites of the predicting view
    key: Tensor  # K [B, M, H·W] rows that read the sites of the predicted view
    weight: Tensor  # W [B, N, M] ≥ 0; all zeros where an image has no match


def per_matched_image(total: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over an image's pairs, then over the images that have any (METHODS 0.5, location)."""
    matched = weight > 0
    return (total / weight.where(matched, weight.new_ones(()))).sum(), matched.sum()


def per_pair(total: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over all pairs of the batch, whatever image they are of (METHODS 0.5, candidate regions)."""
    return total.sum(), weight.sum()


class Strategy(Protocol):
    """A rule that links sites of two views: a frozen dataclass whose fields are its settings.

    A strategy inherits from this class and declares only in what it differs.
    """

    trains: bool = True  # False: a control that leaves the backbone as it was initialised
    directed: bool = False  # True: called again for the other direction instead of mirrored
    heads: Heads | None = None  # None: the recipe's
    similarity: Similarity | None = None  # None: the recipe's

    @property
    def pools_first(self) -> bool:
        """Whether sites are pooled from the cells and then embedded; else every cell is embedded and then read."""
        return False

    @property
    def region(self) -> Region | None:
        """The loss on soft regions beside the pairs' (METHODS 7), None for none."""
        return None

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Link the sites of the predicting view with those of the predicted one.

        Called without gradient and in fp32. similarity is the one that the loss uses, for a strategy that chooses
        its sites by it.
        """
        ...

    def average(self, total: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Turn each image's weighted distance [B] and weight [B] into (numerator, count), both scalars.

        Split so that ranks can add up (METHODS 12.11).
        """
        return per_matched_image(total, weight)
