"""A table's scores as dots: the paper's numbers above, ours below, each with a scale of its own."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from harness.evidence.plots.parts import ACROSS, bar, estimate, keep_possible, rings
from harness.evidence.rows import Row
from harness.evidence.style import GREY, GRID, look, wrapped
from harness.tables import SCORES, Column

REFERENCE = "random"  # the control without pre-training, whose mean every other row should exceed


def dots(rows: Sequence[Row], columns: Sequence[Column] = SCORES) -> Figure:
    """Draw a column of panels for each score: the paper's numbers, where there are any, above ours."""
    bands = [columns[start : start + ACROSS] for start in range(0, len(columns), ACROSS)]
    papers = [row for row in rows if any(column.name in row.reported for column in columns)]
    height = sum(0.1 + 0.14 * (1 + wrapped(row.label).count("\n")) for row in (*rows, *papers))
    figure = Figure(figsize=(7.2, 1.0 + len(bands) * (0.8 + height)), layout="constrained")
    for part, band in zip(figure.subfigures(len(bands), 1, squeeze=False).flat, bands, strict=True):
        panels(part, rows, [row for row in papers if any(column.name in row.reported for column in band)], band)
    return figure


def panels(part: SubFigure, rows: Sequence[Row], papers: Sequence[Row], columns: Sequence[Column]) -> None:
    """Draw the scores that stand beside each other."""
    heights = [len(papers), len(rows)] if papers else [len(rows)]
    axes = part.subplots(len(heights), len(columns), sharey="row", squeeze=False, height_ratios=heights)
    for column, stack in zip(columns, axes.T, strict=True):
        if papers:
            reported(stack[0], papers, column).set_title(f"{column.heading}, paper")
        measured(stack[-1], rows, column).set_title(f"{column.heading}, ours")


def reported(ax: Axes, rows: Sequence[Row], column: Column) -> Axes:
    """Draw the paper's number of each row as a diamond."""
    for place, row in enumerate(rows):
        if column.name in row.reported:
            ax.plot(row.reported[column.name] * column.scale, place, "D", color=look(row.label).colour, markersize=5)
    if not any(column.name in row.reported for row in rows):
        ax.set_xticks([])
    return name_rows(ax, [row.label for row in rows], column)


def measured(ax: Axes, rows: Sequence[Row], column: Column) -> Axes:
    """Draw every run of ours as a ring, the mean as a dot, its 95 % interval as a bar, and a line at `random`."""
    for place, row in enumerate(rows):
        if values := [value * column.scale for value in row.values(column)]:
            colour = look(row.label).colour
            rings(ax, values, [place] * len(values), "o", colour)
            mean = bar(ax, row, column, place, across=True)
            ax.plot(mean, place, "o", color=colour, markersize=5, clip_on=False)
    if reference := reference_of(rows, column):
        ax.axvline(estimate(reference, column).mean, color=GREY, linestyle=":", linewidth=1, zorder=0)
    return name_rows(ax, [f"{row.label} (n={row.count})" for row in rows], column)


def reference_of(rows: Sequence[Row], column: Column) -> Row | None:
    """Return the control without pre-training if it has this score."""
    return next((row for row in rows if row.control and row.label == REFERENCE and row.values(column)), None)


def name_rows(ax: Axes, labels: Sequence[str], column: Column) -> Axes:
    """Name the rows on the y axis, the first at the top, and end the x axis where no score is possible."""
    ax.margins(x=0.1)
    ax.autoscale_view()
    keep_possible(ax, column, across=True)
    ax.set_yticks(range(len(labels)), [wrapped(label) for label in labels])
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(axis="x", color=GRID, linewidth=0.6)
    return ax
