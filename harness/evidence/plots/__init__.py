"""Plots of the records: a table's rows as dots, scores against steps and gauges, curves. Axes in, axes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from harness.evidence.plots.gauges import against_gauges, gauge_curves
from harness.evidence.plots.scores import dots
from harness.evidence.plots.steps import against_steps
from harness.evidence.rows import Row
from harness.evidence.style import STYLE, save
from harness.tables import GAUGES, Column, named


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
