"""What several plots have in common: a legend, axes and a mean with its interval."""

from __future__ import annotations

import statistics
from typing import Any

from matplotlib.figure import Figure

from harness.evidence.rows import Row
from harness.evidence.statistics import interval
from harness.tables import Column

ACROSS = 4  # panels beside each other
AXES = {
    "collapse": "std of ẑ·√C", "rank": "effective rank of ẑ", "matched": "images with a pair, %",
    "pairs": "pairs an image", "error": "match error, cells", "entropy": "entropy, % of log C",
    "usage": "usage, % of C",
}  # fmt: skip


def legend(figure: Figure) -> Figure:
    """The rows that any panel shows, once, below all panels."""
    found: dict[str, Any] = {}
    for ax in figure.axes:
        found |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(found.values(), found, loc="outside lower center", ncols=5, frameon=False)
    return figure


def axis_of(column: Column) -> str:
    """What an axis says of its numbers, with their unit."""
    percent = column.scale == 100 or "AP" in column.name
    return AXES.get(column.name, column.heading + (", %" if percent else ""))


def estimate(row: Row, column: Column) -> tuple[float, list[list[float]] | None]:
    """Mean over the seeds and how far its 95 % interval reaches below and above; None of one seed."""
    seeds = [[value * column.scale for value in trials] for trials in row.seeds(column).values()]
    mean, found = statistics.fmean(statistics.fmean(trials) for trials in seeds), interval(seeds)
    return mean, [[mean - found.low], [found.high - mean]] if found else None
