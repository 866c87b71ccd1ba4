"""One palette and one style for plots, figures and the report, and the files that they are saved as."""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from benchmarks.resuming import files

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


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and PDF, without the time of day."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    for path, metadata in zip(paths, ({"Software": None}, {"CreationDate": None, "Producer": None}), strict=True):
        files.write(path, lambda out, kind=path.suffix[1:], facts=metadata: figure.savefig(
            out, format=kind, dpi=200, metadata=facts))  # type: ignore[misc]  # fmt: skip
    return paths


def label_of(name: str) -> str:
    """A row's name on lines that leave room for the panels; a legend would leave out what begins with _."""
    return textwrap.fill(f" {name}" if name.startswith("_") else name, 26)
