"""Plots of the records: scores as dots, differences from a row, scores against steps and gauges, and curves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from harness import plugins
from harness.evidence.plots.differences import forest_plot
from harness.evidence.plots.gauges import against_gauges, gauge_curves
from harness.evidence.plots.scores import dots, reference_of
from harness.evidence.plots.steps import against_steps
from harness.evidence.rows import Row
from harness.evidence.style import drawing, save
from harness.tables import Column, named

Drawn = tuple[Figure, str]  # a plot, and the line under its title that says what its marks mean


def write(
    name: str,
    rows: Sequence[Row],
    note: str,
    stem: Path,
    columns: Sequence[Column] | None = None,
    *,
    title: bool = True,
) -> list[Path]:
    """Draw a table's plot as stem.png and stem.pdf: of these columns, or of all of its scores, or of its gauges."""
    with drawing():
        scores = [column for column in named(name).columns if not column.gauge] if columns is None else columns
        return finish(name, plot_scores(rows, scores) if scores else plot_gauges(rows), note, stem, title)


def write_against(
    name: str,
    against: str,
    versions: Sequence[Sequence[Row]],
    column: Column,
    note: str,
    stem: Path,
    *,
    title: bool = True,
) -> list[Path]:
    """Draw a score against "steps", "gauges" or the row of a label; ValueError where there is nothing to draw.

    `versions` are the table's rows, for "steps" followed by those of every length of the pre-training.
    """
    labels = [row.label for row in versions[0]]
    if against not in ("steps", "gauges", *labels):
        raise plugins.unknown("row", against, ["steps", "gauges", *labels])
    with drawing():
        if against == "steps":
            marks = "bar: 95 % interval of the mean (filled); hollow: runs; level line: mean of a row without training"
            drawn = against_steps(versions, column), marks
        elif against == "gauges":
            marks = "hollow: runs, each gauge the mean of its last epoch; filled: mean of the row"
            drawn = against_gauges(versions[0], column), marks
        else:
            marks = "dot and bar: our mean difference, paired by seed, and its 95 % interval\n"
            marks += "diamond: the paper's difference (arrow: it lies beyond the axis)"
            drawn = forest_plot(versions[0], column, against), marks
        return finish(name, drawn, note, stem, title)


def plot_scores(rows: Sequence[Row], columns: Sequence[Column]) -> Drawn:
    """Draw scores as dots."""
    marks = "rings: runs; dot: their mean; bar: its 95 % interval (arrowhead: cut at the possible scores)"
    referenced = any(reference_of(rows, column) for column in columns)
    return dots(rows, columns), f"{marks}\nn: seeds, or seeds×trials" + (
        "; dotted line: mean of random" if referenced else ""
    )


def plot_gauges(rows: Sequence[Row]) -> Drawn:
    """Draw the curves of the loss and the gauges."""
    return gauge_curves(rows), "line: mean of the runs; band: their range"


def finish(name: str, drawn: Drawn, note: str, stem: Path, title: bool) -> list[Path]:
    """Write a plot, with a title that names the table and says what the marks mean unless a paper's caption does."""
    figure, marks = drawn
    if title:
        figure.suptitle(f"{name}: {named(name).summary}\n{note}\n{marks}", fontsize=8.5)
    return save(figure, stem)


def stem_of(name: str, against: str | None) -> str:
    """Return the file name, without ending, of a plot."""
    if against in (None, "steps", "gauges"):
        return "-".join(filter(None, (name, against)))
    label = re.sub(r"\W+", "-", against or "").strip("-")
    return f"{name}-against-{label}"
