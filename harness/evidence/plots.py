"""Plots of the records: a table's rows as dots, scores against steps and gauges, curves. Axes in, axes out."""

from __future__ import annotations

import hashlib
import math
import statistics
import textwrap
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import NullFormatter, NullLocator

from benchmarks.resuming import files
from harness import tables
from harness.evidence.statistics import interval
from harness.records import Record
from harness.tables import GAUGES, SCORES, Column, Row, named

COLOURS = {  # of every row wherever it is drawn: Okabe and Ito's, told apart by the colour-blind, and two greys
    "SimSiam": "#56B4E9", "feature similarity": "#D55E00", "pixel distance": "#009E73", "candidate regions": "#CC79A7",
    "location": "#0072B2", "7×7 regular grid": "#0072B2", "location + region": "#000000", "random": "#707070",
    "shuffled": "#B0B0B0", "uniform": "#E69F00", "mildly biased": "#8A6A00", "heavily biased": "#7A4FB5",
}  # fmt: skip
CYCLE = (
    "#332288",
    "#CC6677",
    "#117733",
    "#DDAA33",
    "#88CCEE",
    "#AA4499",
    "#44AA99",
    "#882255",
    "#999933",
)  # Paul Tol's
DASHES = {"uniform": "--", "mildly biased": "-.", "heavily biased": ":", "shuffled": "--"}
MARKERS = {"-": "o", "--": "s", "-.": "^", ":": "v"}
SHAPES = "os^vDP"
AXES = {
    "collapse": "std of ẑ·√C", "rank": "effective rank of ẑ", "matched": "images with a pair, %",
    "pairs": "pairs an image", "error": "match error, cells", "entropy": "entropy, % of log C",
    "usage": "usage, % of C",
}  # fmt: skip
ACROSS = 4  # panels beside each other
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "0",
    "text.parse_math": False,  # a row of the user's may be called $x
}


class Look(NamedTuple):
    """How a row is drawn."""

    colour: str
    dash: str
    marker: str


