"""Two views of an image that overlap enough to be worth drawing."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from methods import geometry
from methods.boxes import overlaps, place
from methods.recipe import Recipe, require
from methods.views import View, mix, two_views

IOU = 0.25, 0.6  # least and most, of the views that are looked for
TRIES = 300  # pairs of views that are drawn at most
SMALLEST = 32  # pixels of a side of a view: the encoder's stride


def find_views(source: Image.Image, recipe: Recipe, seed: int, index: int, mirrored: bool) -> tuple[View, View]:
    """Return the first two views of image `index`, epoch by epoch, that overlap by IOU; of uint8 images [1, 3, S, S].

    If `mirrored` and the recipe flips at all, exactly one of them is mirrored. Where none is like this, return the
    first that come nearest to it; ValueError where no two views overlap.
    """
    best, most = None, 0
    for epoch in range(TRIES):
        drawn = draw_views(source, recipe, mix(seed, epoch, index))
        if (fit := fitness(*drawn, mirrored and 0 < recipe.flip < 1)) > most:
            best, most = drawn, fit
        if most == 3:
            break
    if best is None:
        raise ValueError(f"none of {TRIES} pairs of views overlaps: raise crop={recipe.crop}")
    return best


def draw_views(source: Image.Image, recipe: Recipe, seed: int) -> tuple[View, View]:
    """Return the two views that the data set of the pre-training makes from a seed, as batches of one."""
    first, second = (View(*(part[None] for part in single)) for single in two_views(source, recipe, seed))
    return first, second


def fitness(first: View, second: View, mirrored: bool) -> int:
    """Return 0 without an overlap, 1 with one, 2 if it is within IOU, 3 if the views are also mirrored as asked."""
    shared = float(overlaps(*(geometry.overlap(each.box, each.box)[:, None] for each in (first, second))))
    if shared <= 0 or not IOU[0] <= shared <= IOU[1]:
        return int(shared > 0)
    return 2 + int(not mirrored or is_mirrored(first) != is_mirrored(second))


def is_mirrored(view: View) -> bool:
    """Return whether the left of a view is the right of its source."""
    return bool(view.box[0, 0] > view.box[0, 2])


def shared_in(view: View, other: View) -> tuple[float, float, float, float]:
    """Return the overlap with another view, x0, y0, x1, y1, in the unit coordinates of a view."""
    x0, y0, x1, y1 = place(geometry.overlap(view.box, other.box)[:, None], view.box)[0, 0].tolist()
    return x0, y0, x1, y1


def display(recipe: Recipe, size: int) -> Recipe:
    """Return a recipe whose views have another size and keep the colours of the image."""
    require("--size", size, size >= SMALLEST, f"at least {SMALLEST}")
    return replace(recipe, size=size, jitter=0.0, grey=0.0, blur=0.0)
