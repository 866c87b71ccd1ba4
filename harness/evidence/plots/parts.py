"""What several plots share: a mean with its interval, axes within what is possible, and a legend."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.evidence.rows import Row
from harness.evidence.statistics import interval
from harness.evidence.style import look
from harness.tables import Column

ACROSS = 4  # panels beside each other


class Estimate(NamedTuple):
    """The mean over the seeds of a row and its 95 % interval, which one seed does not have; in the units shown."""

    mean: float
    low: float | None
    high: float | None


def estimate(row: Row, column: Column) -> Estimate:
    """Return the mean of a row that has values, and its interval."""
    seeds = [[value * column.scale for value in trials] for trials in row.seeds(column).values()]
    mean, ends = statistics.fmean(statistics.fmean(trials) for trials in seeds), interval(seeds)
    return Estimate(mean, *(ends or (None, None)))


def bar(ax: Axes, row: Row, column: Column, place: float, across: bool) -> float:
    """Draw the mean of a row at a place and its interval as a bar, along x if across, else along y; return the mean.

    An interval ends where no score is possible any more, and an arrowhead there says that it would go on.
    """
    mean, low, high = estimate(row, column)
    colour = look(row.label).colour
    if low is not None and high is not None:
        least, most = column.limits if column.limits and column.limits[0] <= mean <= column.limits[1] else (low, high)
        ends = max(low, least), min(high, most)
        ax.plot(*order(ends, (place, place), across), color=colour, linewidth=1.4, clip_on=False)
        heads = [(least, "<" if across else "v")] * (low < least) + [(most, ">" if across else "^")] * (high > most)
        for end, head in heads:
            ax.plot(*order((end,), (place,), across), head, color=colour, markersize=4, clip_on=False)
    return mean


def rings(ax: Axes, x: Sequence[float], y: Sequence[float], marker: str, colour: str) -> None:
    """Draw single runs, hollow."""
    ax.plot(x, y, marker, color=colour, markerfacecolor="none", markersize=4, alpha=0.6, clip_on=False)


def order(values: tuple[float, ...], places: tuple[float, ...], across: bool) -> tuple[tuple[float, ...], ...]:
    """Return values and places as x and y."""
    return (values, places) if across else (places, values)


def keep_possible(ax: Axes, column: Column, across: bool) -> None:
    """End the axis of a column where no value is possible any more, unless a record holds such a value after all."""
    if column.limits:
        sharing = (ax.get_shared_x_axes() if across else ax.get_shared_y_axes()).get_siblings(ax)
        drawn = [end for one in sharing for end in (one.dataLim.intervalx if across else one.dataLim.intervaly)]
        least, most = column.limits
        if all(least <= end <= most for end in drawn if math.isfinite(end)):
            low, high = ax.get_xlim() if across else ax.get_ylim()
            (ax.set_xlim if across else ax.set_ylim)(max(low, least), min(high, most))


def axis_of(column: Column) -> str:
    """Return what an axis says: name and unit."""
    return column.axis or column.heading


def legend(figure: Figure) -> Figure:
    """Add one legend, below all panels, of the rows that any panel shows."""
    entries: dict[str, Artist] = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(entries.values(), [*entries], loc="outside lower center", ncols=5, frameon=False)
    return figure
