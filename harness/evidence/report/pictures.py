"""The pictures of the report: plots as SVG elements whose colours follow the page, figures as embedded images."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from harness.evidence.rows import Row
from harness.tables import Column

WIDTH = 1200  # pixels of an embedded image at most
FIGURES = {  # image in RESULTS/plots → the command that draws it, and what it shows
    "matches.png": ("harness figure matches", "Which places each strategy pairs in two views of one image"),
    "A1-categories.png": ("harness figure A1 --run RUN", "The pseudo categories of a run in two views of its images"),
}


class Picture(NamedTuple):
    """A figure, or the command that would draw it."""

    title: str
    command: str
    uri: str | None  # None: not drawn yet


def plot(rows: Sequence[Row], scores: Sequence[Column]) -> Markup:
    """Return the plot of a table: its scores as dots or, of a table without scores, the curves of its gauges."""
    from harness.evidence.plots.gauges import gauge_curves
    from harness.evidence.plots.scores import dots
    from harness.evidence.style import drawing, to_svg

    with drawing():
        return Markup(to_svg(dots(rows, scores) if scores else gauge_curves(rows)))


def forest(rows: Sequence[Row], score: Column, baseline: str) -> Markup:
    """Return the forest plot of the differences from a baseline."""
    from harness.evidence.plots.differences import forest_plot
    from harness.evidence.style import drawing, to_svg

    with drawing():
        return Markup(to_svg(forest_plot(rows, score, baseline)))


def colours_of(pictures: Sequence[Markup]) -> dict[str, str]:
    """Return every colour rrggbb that plots ask their page for, and the same colour for a dark ground."""
    if not pictures:
        return {}
    from harness.evidence.style import colours_in

    return {colour: dark for svg in pictures for colour, dark in colours_in(svg).items()}


def picture(file: Path, command: str, title: str) -> Picture:
    """Return a figure that has been drawn, no wider than the page needs; else only the command that draws it."""
    from PIL import Image

    if not file.is_file():
        return Picture(title, command, None)
    out = BytesIO()
    with Image.open(file, formats=["PNG", "JPEG"]) as image:
        image.thumbnail((WIDTH, 4 * WIDTH))
        image.convert("RGB").save(out, "JPEG", quality=80, optimize=True)
    return Picture(title, command, f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}")
