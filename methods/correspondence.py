"""The formula, loss = −⟨W, S(Q p, K stopgrad(z))⟩, and its parts: a strategy chooses the matrices Q, K and W.

A *cell* is one position of a view's feature map. A *site* is a place where a view is read: a row of Q (of the query,
the predicting view) or of K (of the key, the predicted view) that weighs cells, so one cell, a point between cells, the
mean of a box or of the whole view. W says which pairs of sites should agree, and how much; S is the similarity.

Letters used everywhere: B images of a batch · H, W cells down and across a feature map · D backbone channels ·
C embedding channels · N query sites · M key sites.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from methods.recipe import Heads, Recipe
from methods.similarity import Similarity

if TYPE_CHECKING:
    from torch import Tensor, nn

    from methods.boxes import Pairs

    Weighted = tuple[nn.Module, Callable[[int], float]]  # Loss → scalar, and its weight in an epoch


class FeatureMap(NamedTuple):
    """One view as a strategy sees it."""

    cells: Tensor  # [B, H·W, D] backbone features, row-major
    box: Tensor  # [B, 4] where the view lies in its source, x0 > x1 if mirrored
    frame: Tensor  # [B, 2] width and height of the source in pixels
    seed: Tensor  # [B] int64, the same in both views: begins an image's own random numbers
    shape: tuple[int, int]  # (H, W)
    z: Tensor  # [B, H·W, C] projections; C is 0 where a strategy pools before it embeds
    p: Tensor  # [B, H·W, C] predictions; C is 0 likewise


class Correspondence(NamedTuple):
    """Sites of two views that should agree, and how much."""

    query: Tensor  # Q [B, N, H·W] rows that read the sites of the predicting view
    key: Tensor  # K [B, M, H·W] rows that read the sites of the predicted view
    weight: Tensor  # W [B, N, M] ≥ 0; all zeros where an image has no match


def per_matched_image(total: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Average over each image's pairs, then over the images that have any (METHODS 0.5, location)."""
    matched = weight > 0
    return (total / weight.where(matched, weight.new_ones(()))).sum(), matched.sum()


def per_pair(total: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Average over all pairs of the batch, whatever image they are of (METHODS 0.5, candidate regions)."""
    return total.sum(), weight.sum()


class Strategy(Protocol):
    """Rule that links sites of two views: a frozen dataclass whose fields are its settings.

    A strategy inherits from this class, defines `__call__` and overrides below only what differs.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    trains: ClassVar[bool] = True  # False: a control that leaves the backbone as it was initialised
    directed: ClassVar[bool] = False  # True: called again for the other direction instead of mirrored
    regional: ClassVar[bool] = False  # True: the largest channel of z is a site's region, which figures colour
    heads: ClassVar[Heads | None] = None  # None: the recipe's
    similarity: ClassVar[Similarity | None] = None  # None: the recipe's

    @property
    def pools_first(self) -> bool:
        """Return whether sites are pooled from the cells and then embedded; else each cell is embedded, then read."""
        return False

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Return which sites of the predicting view agree with which of the predicted one, and how much.

        Called without gradient and in fp32. similarity is the one that the loss uses, for a strategy that chooses
        its sites by it.
        """
        ...

    def average(self, total: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return (numerator, count) of the batch's mean from each image's weighted distance [B] and weight [B].

        Two scalars, so that each can be summed over ranks (METHODS 12.11).
        """
        return per_matched_image(total, weight)

    def branches(self, recipe: Recipe, inputs: int) -> Sequence[Weighted]:
        """Return losses that are added to the correspondence's, for cells of `inputs` channels.

        Each is a module, called with the step's Loss (methods/pixsim.py) and returning a scalar, and a function of the
        epoch, counted from 0, that returns its weight.
        """
        return ()

    def outlines(self, query: FeatureMap, key: FeatureMap) -> Pairs | None:
        """Return the boxes over which the sites are averages, which figures draw; None for sites that are points."""
        return None
