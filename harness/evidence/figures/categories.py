"""The paper's Fig. A1: the pseudo category of every place in two views of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch.nn import functional as F

from harness import records
from harness.engine.images import list_images, source_folder
from harness.evidence.figures.drawing import GAP, WIDTH, Pixels, bare, caption_lines, describe_views, pixels, show_views
from harness.evidence.figures.models import load_run
from harness.evidence.figures.views import display, find_views
from harness.evidence.style import drawing
from harness.experiment import rebuild
from methods.pixsim import PixSim
from methods.recipe import Recipe, require
from methods.views import View, normalise, read

OPACITY = 0.6  # of a category over its view
COLUMNS = 3  # pairs of views in a row of the figure
COLOURS = (  # of the most frequent categories, from the most frequent on
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#f0e442", "#aa4499",
    "#56b4e9", "#8a5a00", "#a6d96a", "#882255", "#ff9eb5", "#2a2a80",
)  # fmt: skip
REST = "#8c8c8c"  # of all other categories
ENTRY, LINE = 0.74, 0.13  # inches: width of an entry of the key, height of a line of text

Labels = NDArray[np.int64]  # [S, S]: the pseudo category of every pixel of a view


@drawing()
def categories(record: records.Record, cache: Path, images: int, size: int) -> Figure:
    """Draw two views of several images of a run, and in colour which channel of z is the largest at each place.

    METHODS 7.3. `size` is that of a view in pixels.
    """
    trained, seed = rebuild(record.settings), record.settings["seed"]
    recipe = display(trained.recipe, size)
    model = load_run(record)
    pairs = views_of(list_images(source_folder(trained, cache)), recipe, seed, images)
    labels = [(largest_channel(model, first), largest_channel(model, second)) for first, second in pairs]
    count, used = model.branch.head.predictor[-1].out_features, len(np.unique(labels))
    note = f"Run {record.id}: the largest of the {count} channels of z at each place; {used} of them occur here "
    note += "(key: number, share of the pixels). "
    return category_sheet(pairs, labels, note + describe_views(model, pairs[0][0]))


def views_of(files: Sequence[Path], recipe: Recipe, seed: int, images: int) -> list[tuple[View, View]]:
    """Return two views of each of several images, evenly spread over the files of a run."""
    require("--images", images, 1 <= images <= len(files), f"between 1 and {len(files)}, as many as the run has")
    chosen = [number * len(files) // images for number in range(images)]
    return [find_views(read(files[index]), recipe, seed, index, mirrored=False) for index in chosen]


@torch.no_grad()
def largest_channel(model: PixSim, view: View) -> Labels:
    """Return the arg-max channel of z at every pixel of a view; z of the cells is enlarged bilinearly."""
    features = model.look(normalise(view, torch.device("cpu")))
    logits = model.branch.head(features.cells).z.mT.unflatten(2, features.shape)
    side = view.image.shape[-1]
    enlarged = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
    labels: Labels = enlarged.argmax(dim=1)[0].numpy()
    return labels


def shares(labels: Sequence[tuple[Labels, Labels]]) -> dict[int, float]:
    """Return the share of all pixels that each category has, the most frequent category first."""
    found, counts = np.unique(np.array(labels), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {int(found[at]): float(counts[at] / counts.sum()) for at in order}


def category_sheet(pairs: Sequence[tuple[View, View]], labels: Sequence[tuple[Labels, Labels]], note: str) -> Figure:
    """Draw the pairs of views in rows, each above the same two views in colour, then the key and the caption."""
    columns = min(COLUMNS, len(pairs))
    rows, width = -(-len(pairs) // columns), columns * WIDTH / COLUMNS
    share = shares(labels)
    colours = dict(zip(share, COLOURS, strict=False))
    key = [Patch(color=colour, label=f"{channel} ({share[channel]:.0%})") for channel, colour in colours.items()]
    if len(share) > len(colours):
        rest = sum(part for channel, part in share.items() if channel not in colours)
        key.append(Patch(color=REST, label=f"other ({rest:.0%})"))
    across = max(1, int(width / ENTRY))
    lines = caption_lines(note, width)
    below = LINE * (lines.count("\n") + 1) + 0.08
    bottom = below + 1.25 * LINE * math.ceil(len(key) / across) + 0.12
    height = rows * (WIDTH / COLUMNS - 0.02) + bottom
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(0.01, bottom / height, 0.99, 1 - 0.02 / height, hspace=0.04, wspace=0.06)
    for number, (pair, both) in enumerate(zip(pairs, labels, strict=True), start=1):
        ax = figure.add_subplot(rows, columns, number)
        show_views(ax, pair, [pixels(view) for view in pair])
        tinted = [tint(view, one, colours) for view, one in zip(pair, both, strict=True)]
        show_views(ax, pair, tinted, top=1 + GAP / 2)
        bare(ax, height=2 + GAP / 2)
    figure.legend(handles=key, ncols=across, loc="lower center", bbox_to_anchor=(0.5, below / height), frameon=False,
                  fontsize=6, handlelength=1.0, handletextpad=0.4, columnspacing=0.9, borderpad=0)  # fmt: skip
    figure.text(0.5, 0.05 / height, lines, ha="center", va="bottom", fontsize=6, color="0.3")
    return figure


def tint(view: View, labels: Labels, colours: dict[int, str]) -> Pixels:
    """Return a view in grey under the colours of its categories: a category has one colour in all views."""
    grey = pixels(view).mean(axis=2, keepdims=True)
    table = np.tile(to_rgb(REST), (int(labels.max()) + 1, 1))
    for channel, colour in colours.items():
        if channel < len(table):
            table[channel] = to_rgb(colour)
    mixed: Pixels = OPACITY * table[labels] + (1 - OPACITY) * grey
    return mixed
