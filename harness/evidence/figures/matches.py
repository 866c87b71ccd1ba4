"""Which places each strategy pairs in two views of one image."""

from __future__ import annotations

import colorsys
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from harness.evidence.figures.drawing import (
    GAP,
    VIEWS,
    WIDTH,
    Pixels,
    bare,
    caption_lines,
    describe_views,
    outline_on_any_ground,
    pixels,
    show_views,
)
from harness.evidence.figures.models import Weights, load
from harness.evidence.figures.pairs import SitePairs, loss_of, site_pairs
from harness.evidence.figures.views import display, find_views, is_mirrored
from harness.evidence.style import BLACK, GREEN, PURPLE, SKY, VERMILION, YELLOW, drawing
from harness.experiment import rebuild
from harness.presets import PRESETS
from harness.settings import change, split_change
from harness.tables import TABLES
from methods import geometry
from methods.boxes import Pairs
from methods.correspondence import Strategy
from methods.pixsim import Loss
from methods.recipe import require
from methods.views import View, read

COLOURS = SKY, VERMILION, GREEN, YELLOW, PURPLE, BLACK  # of boxes
HALO = (withStroke(linewidth=1.5, foreground="white"),)  # of letters on a picture
FADED = 0.6  # contrast of a view under its pairs
LINES, BOXES = 60, len(COLOURS)  # pairs drawn at most in a panel
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
    """Draw the pairs of one strategy, or of every strategy that trains, in two views of one image.

    One of the views is mirrored if the recipe ever mirrors one. Recipe and weights are those of the record's run;
    without a record they are the demo's recipe and random weights.
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
    losses = {name: (chosen[name], loss_of(model, pair)) for name, model in models.items()}
    origin = f"the weights of run {record.id}" if record else f"random weights of seed {seed}"
    views = describe_views(next(iter(models.values())), pair[0])
    note = f"Encoder {recipe.encoder} with {origin}; image: {image.name if image else 'an embedded scene'}. {views}"
    return match_sheet(source, pair, losses, note)


def known_weights(record: records.Record | None, strategy: Strategy) -> Weights:
    """Return the backbone of a run, and also its heads if the run trained this very strategy."""
    if record is None:
        return Weights()
    heads = record.folder / records.HEADS
    trained = heads.exists() and rebuild(record.settings).strategy == strategy
    return Weights(record.folder / records.BACKBONE, heads if trained else None)


def choose_strategies(name: str | None, changes: Sequence[tuple[str, str, str]]) -> dict[str, Strategy]:
    """Return one strategy, or all that train, those of Table A1 first; ValueError for one that pairs nothing."""
    if name is not None:
        strategy: Strategy = change(plugins.strategy(name)(), "strategy", changes)
        if not strategy.trains:
            raise ValueError(f"--strategy {name}: it pairs nothing, so there is nothing to draw")
        return {name: strategy}
    if any(part == "strategy" for part, _, _ in changes):
        raise ValueError("--set strategy.FIELD changes one strategy: name it with --strategy")
    order = [shlex.split(options)[-1] for options in TABLES["A1"].rows.values()]
    names = sorted(
        plugins.strategy_files(), key=lambda name: (order.index(name) if name in order else len(order), name)
    )
    strategies = {name: plugins.strategy(name)() for name in names}
    return {name: strategy for name, strategy in strategies.items() if strategy.trains}


def in_views(pairs: SitePairs, loss: Loss) -> SitePairs:
    """Return pairs with places in the unit coordinates of their views, and with weights of at most 1."""
    first, second = (
        geometry.to_unit(points[None], view.box)[0]
        for points, view in zip((pairs.first, pairs.second), loss.views, strict=True)
    )
    largest = pairs.weight.max() if len(pairs.weight) else 1
    return pairs._replace(first=first, second=second, weight=pairs.weight / largest)


def evenly_spread(pairs: SitePairs, most: int) -> SitePairs:
    """Return at most so many of the pairs, evenly spread over their order."""
    if len(pairs.weight) <= most:
        return pairs
    kept = torch.linspace(0, len(pairs.weight) - 1, most).round().long()
    return SitePairs(*(part[kept] for part in pairs))


def farthest_points(points: Tensor, most: int) -> list[int]:
    """Return the indices of so many points [n, 2] that lie far apart: each is the farthest from all before it."""
    kept: list[int] = []
    distance = torch.cdist(points, points.mean(dim=0, keepdim=True)).amin(dim=1)
    while len(kept) < min(most, len(points)):
        kept.append(int(distance.argmax()))
        distance = torch.cdist(points, points[kept]).amin(dim=1)
    return kept


def match_sheet(
    source: Image.Image, pair: tuple[View, View], losses: Mapping[str, tuple[Strategy, Loss]], note: str
) -> Figure:
    """Draw labelled panels: the source with its two views, then the pairs of each strategy."""
    rows = (len(losses) + 2) // 2
    height = rows * 1.85 + 0.25
    figure = Figure(figsize=(WIDTH, height))
    figure.subplots_adjust(0.01, 0.25 / height, 0.99, 1 - 0.25 / height, hspace=0.16, wspace=0.04)
    axes = figure.subplots(rows, 2, squeeze=False).flatten()
    mirrored = ", one mirrored" if is_mirrored(pair[0]) != is_mirrored(pair[1]) else ""
    label(show_source(axes[0], source, pair), 0, "two views", f"first blue, second orange{mirrored}")
    for number, (name, (strategy, loss)) in enumerate(losses.items(), start=1):
        ax = show_views(axes[number], pair, [1 - FADED * (1 - pixels(view)) for view in pair])
        text = count_pairs(loss, show_match(ax, strategy, loss))
        label(ax, number, name, f"{text}; colour: region" if strategy.regional else text)
    for ax in axes[1 + len(losses) :]:
        ax.set_axis_off()
    figure.text(0.5, 0.05 / height, caption_lines(note, WIDTH), ha="center", va="bottom", fontsize=6, color="0.3")
    return figure


def label(ax: Axes, number: int, name: str, text: str) -> None:
    """Write a panel's letter and name above its left, and a text above its right."""
    ax.set_title(f"({chr(ord('a') + number)}) {name}", loc="left", fontsize=7.5, fontweight="bold", pad=3)
    ax.set_title(text, loc="right", fontsize=6.5, color="0.3", pad=3)


