"""Curves of the loss and the gauges over the pre-training, and a score against each gauge."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.evidence.plots.parts import ACROSS, axis_of, keep_possible, legend, rings
from harness.evidence.rows import Row
from harness.evidence.style import look, wrapped
from harness.records import Record
from harness.tables import GAUGES, Column

# the losses of two strategies have no common scale or zero, but how far each falls can be compared
LOSS = Column("loss", "loss", axis="loss, change from its start")
MOST_POINTS = 200  # of a curve; of a longer one every point is the mean of several steps


def gauge_curves(rows: Sequence[Row]) -> Figure:
    """Draw the change of the loss and every gauge over the steps, one line per row."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    for ax, column in zip(figure.subplots(2, ACROSS).flat, (LOSS, *GAUGES), strict=True):
        curve(ax, rows, column).set_title(axis_of(column))
    return legend(figure)


def curve(ax: Axes, rows: Sequence[Row], column: Column) -> Axes:
    """Draw one measurement over the steps: the mean of a row's runs as a line, their range as a band."""
    for row in rows:
        steps, runs = values_over_steps(row.runs, column)
        if steps:
            runs = [change(values) if column is LOSS else values for values in runs]
            mean, low, high = (
                thinned([end(values) for values in zip(*runs, strict=True)]) for end in (statistics.fmean, min, max)
            )
            colour, dash, _ = look(row.label)
            places = thinned(steps)
            ax.plot(places, mean, dash, color=colour, linewidth=1.1, label=wrapped(row.label))
            if len(runs) > 1:
                ax.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0)
    keep_possible(ax, column, across=False)
    ax.set_xlabel("step")
    return ax


def values_over_steps(runs: Sequence[Record], column: Column) -> tuple[list[int], list[list[float]]]:
    """Return the steps at which every run has measured something, and each run's values there."""
    measured = [
        {point["step"]: value * column.scale for point in run.curve if (value := point.get(column.name)) is not None}
        for run in runs
    ]
    steps = sorted(set.intersection(*map(set, measured))) if measured else []
    return steps, [[values[step] for step in steps] for values in measured]


def change(values: Sequence[float]) -> list[float]:
    """Return values minus their start: the median of the first tenth, which one odd batch cannot move."""
    start = statistics.median(values[: max(1, len(values) // 10)])
    return [value - start for value in values]


def thinned(values: Sequence[float]) -> list[float]:
    """Return at most MOST_POINTS values, each the mean of as many neighbours."""
    size = -(-len(values) // MOST_POINTS)
    return [statistics.fmean(values[start : start + size]) for start in range(0, len(values), size)]


def against_gauges(rows: Sequence[Row], column: Column) -> Figure:
    """Draw a score over every gauge of its pre-training; ValueError where no run has any."""
    if not any(run.curve for row in rows for run in row.runs):
        raise ValueError(f"no run that was pre-trained has {column.name}, so there is nothing to draw against gauges")
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.subplots(2, ACROSS, sharey=True).flatten()
    for ax, gauge in zip(axes, GAUGES, strict=False):
        against_gauge(ax, rows, gauge, column)
    keep_possible(axes[0], column, across=False)
    for ax in axes[::ACROSS]:
        ax.set_ylabel(axis_of(column))
    for ax in axes[len(GAUGES) :]:
        ax.remove()
    return legend(figure)


def against_gauge(ax: Axes, rows: Sequence[Row], gauge: Column, column: Column) -> Axes:
    """Draw every run at its gauge and score, hollow, and the mean of the row, filled."""
    for row in rows:
        pairs = [(run.gauges()[gauge.name] * gauge.scale, (run.scores or {})[column.name] * column.scale)
                 for run in row.runs if gauge.name in run.gauges() and column.name in (run.scores or {})]  # fmt: skip
        if pairs:
            colour, _, marker = look(row.label)
            x, y = zip(*pairs, strict=True)
            rings(ax, x, y, marker, colour)
            middle = statistics.fmean(x), statistics.fmean(y)
            ax.plot(*middle, marker, color=colour, markersize=5.5, label=wrapped(row.label), clip_on=False)
    ax.margins(0.12)
    ax.autoscale_view()
    keep_possible(ax, gauge, across=True)
    ax.set_xlabel(axis_of(gauge))
    return ax
