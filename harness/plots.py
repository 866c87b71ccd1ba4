"""Plots of the records: a table's rows as dots, and the curves of a pre-training. Axes in, axes out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness import files
from harness.records import Record
from harness.tables import GAUGES, SCORES, TABLES, Column, Row

COLOURS = {  # of every row wherever it is drawn: Okabe and Ito's, told apart by the colour-blind, and two greys
    "SimSiam": "#56B4E9", "feature similarity": "#D55E00", "pixel distance": "#009E73", "candidate regions": "#CC79A7",
    "location": "#0072B2", "7×7 regular grid": "#0072B2", "location + region": "#000000", "random": "#999999",
    "shuffled": "#BBBBBB", "uniform": "#E69F00", "mildly biased": "#8A6A00", "heavily biased": "#7A4FB5",
}  # fmt: skip
DASHES = {"uniform": "--", "mildly biased": "-.", "heavily biased": ":", "shuffled": "--"}
STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "0",
}


def write(name: str, rows: Sequence[Row], note: str, stem: Path) -> list[Path]:
    """Draw a table's plot to stem.png and stem.pdf and return both; the same records give the same bytes."""
    with rc_context(STYLE):
        figure = gauge_curves(rows) if TABLES[name].columns is GAUGES else dots(rows)
        figure.suptitle(f"{name}: {TABLES[name].summary}\n{note}", fontsize=9)
        return save(figure, stem)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and PDF, without the time of day."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    for path, metadata in zip(paths, ({"Software": None}, {"CreationDate": None, "Producer": None}), strict=True):
        files.write(path, lambda out, kind=path.suffix[1:], facts=metadata: figure.savefig(
            out, format=kind, dpi=200, metadata=facts))  # type: ignore[misc]  # fmt: skip
    return paths


def dots(rows: Sequence[Row]) -> Figure:
    """The paper's scores above ours, a column of panels for each score."""
    figure = Figure(figsize=(7.2, 1.6 + 0.36 * len(rows)), layout="constrained")
    panels = figure.subplots(2, len(SCORES), sharey="row")
    for column, (above, below) in zip(SCORES, panels.T, strict=True):
        reported(above, rows, column).set_title(f"{column.heading}, the paper's")
        measured(below, rows, column).set_title(f"{column.heading}, ours")
    return figure


def reported(ax: Axes, rows: Sequence[Row], column: Column) -> Axes:
    """One dot a row of the paper's numbers."""
    for place, row in enumerate(rows):
        if row.reported:
            ax.plot(row.reported[column.name], place, "D", color=COLOURS[row.label], markersize=5)
    return label(ax, [row.label for row in rows])


def measured(ax: Axes, rows: Sequence[Row], column: Column) -> Axes:
    """Every run of ours as a ring, their mean as a dot and, with more than one run, a bar of ± their std."""
    for place, row in enumerate(rows):
        if values := row.values(column):
            colour = COLOURS[row.label]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            ax.plot(values, [place] * len(values), "o", color=colour, markerfacecolor="none", markersize=4, alpha=0.6)
            ax.errorbar(statistics.mean(values), place, xerr=spread or None, fmt="o", color=colour, markersize=5)
    ax.margins(x=0.1)
    return label(ax, [f"{row.label} (n={row.n})" for row in rows])


def label(ax: Axes, names: Sequence[str]) -> Axes:
    """Name the rows, the first at the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    return ax


def gauge_curves(rows: Sequence[Row]) -> Figure:
    """The loss and every gauge over the steps, one line a row: the mean of its runs and their range."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    columns = (Column("loss", "loss"), *GAUGES)
    for ax, column in zip(figure.subplots(2, 4).flat, columns, strict=True):
        gauge(ax, rows, column).set_title(column.heading + (", %" if column.scale == 100 else ""))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    return figure


def gauge(ax: Axes, rows: Sequence[Row], column: Column) -> Axes:
    """One measurement over the steps."""
    for row in rows:
        steps, lines = lines_of(row.runs, column)
        if steps:
            mean = [statistics.fmean(values) for values in zip(*lines, strict=True)]
            colour = COLOURS[row.label]
            ax.plot(steps, mean, DASHES.get(row.label, "-"), color=colour, linewidth=1.1, label=row.label)
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
