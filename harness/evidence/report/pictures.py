"""Pictures of the report: plots and figures within the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from harness.evidence.rows import Row
from harness.tables import Column

WIDTH = 1200  # pixels of an embedded picture at most
PALETTE = 96  # colours of a plot
FIGURES = {  # picture in RESULTS/plots → the command that draws it, and what it shows
    "matches.png": ("harness figure matches", "What each strategy links in two views of one image"),
    "A1-categories.png": ("harness figure A1 --run RUN", "The pseudo categories of a run in two views of its images"),
}


class Picture(NamedTuple):
    """A figure, or the command that would draw it."""

    told: str
    command: str
    uri: str | None


def plot(rows: Sequence[Row], scores: Sequence[Column]) -> str:
    """The table's plot as a data URI, in few colours: a tenth of an SVG's bytes where curves have many points."""
    from PIL import Image

    from harness.evidence.plots.gauges import gauge_curves
    from harness.evidence.plots.scores import dots
    from harness.evidence.style import drawing

    drawn, out = BytesIO(), BytesIO()
    with drawing():
        figure = dots(rows, scores) if scores else gauge_curves(rows)
        figure.savefig(drawn, format="png", dpi=220, metadata={"Software": None})
    with Image.open(drawn, formats=["PNG"]) as found:
        found.convert("RGB").quantize(PALETTE).save(out, "PNG", optimize=True)
    return data_uri("image/png", out.getvalue())


def picture(file: Path, command: str, told: str) -> Picture:
    """A figure that has been drawn, no wider than the page needs; else its command alone."""
    from PIL import Image

    if not file.is_file():
        return Picture(told, command, None)
    out = BytesIO()
    with Image.open(file, formats=["PNG", "JPEG"]) as found:
        found.thumbnail((WIDTH, 4 * WIDTH))
        found.convert("RGB").save(out, "JPEG", quality=80, optimize=True)
    return Picture(told, command, data_uri("image/jpeg", out.getvalue()))


def data_uri(kind: str, content: bytes) -> str:
    """Content that an image element shows without a request."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
