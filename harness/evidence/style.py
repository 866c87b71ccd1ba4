"""The one palette and the one style of plots, figures and the report, and the files that pictures are saved as."""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from matplotlib import style
from matplotlib.figure import Figure

from benchmarks.resuming import files
from harness.evidence.destinations import picture_files
from harness.terminal import visible

# the palette of Okabe and Ito, which colour-blind readers can tell apart
BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
YELLOW, BLUE, VERMILION, PURPLE = "#f0e442", "#0072b2", "#d55e00", "#cc79a7"
GRID, GREY = "#dddddd", "#707070"  # lines behind the data; text and lines beside it
ROWS = {  # a row has its colour in every picture
    "SimSiam": SKY, "feature similarity": VERMILION, "pixel distance": GREEN, "candidate regions": PURPLE,
    "location": BLUE, "7×7 regular grid": BLUE, "location + region": BLACK, "random": GREY, "shuffled": "#b0b0b0",
    "uniform": ORANGE, "mildly biased": "#8a6a00", "heavily biased": "#7a4fb5",
}  # fmt: skip
OTHER_ROWS = (  # the palette of Paul Tol, for rows of the user's own
    "#332288", "#cc6677", "#117733", "#ddaa33", "#88ccee", "#aa4499", "#44aa99", "#882255", "#999933",
)  # fmt: skip
DASHES = {"uniform": "--", "mildly biased": "-.", "heavily biased": ":", "shuffled": "--"}
MARKERS = {"-": "o", "--": "s", "-.": "^", ":": "v"}  # of a row with these dashes
SHAPES = "os^vDP"
UNDATED: dict[str, dict[str, None]] = {  # what a file says of itself without day and version
    "png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}  # fmt: skip
WIDEST_LABEL = 26  # characters on a line
SETTINGS: dict[str, object] = {
    "font.family": "DejaVu Sans",  # the font that matplotlib brings
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # text in a PDF stays text
    "svg.fonttype": "none",  # and in an SVG
    "svg.hashsalt": "0",  # the same picture gets the same identifiers
    "text.parse_math": False,  # the label of a user's row may be $x
}


class Look(NamedTuple):
    """Colour, dashes and marker of a row."""

    colour: str
    dash: str
    marker: str


def look(label: str) -> Look:
    """Return the look of a row, the same in every picture; that of an unknown label is derived from its letters."""
    if label in ROWS:
        dash = DASHES.get(label, "-")
        return Look(ROWS[label], dash, MARKERS[dash])
    number, colour = divmod(int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big"), len(OTHER_ROWS))
    return Look(OTHER_ROWS[colour], [*MARKERS][number % len(MARKERS)], SHAPES[number // len(MARKERS) % len(SHAPES)])


def wrapped(label: str) -> str:
    """Return a row's label on short lines, with control characters spelt out.

    A leading _ gets a space before it, else a legend would leave the row out.
    """
    return textwrap.fill(visible(f" {label}" if label.startswith("_") else label), WIDEST_LABEL)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with our settings alone, whatever the user's matplotlibrc says."""
    with style.context(SETTINGS, after_reset=True):
        yield


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write stem.png and stem.pdf, or one of them if the stem ends so, each whole or not at all; return their paths.

    The same figure gives the same bytes.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = picture_files(stem)
    with drawing():
        for path in paths:
            kind = path.suffix[1:].lower()
            files.write(path, partial(figure.savefig, format=kind, dpi=200, metadata=UNDATED[kind]))
    return paths


def to_svg(figure: Figure) -> str:
    """Return a figure as an SVG element for an HTML page, whose colours follow the page.

    Ink becomes currentColor and every other colour #rrggbb the CSS variable --c-rrggbb, which the page defines twice,
    for a light and for a dark ground. Nothing is kept that would act on the rest of the page: no style sheet, no
    identifiers but those of markers and clip paths.
    """
    out = StringIO()
    with drawing():
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    text = out.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(
        r' id="(figure|axes|patch|text|line2d|matplotlib|legend|xtick|ytick|\w+Collection)[\w.]*_\d+"', "", text
    )
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(f'{BLACK}(?=[;"])', "currentColor", text)
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text)  # hundredths of a point are fine enough
    text = re.sub(r"\s*\n\s*", " ", text)
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")  # Verdana has the same widths
    return re.sub(r"(?<=: )#([0-9a-f]{6})(?=[;\"])", r"var(--c-\1)", text)


def colours_in(svg: str) -> dict[str, str]:
    """Return the colours that an SVG element of to_svg asks its page for: rrggbb → the same on a dark ground."""
    return {colour: on_dark(colour) for colour in sorted(set(re.findall(r"var\(--c-([0-9a-f]{6})\)", svg)))}


def on_dark(colour: str) -> str:
    """Return a colour rrggbb mixed with white until a dark ground shows it, and the grid's grey as a dark one."""
    if f"#{colour}" == GRID:
        return "3b3d42"
    red, green, blue = (int(colour[at : at + 2], 16) for at in (0, 2, 4))
    while 0.299 * red + 0.587 * green + 0.114 * blue < 140:
        red, green, blue = (part + (255 - part) // 8 + 1 for part in (red, green, blue))
    return f"{red:02x}{green:02x}{blue:02x}"
