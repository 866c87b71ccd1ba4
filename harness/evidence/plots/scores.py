"""Plots of the records: a table's rows as dots, scores against steps and gauges, curves. Axes in, axes out."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from harness.evidence.plots.parts import ACROSS, estimate
from harness.evidence.rows import Row
from harness.evidence.style import label_of, look
from harness.tables import SCORES, Column


def dots(rows: Sequence[Row], columns: Sequence[Column] = SCORES) -> Figure:
    """The paper's scores, where there are any, above ours, a column of panels for each score."""
    bands = [columns[start : start + ACROSS] for start in range(0, len(columns), ACROSS)]
    papers = [row for row in rows if any(column.name in row.reported for column in columns)]
    height = sum(0.1 + 0.14 * (1 + label_of(row.label).count("\n")) for row in (*rows, *papers))
    figure = Figure(figsize=(7.2, 1.0 + len(bands) * (0.8 + height)), layout="constrained")
    for part, band in zip(figure.subfigures(len(bands), 1, squeeze=False).flat, bands, strict=True):
        panels(part, rows, [row for row in papers if any(column.name in row.reported for column in band)], band)
    return figure


def panels(part: SubFigure, rows: Sequence[Row], papers: Sequence[Row], columns: Sequence[Column]) -> None:
    """The scores that stand beside each other."""
    lines = [len(papers), len(rows)] if papers else [len(rows)]
    axes = part.subplots(len(lines), len(columns), sharey="row", squeeze=False, height_ratios=lines)
    for column, stack in zip(columns, axes.T, strict=True):
        if papers:
            reported(stack[0], papers, column).set_title(f"{column.heading}, the paper's")
        measured(stack[-1], rows, column).set_title(f"{column.heading}, ours")


def reported(ax: Axes, rows: Sequence[Row], column: Column) -> Axes:
    """One diamond a row of the paper's numbers; no scale where it has none."""
    for place, row in enumerate(rows):
        if column.name in row.reported:
            ax.plot(row.reported[column.name] * column.scale, place, "D", color=look(row.label).colour, markersize=5)
    if not any(column.name in row.reported for row in rows):
        ax.set_xticks([])
    ax.margins(x=0.1)
    return label(ax, [row.label for row in rows])


def measured(ax: Axes, rows: Sequence[Row], column: Column) -> Axes:
    """Every run of ours as a ring, the mean as a dot and, from two seeds on, its 95 % interval as a bar."""
    for place, row in enumerate(rows):
        if row.values(column):
            colour, values = look(row.label).colour, [value * column.scale for value in row.values(column)]
            ax.plot(values, [place] * len(values), "o", color=colour, markerfacecolor="none", markersize=4, alpha=0.6)
            mean, ends = estimate(row, column)
            ax.errorbar(mean, place, xerr=ends, fmt="o", color=colour, markersize=5)
    ax.margins(x=0.1)
    return label(ax, [f"{row.label} (n={row.count})" for row in rows])


def label(ax: Axes, names: Sequence[str]) -> Axes:
    """Name the rows, the first at the top."""
    ax.set_yticks(range(len(names)), [label_of(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    return ax
