"""A score over the length of the pre-training, in steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from harness.evidence.plots.parts import axis_of, bar, estimate, keep_possible, legend, rings
from harness.evidence.rows import Row, fill_rows
from harness.evidence.style import look, wrapped
from harness.records import Record
from harness.tables import Column


def steps_of(row: Row) -> int:
    """Return the steps of a row's pre-trainings; 0 where nothing was trained."""
    return max((run.curve[-1]["step"] for run in row.runs if run.curve), default=0)


def lengths(name: str, options: Sequence[str], records: Sequence[Record], own: Sequence[str] = ()) -> list[list[Row]]:
    """Return the rows of a table as they are, then once for every number of epochs that a finished run has."""
    epochs = sorted({run.settings["recipe"]["epochs"] for run in records if run.scores and "recipe" in run.settings})
    return [
        fill_rows(name, options, records, own),
        *(fill_rows(name, [*options, "--set", f"epochs={count}"], records, own) for count in epochs),
    ]


def against_steps(versions: Sequence[Sequence[Row]], column: Column) -> Figure:
    """Draw a score over the steps of the pre-training, one line per row; ValueError where nothing was trained."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    over_steps(figure.subplots(), versions, column)
    return legend(figure)


def over_steps(ax: Axes, versions: Sequence[Sequence[Row]], column: Column) -> Axes:
    """Draw runs as rings and means as dots with 95 % intervals; a row that trains nothing as a level line.

    Rows are shifted sideways, each by its own amount, so that their intervals do not lie on each other.
    """
    steps = sorted({steps_of(row) for rows in versions for row in rows if row.values(column)} - {0})
    if not steps:
        raise ValueError(f"no run that was pre-trained has {column.name}, so there is nothing to draw against steps")
    free = min((math.log(high / low) for low, high in pairwise(steps)), default=math.log(2)) * 0.7
    for place, first in enumerate(versions[0]):
        by_length = {
            steps_of(row): row for rows in versions for row in rows if row.label == first.label and row.values(column)
        }
        shift = math.exp(free * ((place + 0.5) / len(versions[0]) - 0.5))
        if untrained := by_length.pop(0, None):
            colour, dash, _ = look(first.label)
            level = estimate(untrained, column).mean
            ax.axhline(level, color=colour, linestyle=dash, linewidth=1.1, label=wrapped(first.label))
        elif by_length:
            draw_row(ax, {count * shift: by_length[count] for count in sorted(by_length)}, column)
    keep_possible(ax, column, across=False)
    ax.set_xscale("log")
    ax.set_xlim(steps[0] / math.exp(max(free, 0.2)), steps[-1] * math.exp(max(free, 0.2)))
    ax.set_xticks(far_apart(steps), [f"{count:,}" for count in far_apart(steps)])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("steps of the pre-training (rows are shifted sideways)")
    ax.set_ylabel(axis_of(column))
    return ax


def draw_row(ax: Axes, by_place: Mapping[float, Row], column: Column) -> None:
    """Draw the means of one row, with their intervals and runs."""
    label = next(iter(by_place.values())).label
    colour, dash, marker = look(label)
    for place, row in by_place.items():
        values = [value * column.scale for value in row.values(column)]
        rings(ax, [place] * len(values), values, marker, colour)
    means = [bar(ax, row, column, place, across=False) for place, row in by_place.items()]
    ax.plot([*by_place], means, dash, color=colour, marker=marker, markersize=4.5, linewidth=1.1, label=wrapped(label))


def far_apart(steps: Sequence[int]) -> list[int]:
    """Return the steps whose numbers do not touch on an axis that holds all of them."""
    kept = [steps[0]]
    for count in steps[1:]:
        if math.log(count / kept[-1]) >= math.log(steps[-1] / steps[0]) / 12:
            kept.append(count)
    return kept
