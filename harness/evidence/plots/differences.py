"""A forest plot: how far each row lies from a baseline, paired by seed, and how far in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness import plugins
from harness.evidence.rows import Row
from harness.evidence.statistics import Comparison, against
from harness.evidence.style import GREY, GRID, look, wrapped
from harness.tables import Column

FAR = 1.6  # a reported difference farther from zero than this times ours is drawn as an arrow at the edge
BESIDE = (34, 108, 122, 150)  # where the columns of numbers end, in points right of the axes


class Difference(NamedTuple):
    """A row minus the baseline, in the units shown; None where it is not known."""

    row: Row
    ours: Comparison
    paper: float | None


def differences(rows: Sequence[Row], column: Column, baseline: str) -> list[Difference]:
    """Return every other row minus the baseline; UnknownName where no row has this label."""
    labels = {row.label: row for row in rows}
    if baseline not in labels:
        raise plugins.unknown("row", baseline, labels)
    scaled = {
        row.label: {seed: [value * column.scale for value in trials] for seed, trials in row.seeds(column).items()}
        for row in rows
    }
    compared = against(scaled, baseline)
    base = labels[baseline].reported.get(column.name)
    papers = {
        label: None if base is None or column.name not in row.reported
        else (row.reported[column.name] - base) * column.scale
        for label, row in labels.items()
    }  # fmt: skip
    return [Difference(labels[label], compared[label], papers[label]) for label in compared]


def forest_plot(rows: Sequence[Row], column: Column, baseline: str) -> Figure:
    """Draw the differences from a baseline in one panel; ValueError where no row shares a seed with it."""
    found = differences(rows, column, baseline)
    if not any(one.ours.seeds for one in found):
        raise ValueError(f"no row shares a seed with {baseline}, so there is no difference to draw")
    height = sum(0.12 + 0.14 * (1 + wrapped(one.row.label).count("\n")) for one in found)
    figure = Figure(figsize=(7.2, 1.3 + height), layout="constrained")
    forest(figure.subplots(), found, column, baseline)
    return figure


def forest(ax: Axes, found: Sequence[Difference], column: Column, baseline: str) -> Axes:
    """Draw zero as a line, our differences as dots with 95 % intervals, the paper's as diamonds, and the numbers."""
    ends = [end for one in found for end in extent(one.ours)]
    reach = FAR * max(map(abs, ends), default=0.0)
    near = [one.paper for one in found if one.paper is not None and abs(one.paper) <= reach]
    low, high = min([0.0, *ends, *near]), max([0.0, *ends, *near])
    margin = 0.08 * (high - low) or 1.0
    low, high = low - margin, high + margin
    ax.axvline(0, color=GREY, linewidth=1, zorder=0)
    for place, one in enumerate(found):
        colour = look(one.row.label).colour
        if one.ours.interval:
            ax.plot(one.ours.interval, (place, place), color=colour, linewidth=1.4)
        if one.ours.difference is not None:
            ax.plot(one.ours.difference, place, "o", color=colour, markersize=5)
        if one.paper is not None:
            mark_paper(ax, one.paper, place, (low, high), colour)
        write_beside(ax, place, numbers_of(one))
    heads = ["ours", "95 % interval", "n", "paper" if any(one.paper is not None for one in found) else ""]
    write_beside(ax, -0.85, heads)
    ax.set_yticks(range(len(found)), [wrapped(one.row.label) for one in found])
    ax.set_xlim(low, high)
    ax.set_ylim(len(found) - 0.5, -0.7)
    ax.grid(axis="x", color=GRID, linewidth=0.6)
    ax.set_xlabel(f"{column.heading} minus that of {baseline}, points", parse_math=False)
    return ax


def extent(ours: Comparison) -> list[float]:
    """Return the ends of what is drawn of a difference."""
    return [end for end in (*(ours.interval or ()), ours.difference) if end is not None]


def mark_paper(ax: Axes, paper: float, place: int, limits: tuple[float, float], colour: str) -> None:
    """Mark the paper's difference by a diamond or, where it lies beyond the axis, by an arrow and its number."""
    low, high = limits
    if low <= paper <= high:
        ax.plot(paper, place, "D", color=colour, markerfacecolor="none", markersize=6)
        return
    edge, head, side = (high, ">", "right") if paper > high else (low, "<", "left")
    inside = edge + (0.025 if side == "left" else -0.025) * (high - low)
    ax.plot(edge, place, head, color=colour, markerfacecolor="none", markersize=6, clip_on=False)
    ax.text(inside, place - 0.28, f"{paper:+.1f}".replace("-", "−"), ha=side, va="center", fontsize=6.5, color=colour)


def numbers_of(one: Difference) -> list[str]:
    """Return our difference, its interval, the number of shared seeds and the paper's difference as text."""
    ours, paper = one.ours, "" if one.paper is None else f"{one.paper:+.1f}"
    middle = "" if ours.difference is None else f"{ours.difference:+.2f}"
    ends = "" if ours.interval is None else f"[{ours.interval.low:+.2f}, {ours.interval.high:+.2f}]"
    return [middle, ends, str(ours.seeds), paper]


def write_beside(ax: Axes, place: float, texts: Sequence[str]) -> None:
    """Write texts in the columns at the right of the axes."""
    for text, right in zip(texts, BESIDE, strict=True):
        ax.annotate(text.replace("-", "−"), (1, place), (right, 0), ax.get_yaxis_transform(), "offset points",
                    ha="right", va="center", fontsize=7, annotation_clip=False)  # fmt: skip