def count_pairs(loss: Loss, shown: int) -> str:
    """Return how many pairs there are, how many are drawn, and the distance of their sites in the source."""
    count = int((loss.forth.weight > 0).sum())
    if count == 0:
        return "no pair"
    pairs = f"{count} pair{'' if count == 1 else 's'}" if shown == count else f"{shown} of {count} pairs shown"
    return f"{pairs}, error {float(match_error(loss)):.2f} cells"


def show_source(ax: Axes, source: Image.Image, pair: tuple[View, View]) -> Axes:
    """Draw the source, as high as a view or as wide as two, and the frames of the views in it."""
    scale = max(source.height, source.width / (2 + GAP))
    width, height = source.width / scale, source.height / scale
    left, top = (2 + GAP - width) / 2, (1 - height) / 2
    ax.imshow(source, extent=(left, left + width, top + height, top))
    for view, colour in zip(pair, VIEWS, strict=True):
        x0, y0, x1, y1 = (geometry.overlap(view.box, view.box)[0] / scale).tolist()
        outline_on_any_ground(ax, (x0, y0, x1, y1), (left, top), colour)
    return bare(ax)


def show_match(ax: Axes, strategy: Strategy, loss: Loss) -> int:
    """Draw the pairs of a strategy as boxes, if it outlines its sites, else as lines; return how many are drawn."""
    if boxes := strategy.outlines(*loss.views):
        return show_boxes(ax, boxes)
    pairs = evenly_spread(in_views(site_pairs(loss), loss), LINES)
    if strategy.regional:
        return show_lines(ax, pairs, np.full(3, 0.25), *region_colours(loss, pairs))
    return show_lines(ax, pairs, *[place_colours(pairs)] * 3)


def place_colours(pairs: SitePairs) -> Pixels:
    """Return colours [n, 4] by the place in the first view, from its left to its right."""
    across = pairs.first[:, 0]
    low, high = (across.min(), across.max()) if len(across) else (0, 1)
    colours: Pixels = matplotlib.colormaps["viridis"](((across - low) / max(high - low, 1e-6)).numpy())
    return colours


def palette(count: int) -> Pixels:
    """Return colours [count, 3] of the channels 0 … count − 1; a channel has its colour whatever the count.

    Hue, lightness and saturation follow Roberts's R3 sequence (2018), which keeps the first points of any number apart.
    """
    ratio = 1.2207440846057596  # the root of x⁴ = x + 1
    steps = np.arange(1, count + 1)[:, None] / ratio ** np.arange(1, 4) % 1
    return np.array([colorsys.hls_to_rgb(hue, 0.35 + 0.4 * light, 0.6 + 0.4 * full) for hue, light, full in steps])


def region_colours(loss: Loss, pairs: SitePairs) -> tuple[Pixels, Pixels]:
    """Return colours [n, 3] of the places in either view by the region there: the arg-max channel of z."""
    read = (rows[0] @ features.z[0] for rows, features in zip(loss.forth[:2], loss.views, strict=True))
    first, second = (z.argmax(dim=1)[sites].numpy() for z, sites in zip(read, pairs.sites.T, strict=True))
    colours = palette(loss.views[0].z.shape[2])
    return colours[first], colours[second]


def show_lines(ax: Axes, pairs: SitePairs, lines: Pixels, first: Pixels, second: Pixels) -> int:
    """Draw pairs as lines between places, the thicker the stronger; return how many are drawn.

    Colours of the lines and of the places in either view: one, or one for each pair.
    """
    ends = torch.stack([pairs.first, pairs.second + torch.tensor([1 + GAP, 0.0])], dim=1).numpy()
    strength = pairs.weight.numpy()
    drawn = LineCollection(list(ends), colors=lines, linewidths=0.2 + 0.5 * strength, alpha=0.2 + 0.6 * strength)
    ax.add_collection(drawn, autolim=False)
    for number, colours in enumerate((first, second)):
        across, down = ends[:, number].T
        ax.scatter(across, down, s=9, c=np.atleast_2d(colours), edgecolors="black", linewidths=0.3, zorder=3)
    return len(ends)


def show_boxes(ax: Axes, pairs: Pairs) -> int:
    """Draw BOXES of the valid pairs of boxes of one image, each in a colour and with a number; return how many."""
    first, second = pairs.first[0][pairs.valid[0]], pairs.second[0][pairs.valid[0]]
    kept = farthest_points((first[:, :2] + first[:, 2:]) / 2, BOXES)
    for number, index in enumerate(kept):
        for left, box in ((0.0, first[index].tolist()), (1 + GAP, second[index].tolist())):
            outline_on_any_ground(ax, box, (left, 0.0), COLOURS[number])
            at = left + box[0] + 0.02, box[1] + 0.02
            ax.text(*at, str(number + 1), va="top", fontsize=6, fontweight="bold", path_effects=HALO)
    return len(kept)
