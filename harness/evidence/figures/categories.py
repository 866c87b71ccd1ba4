"""Figure A1: pseudo categories of two views of an image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.nn import functional as F

from harness import records
from harness.engine.images import list_images, source_folder
from harness.evidence.figures.drawing import (
    GAP,
    WIDTH,
    Pixels,
    bare,
    pixels,
    show_views,
    views_told,
)
from harness.evidence.figures.models import load_run
from harness.evidence.figures.views import display, find_views
from harness.evidence.style import drawing
from harness.experiment import rebuild
from methods.pixsim import PixSim
from methods.recipe import Recipe, require
from methods.views import View, normalise, read

OPACITY = 0.6  # of a category over its view
COLUMNS = 3  # pairs of views in a row of Fig. A1


@drawing()
def categories(record: records.Record, cache: Path, images: int, size: int) -> Figure:
    """Fig. A1 (METHODS 7.3): in two views of each of so many of a run's images, the arg-max channel of z by colour."""
    trained, seed = rebuild(record.settings), record.settings["seed"]
    recipe = display(trained.recipe, size)
    model = load_run(record)
    pairs = views_of(list_images(source_folder(trained, cache)), recipe, seed, images)
    maps = [(channels(model, one), channels(model, other)) for one, other in pairs]
    count, used = model.branch.head.predictor[-1].out_features, len(np.unique(maps))
    note = f"Run {record.id}: the largest of the {count} channels of z at each place, {used} of them seen here; "
    return category_sheet(pairs, maps, note + views_told(model, pairs[0][0]))


def views_of(listed: Sequence[Path], recipe: Recipe, seed: int, images: int) -> list[tuple[View, View]]:
    """Two views of each of so many of a run's images, evenly spread over them."""
    require("--images", images, 1 <= images <= len(listed), f"between 1 and {len(listed)}, as many as the run has")
    chosen = [number * len(listed) // images for number in range(images)]
    return [find_views(read(listed[index]), recipe, seed, index, mirrored=False) for index in chosen]


@torch.no_grad()
def channels(model: PixSim, seen: View) -> NDArray[np.int64]:
    """The channel [S, S] of which z, computed at every cell of a view and enlarged bilinearly, is the largest."""
    looked = model.look(normalise(seen, torch.device("cpu")))
    logits = model.branch.head(looked.cells).z.mT.unflatten(2, looked.shape)
    side = seen.image.shape[-1]
    enlarged = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
    found: NDArray[np.int64] = enlarged.argmax(dim=1)[0].numpy()
    return found


def palette(count: int) -> Pixels:
    """Colours [count, 3] of the channels 0 … count − 1; a channel has its colour whatever the count.

    Hue, lightness and saturation follow Roberts's R3 sequence (2018), which keeps the points of any beginning apart.
    """
    ratio = 1.2207440846057596  # the root of x⁴ = x + 1
    steps = np.arange(1, count + 1)[:, None] / ratio ** np.arange(1, 4) % 1
    return np.array([colorsys.hls_to_rgb(hue, 0.35 + 0.4 * light, 0.6 + 0.4 * full) for hue, light, full in steps])


def category_sheet(
    pairs: Sequence[tuple[View, View]], maps: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], note: str
) -> Figure:
    """The pairs of views in rows, each above the same two under their categories."""
    columns = min(COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    height = rows * (WIDTH / COLUMNS - 0.02) + 0.2
    figure = Figure(figsize=(columns * WIDTH / COLUMNS, height))
    figure.subplots_adjust(0.01, 0.22 / height, 0.99, 1 - 0.02 / height, hspace=0.04, wspace=0.06)
    for number, (pair, labels) in enumerate(zip(pairs, maps, strict=True), start=1):
        ax = figure.add_subplot(rows, columns, number)
        show_views(ax, pair, [pixels(seen) for seen in pair])
        show_views(ax, pair, [blend(*both) for both in zip(pair, labels, strict=True)], top=1 + GAP / 2)
        bare(ax, height=2 + GAP / 2)
    figure.text(0.5, 0.05 / height, note, ha="center", va="bottom", fontsize=6, color="0.3")
    return figure


def blend(seen: View, labels: NDArray[np.int64]) -> Pixels:
    """A view's grey levels [S, S, 3] under the colours of its labels [S, S], which so keep their hue everywhere."""
    grey = pixels(seen).mean(axis=2, keepdims=True)
    mixed: Pixels = OPACITY * palette(int(labels.max()) + 1)[labels] + (1 - OPACITY) * grey
    return mixed
