"""Tables: a row is a label and the words of `harness run` that earn it; a cell is filled by equal settings alone."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field

from harness import ROOT, plugins
from harness.plugins import unknown


@dataclass(frozen=True)
class Column:
    """A number of a run."""

    name: str  # in the record
    heading: str
    digits: int = 1
    scale: float = 1.0  # shown times this, in text, md and latex


SCORES = (Column("AP", "AP"), Column("AP50", "AP50"), Column("AP75", "AP75"))
GAUGES = (
    Column("collapse", "std of ẑ", 2),
    Column("rank", "rank", 0),
    Column("matched", "match", 0, 100),
    Column("pairs", "pairs", 0),
    Column("error", "error", 2),
    Column("entropy", "entropy", 0, 100),
    Column("usage", "usage", 0, 100),
)


@dataclass(frozen=True)
class Claim:
    """That one row scores more than another, or with a margin that they differ by less than it."""

    more: str  # a row of the table
    less: str
    margin: float | None = None  # points of the score


@dataclass(frozen=True)
class Table:
    """A table of a paper, or of one's own."""

    summary: str
    rows: dict[str, str]  # label → words of `harness run`
    controls: dict[str, str] = field(default_factory=dict)  # the same, ours and not the paper's
    columns: tuple[Column, ...] = SCORES
    notes: tuple[str, ...] = ()  # what the columns mean
    reported: dict[str, dict[str, float]] = field(default_factory=dict)  # row → column's name → the paper's number
    claims: tuple[Claim, ...] = ()  # of the paper, on reported rows


def transcribed(name: str) -> dict[str, dict[str, float]]:
    """Row → score → the paper's number, from results/reported."""
    with open(ROOT / "results" / "reported" / f"{name}.csv", encoding="utf-8", newline="") as lines:
        return {line["row"]: {one.name: float(line[one.name]) for one in SCORES} for line in csv.DictReader(lines)}


A1 = {
    "SimSiam": "--strategy simsiam",
    "feature similarity": "--strategy feature_similarity",
    "pixel distance": "--strategy pixel_distance",
    "candidate regions": "--strategy candidate_regions",
    "location": "--strategy location",
    "location + region": "--strategy location_region",
}
A2 = {
    "7×7 regular grid": "--strategy location",
    "uniform": "--strategy location --set strategy.sampler=uniform",
    "mildly biased": "--strategy location --set strategy.sampler=biased"
    " --set strategy.sampler.k=3 --set strategy.sampler.beta=0.75",
    "heavily biased": "--strategy location --set strategy.sampler=biased"
    " --set strategy.sampler.k=10 --set strategy.sampler.beta=1.0",
}
CONTROLS = {"random": "--strategy random", "shuffled": "--strategy shuffled"}
TABLES = {
    "A1": Table(
        "which sites agree: correspondence strategies (DenseSiam)",
        A1,
        CONTROLS,
        reported=transcribed("A1"),
        claims=(
            Claim("SimSiam", "feature similarity"),
            Claim("pixel distance", "SimSiam", margin=1.0),  # [R] "≈" spans 0.2 AP to 0.8 AP75
            Claim("location", "pixel distance"),
            Claim("location", "candidate regions"),
            Claim("location + region", "location"),
        ),
    ),
    "A2": Table(
        "where the overlap is read: sampling of the grid (DenseSiam)",
        A2,
        reported=transcribed("A2"),
        claims=(
            Claim("7×7 regular grid", "heavily biased"),
            Claim("uniform", "heavily biased"),
            Claim("mildly biased", "heavily biased"),
        ),
    ),
    "coco": Table(
        "the rows of A1 by Mask R-CNN R50-FPN on COCO",
        {label: f"{words} --benchmark coco-fpn" for label, words in A1.items()},
        {label: f"{words} --benchmark coco-fpn" for label, words in CONTROLS.items()},
        columns=(Column("AP", "box AP"), *SCORES[1:], Column("mask_AP", "mask AP")),
    ),
    "gauges": Table(
        "what each correspondence does while it trains",
        {**A1, **dict([*A2.items()][1:])},
        {"shuffled": CONTROLS["shuffled"]},
        columns=GAUGES,
        notes=(
            "std of ẑ·√C and effective rank of ẑ: 1 and many if healthy, 0 and 1 collapsed;",
            "match: % of images with a pair; pairs: an image's; error: their mean distance in",
            "the source, in cells; entropy and usage of the categories arg-max z: % of log C",
            "and of C; each the mean over the last epoch",
        ),
    ),
}


def named(name: str) -> Table:
    """A table by its name or by a dotted path such as mine.widths; UnknownName says which there are."""
    if plugins.dotted(name):
        found = plugins.exported(name, "TABLE", "table")
        if not isinstance(found, Table):
            raise ValueError(f"{name}.TABLE: a harness.tables.Table was expected")
        return found
    if name not in TABLES:
        raise unknown("table", name, TABLES)
    return TABLES[name]
