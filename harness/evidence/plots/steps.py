"""A score against the steps of the pre-training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from harness.evidence.plots.parts import axis_of, estimate, legend
from harness.evidence.rows import Row, fill_rows
from harness.evidence.style import label_of, look
from harness.records import Record
from harness.tables import Column


def trained(row: Row) -> int:
    """The steps of the row's pre-trainings; 0 where nothing was trained."""
    return max((run.curve[-1]["step"] for run in row.runs if run.curve), default=0)


def lengths(name: str, extra: Sequence[str], records: Sequence[Record]) -> list[list[Row]]:
    """The table's rows with every number of epochs that any finished run has, and as they are."""
    epochs = sorted({run.settings["recipe"]["epochs"] for run in records if run.scores and "recipe" in run.settings})
    return [
        fill_rows(name, extra, records),
        *(fill_rows(name, [*extra, "--set", f"epochs={count}"], records) for count in epochs),
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
