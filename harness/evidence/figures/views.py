"""Two views of an image that overlap enough to be drawn."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from methods import geometry
from methods.boxes import overlaps, place
from methods.recipe import Recipe, require
from methods.views import View, mix, two_views

IOU = 0.25, 0.6  # of the views that a figure looks for
TRIES = 300  # pairs of views that it looks at
SMALLEST = 32  # pixels a side of a view: the encoder's stride


def find_views(source: Image.Image, recipe: Recipe, seed: int, index: int, mirrored: bool) -> tuple[View, View]:
    """The first views of image `index`, epoch by epoch, that overlap by IOU, one alone mirrored if asked and possible.

    Else the first that come nearest to that; ValueError where none overlap. Images [1, 3, S, S] are uint8.
    """
    best, most = None, 0
    for epoch in range(TRIES):
        drawn = draw_views(source, recipe, mix(seed, epoch, index))
        if (fit := fitness(*drawn, mirrored and 0 < recipe.flip < 1)) > most:
            best, most = drawn, fit
        if most == 3:
            break
    if best is None:
        raise ValueError(f"of {TRIES} pairs of views none overlaps: raise crop={recipe.crop}")
    return best


def draw_views(source: Image.Image, recipe: Recipe, seed: int) -> tuple[View, View]:
    """The two views that the pre-training's data set makes from a seed, as batches of one."""
    one, other = (View(*(part[None] for part in single)) for single in two_views(source, recipe, seed))
    return one, other


def fitness(one: View, other: View, mirrored: bool) -> int:
    """0 without an overlap, 1 with one, 2 with one that is neither small nor large, 3 if also mirrored as asked."""
    shared = float(overlaps(*(geometry.overlap(each.box, each.box)[:, None] for each in (one, other))))
    if shared <= 0 or not IOU[0] <= shared <= IOU[1]:
        return int(shared > 0)
    return 2 + int(not mirrored or is_mirrored(one) != is_mirrored(other))


def is_mirrored(seen: View) -> bool:
    """Whether the view's left is its source's right."""
    return bool(seen.box[0, 0] > seen.box[0, 2])


def shared_in(seen: View, other: View) -> tuple[float, float, float, float]:
    """The overlap with the other view, x0, y0, x1, y1 in a view's unit coordinates."""
    x0, y0, x1, y1 = place(geometry.overlap(seen.box, other.box)[:, None], seen.box)[0, 0].tolist()
    return x0, y0, x1, y1


def display(recipe: Recipe, size: int) -> Recipe:
    """The recipe with views of another size and their own colours."""
    require("--size", size, size >= SMALLEST, f"at least {SMALLEST}")
    return replace(recipe, size=size, jitter=0.0, grey=0.0, blur=0.0)
