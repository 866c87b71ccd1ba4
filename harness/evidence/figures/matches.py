"""Figures: the paper's Fig. A1, pseudo categories of two views of an image, and what each strategy links in two views.

Unit coordinates lie in a view as it is seen, x to the right and y down, whether it is mirrored or not.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image
from torch import Tensor

from benchmarks.scenes.compose import compose
from benchmarks.scenes.layout import Layout
from harness import plugins, records
from harness.engine.gauges import match_error
from harness.evidence.figures.categories import palette
from harness.evidence.figures.drawing import (
    GAP,
    VIEWS,
    WIDTH,
    Pixels,
    bare,
    cased,
    pixels,
    show_views,
    views_told,
)
from harness.evidence.figures.links import Links, link, links
from harness.evidence.figures.models import Weights, load
from harness.evidence.figures.views import display, find_views, is_mirrored
from harness.evidence.style import BLACK, GREEN, PURPLE, SKY, VERMILION, YELLOW, drawing
from harness.experiment import change, rebuild, split_change
from harness.presets import PRESETS
from harness.tables import TABLES
from methods import geometry
from methods.boxes import Pairs
from methods.chance import Stream
from methods.pixsim import Loss
from methods.recipe import require
from methods.strategies.candidate_regions import CandidateRegions
from methods.strategies.simsiam import SimSiam
from methods.views import View, read

COLOURS = SKY, VERMILION, GREEN, YELLOW, PURPLE, BLACK  # of boxes
HALO = (withStroke(linewidth=1.5, foreground="white"),)  # of letters on a picture
FADED = 0.6  # of a view under what is linked
LINES, BOXES = 60, len(COLOURS)  # drawn at most in a panel
SCENE = Layout(size=320), 0, "trainval", 3  # the embedded image of which `matches` shows two views


@drawing()
def matches(
    strategy: str | None,
    record: records.Record | None,
    image: Path | None,
    seed: int,
    size: int,
    changes: Sequence[str],
) -> Figure:
    """What one strategy, or each that trains, links in two views of one image, one of them mirrored if the recipe may.

    The recipe and the weights are the record's run's, else the demo's and the seed's random ones.
    """
    require("--seed", seed, seed >= 0, "at least 0")
    split = [split_change(one) for one in changes]
    chosen = choose_strategies(strategy, split)
    recipe = rebuild(record.settings).recipe if record else PRESETS["demo"].recipe
    recipe = change(display(recipe, size), "recipe", split)
    if record:
        records.weights_of(record)
    source = read(image) if image else Image.fromarray(compose(*SCENE).image)
    pair = find_views(source, recipe, seed, 0, mirrored=True)
    models = {name: load(one, recipe, seed, known_weights(record, one)) for name, one in chosen.items()}
    linked = {name: (chosen[name], link(model, pair)) for name, model in models.items()}
    origin = f"the weights of run {record.id}" if record else f"random weights of seed {seed}"
    told = views_told(next(iter(models.values())), pair[0])
    note = f"{recipe.encoder}, {origin}; {told}; image: {image.name if image else 'an embedded scene'}"
    return match_sheet(source, pair, linked, note)


def known_weights(record: records.Record | None, strategy: Any) -> Weights:
    """The run's backbone, and its heads too where it trained this very strategy."""
    if record is None:
        return Weights()
    heads = record.folder / records.HEADS
    trained = heads.exists() and rebuild(record.settings).strategy == strategy
    return Weights(record.folder / records.BACKBONE, heads if trained else None)