def look(name: str) -> Look:
    """The same for a row of this name everywhere; of a name that is not ours by its letters."""
    if name in COLOURS:
        dash = DASHES.get(name, "-")
        return Look(COLOURS[name], dash, MARKERS[dash])
    number, colour = divmod(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"), len(CYCLE))
    return Look(CYCLE[colour], [*MARKERS][number % len(MARKERS)], SHAPES[number // len(MARKERS) % len(SHAPES)])


def write(name: str, rows: Sequence[Row], note: str, stem: Path, columns: Sequence[Column] | None = None) -> list[Path]:
    """Draw a table's plot, of all its scores if none are named; the same records give the same bytes."""
    scores = [column for column in named(name).columns if column not in GAUGES] if columns is None else columns
    if not scores:
        return finish(name, lambda: gauge_curves(rows), f"{note}\nline: mean of the runs; band: their range", stem)
    told = "bar: 95 % interval of the mean (dot); rings: runs; n: seeds, or seeds×trials"
    return finish(name, lambda: dots(rows, scores), f"{note}\n{told}", stem)


def write_against(
    name: str, kind: str, found: Sequence[Sequence[Row]], score: Column, note: str, stem: Path
) -> list[Path]:
    """Draw a score against the steps or the gauges of the pre-training; ValueError where nothing was trained."""
    if kind == "steps":
        told = "bar: 95 % interval of the mean (filled); hollow: runs; level line: mean of what is not trained"
        return finish(name, lambda: against_steps(found, score), f"{note}\n{told}", stem)
    told = "hollow: runs, each gauge the mean of its last epoch; filled: mean of the row"
    return finish(name, lambda: against_gauges(found[0], score), f"{note}\n{told}", stem)


def finish(name: str, draw: Callable[[], Figure], note: str, stem: Path) -> list[Path]:
    """Draw under a table's name and note, and write stem.png and stem.pdf."""
    with rc_context(STYLE):
        figure = draw()
        figure.suptitle(f"{name}: {named(name).summary}\n{note}", fontsize=8.5)
        return save(figure, stem)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and PDF, without the time of day."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    for path, metadata in zip(paths, ({"Software": None}, {"CreationDate": None, "Producer": None}), strict=True):
        files.write(path, lambda out, kind=path.suffix[1:], facts=metadata: figure.savefig(
            out, format=kind, dpi=200, metadata=facts))  # type: ignore[misc]  # fmt: skip
    return paths


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


def estimate(row: Row, column: Column) -> tuple[float, list[list[float]] | None]:
    """Mean over the seeds and how far its 95 % interval reaches below and above; None of one seed."""
    seeds = [[value * column.scale for value in trials] for trials in row.seeds(column).values()]
    mean, found = statistics.fmean(statistics.fmean(trials) for trials in seeds), interval(seeds)
    return mean, [[mean - found.low], [found.high - mean]] if found else None


def label_of(name: str) -> str:
    """A row's name on lines that leave room for the panels; a legend would leave out what begins with _."""
    return textwrap.fill(f" {name}" if name.startswith("_") else name, 26)


def label(ax: Axes, names: Sequence[str]) -> Axes:
    """Name the rows, the first at the top."""
    ax.set_yticks(range(len(names)), [label_of(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    return ax


def gauge_curves(rows: Sequence[Row]) -> Figure:
    """The loss and every gauge over the steps, one line a row: the mean of its runs and their range."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    columns = (Column("loss", "loss"), *GAUGES)
    for ax, column in zip(figure.subplots(2, 4).flat, columns, strict=True):
        gauge(ax, rows, column).set_title(axis_of(column))
    return legend(figure)


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


def trained(row: Row) -> int:
    """The steps of the row's pre-trainings; 0 where nothing was trained."""
    return max((run.curve[-1]["step"] for run in row.runs if run.curve), default=0)


def lengths(name: str, extra: Sequence[str], records: Sequence[Record]) -> list[list[Row]]:
    """The table's rows with every number of epochs that any finished run has, and as they are."""
    epochs = sorted({run.settings["recipe"]["epochs"] for run in records if run.scores and "recipe" in run.settings})
    return [
        tables.rows(name, extra, records),
        *(tables.rows(name, [*extra, "--set", f"epochs={count}"], records) for count in epochs),
    ]


def against_steps(found: Sequence[Sequence[Row]], column: Column) -> Figure:
    """A score over the steps of the pre-training, one line a row; ValueError where nothing was trained."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    by_steps(figure.subplots(), found, column)
    return legend(figure)


def by_steps(ax: Axes, found: Sequence[Sequence[Row]], column: Column) -> Axes:
    """Runs as rings, means as dots with 95 % intervals, set apart sideways; what is not trained as a level line."""
    steps = sorted({trained(row) for rows in found for row in rows if row.values(column)} - {0})
    if not steps:
        raise ValueError(f"no run that was pre-trained has {column.name}, so there is nothing to draw against steps")
    room = min((math.log(high / low) for low, high in pairwise(steps)), default=math.log(2)) * 0.7
    for place, first in enumerate(found[0]):
        versions = {
            trained(row): row for rows in found for row in rows if row.label == first.label and row.values(column)
        }
        shift = math.exp(room * ((place + 0.5) / len(found[0]) - 0.5))
        if level := versions.pop(0, None):
            colour, dash, _ = look(first.label)
            ax.axhline(
                estimate(level, column)[0], color=colour, linestyle=dash, linewidth=1.1, label=label_of(first.label)
            )
        elif versions:
            line(ax, {count * shift: versions[count] for count in sorted(versions)}, column)
    ax.set_xscale("log")
    ax.set_xlim(steps[0] / math.exp(max(room, 0.2)), steps[-1] * math.exp(max(room, 0.2)))
    ax.set_xticks(apart(steps), [f"{count:,}" for count in apart(steps)])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("steps of the pre-training (rows are set apart sideways)")
    ax.set_ylabel(axis_of(column))
    return ax


def line(ax: Axes, versions: dict[float, Row], column: Column) -> None:
    """One row's means over the steps, with their intervals and runs."""
    name = next(iter(versions.values())).label
    colour, dash, marker = look(name)
    for place, row in versions.items():
        values = [value * column.scale for value in row.values(column)]
        ax.plot([place] * len(values), values, marker, color=colour, markerfacecolor="none", markersize=4, alpha=0.6)
        mean, ends = estimate(row, column)
        ax.errorbar(place, mean, yerr=ends, color=colour, linewidth=1.1)
    means = [estimate(row, column)[0] for row in versions.values()]
    ax.plot([*versions], means, dash, color=colour, marker=marker, markersize=4.5, linewidth=1.1, label=label_of(name))


def apart(steps: Sequence[int]) -> list[int]:
    """Those that have room for their number on an axis that holds all of them."""
    kept = [steps[0]]
    for count in steps[1:]:
        if math.log(count / kept[-1]) >= math.log(steps[-1] / steps[0]) / 12:
            kept.append(count)
    return kept


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
