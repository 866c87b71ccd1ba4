"""Curves of the loss and the gauges, and a score against each gauge."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.evidence.plots.parts import ACROSS, axis_of, legend
from harness.evidence.rows import Row
from harness.evidence.style import label_of, look
from harness.records import Record
from harness.tables import GAUGES, Column


def gauge_curves(rows: Sequence[Row]) -> Figure:
    """The loss and every gauge over the steps, one line a row: the mean of its runs and their range."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    columns = (Column("loss", "loss"), *GAUGES)
    for ax, column in zip(figure.subplots(2, 4).flat, columns, strict=True):
        gauge(ax, rows, column).set_title(axis_of(column))
    return legend(figure)


def gauge(ax: Axes, rows: Sequence[Row], column: Column) -> Axes:
    """One measurement over the steps."""
    for row in rows:
        steps, lines = lines_of(row.runs, column)
        if steps:
            mean = [statistics.fmean(values) for values in zip(*lines, strict=True)]
            colour, dash, _ = look(row.label)
            ax.plot(steps, mean, dash, color=colour, linewidth=1.1, label=label_of(row.label))
            if len(lines) > 1:
                low, high = ([end(values) for values in zip(*lines, strict=True)] for end in (min, max))
                ax.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
    ax.set_xlabel("step")
    return ax


def lines_of(runs: Sequence[Record], column: Column) -> tuple[list[int], list[list[float]]]:
    """The steps at which all runs have measured something, and each run's values there."""
    found = [
        {point["step"]: point[column.name] * column.scale for point in run.curve if column.name in present(point)}
        for run in runs
    ]
    steps = sorted(set.intersection(*(set(one) for one in found))) if found else []
    return steps, [[one[step] for step in steps] for one in found]


def present(point: dict[str, Any]) -> set[str]:
    """What a point of a curve has measured."""
    return {name for name, value in point.items() if value is not None}


def against_gauges(rows: Sequence[Row], column: Column) -> Figure:
    """A score over every gauge of its pre-training; ValueError where no run has any."""
    if not any(run.curve for row in rows for run in row.runs):
        raise ValueError(f"no run that was pre-trained has {column.name}, so there is nothing to draw against gauges")
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.subplots(2, ACROSS, sharey=True).flatten()
    for ax, one in zip(axes, GAUGES, strict=False):
        by_gauge(ax, rows, one, column)
    for ax in axes[::ACROSS]:
        ax.set_ylabel(axis_of(column))
    for ax in axes[len(GAUGES) :]:
        ax.remove()
    return legend(figure)


def by_gauge(ax: Axes, rows: Sequence[Row], gauge: Column, column: Column) -> Axes:
    """Every run at its gauge and score, hollow, and the row's mean, filled."""
    for row in rows:
        pairs = [(run.gauges()[gauge.name] * gauge.scale, (run.scores or {})[column.name] * column.scale)
                 for run in row.runs if gauge.name in run.gauges() and column.name in (run.scores or {})]  # fmt: skip
        if pairs:
            colour, _, marker = look(row.label)
            ax.plot(*zip(*pairs, strict=True), marker, color=colour, markerfacecolor="none", markersize=4, alpha=0.6)
            means = [statistics.fmean(values) for values in zip(*pairs, strict=True)]
            ax.plot(*([value] for value in means), marker, color=colour, markersize=5.5, label=label_of(row.label))
    ax.margins(0.12)
    ax.set_xlabel(axis_of(gauge))
    return ax