def choose_strategies(name: str | None, changes: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """The named strategy, or all that train, Table A1's in its order first; ValueError for one that links nothing."""
    if name is not None:
        found = change(plugins.strategy(name)(), "strategy", changes)
        if not found.trains:
            raise ValueError(f"--strategy {name}: it links nothing, so there is nothing to draw")
        return {name: found}
    if any(part == "strategy" for part, _, _ in changes):
        raise ValueError("--set strategy.FIELD changes one strategy: name it with --strategy")
    order = [shlex.split(words)[-1] for words in TABLES["A1"].rows.values()]
    known = sorted(plugins.strategy_files(), key=lambda one: (order.index(one) if one in order else len(order), one))
    every = {one: plugins.strategy(one)() for one in known}
    return {one: found for one, found in every.items() if found.trains}


def in_views(found: Links, loss: Loss) -> Links:
    """Return links with points in the unit coordinates of their views and weights of at most 1."""
    first, second = (
        geometry.to_unit(points[None], view.box)[0]
        for points, view in zip((found.first, found.second), loss.views, strict=True)
    )
    largest = found.weight.max() if len(found.weight) else 1
    return found._replace(first=first, second=second, weight=found.weight / largest)


def spread(found: Links, most: int) -> Links:
    """So many of the links, evenly spread over their order."""
    if len(found.weight) <= most:
        return found
    kept = torch.linspace(0, len(found.weight) - 1, most).round().long()
    return Links(*(part[kept] for part in found))


def apart(points: Tensor, most: int) -> list[int]:
    """Indices of so many points [n, 2] that lie far apart: each is the farthest from all before it."""
    kept: list[int] = []
    far = torch.cdist(points, points.mean(dim=0, keepdim=True)).amin(dim=1)
    while len(kept) < min(most, len(points)):
        kept.append(int(far.argmax()))
        far = torch.cdist(points, points[kept]).amin(dim=1)
    return kept


def match_sheet(
    source: Image.Image, pair: tuple[View, View], losses: Mapping[str, tuple[Any, Loss]], note: str
) -> Figure:
    """Labelled panels: the source with its two views, then what each strategy links."""
    rows = (len(losses) + 2) // 2
    height = rows * 1.85 + 0.25
    figure = Figure(figsize=(WIDTH, height))
    figure.subplots_adjust(0.01, 0.25 / height, 0.99, 1 - 0.25 / height, hspace=0.16, wspace=0.04)
    axes = figure.subplots(rows, 2, squeeze=False).flatten()
    turned = ", one mirrored" if is_mirrored(pair[0]) != is_mirrored(pair[1]) else ""
    label(show_source(axes[0], source, pair), 0, "two views", f"first blue, second orange{turned}")
    for number, (name, (strategy, loss)) in enumerate(losses.items(), start=1):
        ax = show_views(axes[number], pair, [1 - FADED * (1 - pixels(seen)) for seen in pair])
        told = caption(loss, show_match(ax, strategy, loss))
        label(ax, number, name, told if strategy.region is None else f"{told}; dots: regions")
    for ax in axes[1 + len(losses) :]:
        ax.set_axis_off()
    figure.text(0.5, 0.05 / height, note, ha="center", va="bottom", fontsize=6, color="0.3")
    return figure


def label(ax: Axes, number: int, name: str, told: str) -> None:
    """A panel's letter and name at its left, what is to be said of it at its right."""
    ax.set_title(f"({chr(ord('a') + number)}) {name}", loc="left", fontsize=7.5, fontweight="bold", pad=3)
    ax.set_title(told, loc="right", fontsize=6.5, color="0.3", pad=3)


def caption(loss: Loss, shown: int) -> str:
    """How many pairs there are and are drawn, and how far apart they lie."""
    count = int((loss.forth.weight > 0).sum())
    if count == 0:
        return "no pair"
    pairs = f"{count} pair{'' if count == 1 else 's'}" if shown == count else f"{shown} of {count} pairs shown"
    return f"{pairs}, error {float(match_error(loss)):.2f} cells"


def show_source(ax: Axes, source: Image.Image, pair: tuple[View, View]) -> Axes:
    """The source as high as a view or as wide as two, and where the views lie in it."""
    scale = max(source.height, source.width / (2 + GAP))
    width, height = source.width / scale, source.height / scale
    left, top = (2 + GAP - width) / 2, (1 - height) / 2
    ax.imshow(source, extent=(left, left + width, top + height, top))
    for seen, colour in zip(pair, VIEWS, strict=True):
        x0, y0, x1, y1 = (geometry.overlap(seen.box, seen.box)[0] / scale).tolist()
        cased(ax, (x0, y0, x1, y1), (left, top), colour)
    return bare(ax)


def show_match(ax: Axes, strategy: Any, loss: Loss) -> int:
    """Draw what a strategy links, in boxes, whole views or lines; the number of pairs drawn."""
    found = spread(in_views(links(loss), loss), LINES)
    if isinstance(strategy, CandidateRegions):
        first, second = loss.views
        return show_boxes(ax, strategy.boxes(first.box, second.box, Stream(first.seed)))
    if strategy.region is not None:
        return show_lines(ax, found, np.full(3, 0.25), *region_colours(loss, found))
    if isinstance(strategy, SimSiam):
        for left in (0.0, 1 + GAP):
            cased(ax, (0.04, 0.04, 0.96, 0.96), (left, 0.0), COLOURS[2])
        return show_lines(ax, found, *[matplotlib.colors.to_rgb(COLOURS[2])] * 3)
    return show_lines(ax, found, *[place_colours(found)] * 3)


def place_colours(found: Links) -> Pixels:
    """Colours [n, 4] by the place in the first view, from its left to its right."""
    across = found.first[:, 0]
    low, high = (across.min(), across.max()) if len(across) else (0, 1)
    colours: Pixels = matplotlib.colormaps["viridis"](((across - low) / max(high - low, 1e-6)).numpy())
    return colours


def region_colours(loss: Loss, found: Links) -> tuple[Pixels, Pixels]:
    """Colours [n, 3] of the links' points in either view by the arg-max of z there, as in Fig. A1."""
    read = (rows[0] @ seen.z[0] for rows, seen in zip(loss.forth[:2], loss.views, strict=True))
    first, second = (z.argmax(dim=1)[sites].numpy() for z, sites in zip(read, found.sites.T, strict=True))
    colours = palette(loss.views[0].z.shape[2])
    return colours[first], colours[second]


def show_lines(ax: Axes, found: Links, lines: Any, first: Any, second: Any) -> int:
    """Draw links as lines, the stronger the thicker, between points, all of the given colours; the number drawn."""
    ends = torch.stack([found.first, found.second + torch.tensor([1 + GAP, 0.0])], dim=1).numpy()
    strength = found.weight.numpy()
    drawn = LineCollection(list(ends), colors=lines, linewidths=0.2 + 0.5 * strength, alpha=0.2 + 0.6 * strength)
    ax.add_collection(drawn, autolim=False)
    for number, colours in enumerate((first, second)):
        across, down = ends[:, number].T
        ax.scatter(across, down, s=9, c=np.atleast_2d(colours), edgecolors="black", linewidths=0.3, zorder=3)
    return len(ends)


def show_boxes(ax: Axes, pairs: Pairs) -> int:
    """Draw BOXES of one image's valid pairs of boxes, each in a colour and with a number; the number drawn."""
    first, second = pairs.first[0][pairs.valid[0]], pairs.second[0][pairs.valid[0]]
    kept = apart((first[:, :2] + first[:, 2:]) / 2, BOXES)
    for number, index in enumerate(kept):
        for left, box in ((0.0, first[index].tolist()), (1 + GAP, second[index].tolist())):
            cased(ax, box, (left, 0.0), COLOURS[number])
            at = left + box[0] + 0.02, box[1] + 0.02
            ax.text(*at, str(number + 1), va="top", fontsize=6, fontweight="bold", path_effects=HALO)
    return len(kept)
