"""Tables: what each one compares, by which numbers, and what the paper reports and claims.

A row is a label and the options of `harness run` that make its runs; evidence/rows.py finds these runs among the
records. A table of your own is a module that sets TABLE, and its dotted path is its name: `harness table mine.widths`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field

from harness import RESULTS, plugins
from harness.plugins import unknown


@dataclass(frozen=True)
class Column:
    """One number of a run: a score of its benchmark, or a gauge of its pre-training."""

    name: str  # as in the record
    heading: str
    digits: int = 1
    scale: float = 1.0  # every number is shown times this
    axis: str = ""  # name and unit on the axis of a plot; empty: the heading
    limits: tuple[float, float] | None = None  # least and greatest possible value, as shown; None: not known
    gauge: bool = False  # measured during the pre-training, not by the benchmark
    benchmark: str = ""  # that gives it, in a table over several; empty: the row's

    @property
    def key(self) -> str:
        """Return its name within a table: linear.gain where the table is over several benchmarks."""
        return f"{self.benchmark}.{self.name}" if self.benchmark else self.name


PERCENT = (0.0, 100.0)
SCORES = tuple(Column(name, name, axis=f"{name}, %", limits=PERCENT) for name in ("AP", "AP50", "AP75"))
GAUGES = (
    Column("collapse", "std of ẑ", 2, axis="std of ẑ·√C", gauge=True),
    Column("rank", "rank", 0, axis="effective rank of ẑ", gauge=True),
    Column("matched", "match", 0, 100, "images with a pair, %", PERCENT, gauge=True),
    Column("pairs", "pairs", 0, axis="pairs per image", gauge=True),
    Column("error", "error", 2, axis="match error, cells", gauge=True),
    Column("entropy", "entropy", 0, 100, "entropy, % of log C", PERCENT, gauge=True),
    Column("usage", "usage", 0, 100, "usage, % of C", PERCENT, gauge=True),
)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: one row scores higher than another or, with a margin, the two differ by less than it."""

    more: str  # label of the row that scores higher
    less: str
    margin: float | None = None  # points of the score


@dataclass(frozen=True)
class Table:
    """A table of a paper, or one of your own."""

    summary: str
    rows: dict[str, str]  # label → options of `harness run`
    controls: dict[str, str] = field(default_factory=dict)  # likewise; rows that the paper does not have
    columns: tuple[Column, ...] = SCORES
    notes: tuple[str, ...] = ()  # explain the columns
    reported: dict[str, dict[str, float]] = field(default_factory=dict)  # row → name of a column → the paper's number
    claims: tuple[Claim, ...] = ()  # if the paper reports numbers: about rows that have them
    deciding: tuple[str, ...] = ()  # keys of the scores that claims are judged by; none: the first score
    target: str = ""  # key of a score that the others should predict

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Return the benchmarks that each row is scored by; none where the row's options name the only one."""
        return tuple(dict.fromkeys(column.benchmark for column in self.columns if column.benchmark))


def read_reported(name: str) -> dict[str, dict[str, float]]:
    """Return the paper's numbers from results/reported/NAME.csv: row → score → number."""
    with open(RESULTS / "reported" / f"{name}.csv", encoding="utf-8", newline="") as lines:
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
        reported=read_reported("A1"),
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
        reported=read_reported("A2"),
        claims=(
            Claim("7×7 regular grid", "heavily biased"),
            Claim("uniform", "heavily biased"),
            Claim("mildly biased", "heavily biased"),
        ),
    ),
    "coco": Table(
        "the rows of A1, scored by Mask R-CNN R50-FPN on COCO",
        {label: f"{options} --benchmark coco-fpn" for label, options in A1.items()},
        {label: f"{options} --benchmark coco-fpn" for label, options in CONTROLS.items()},
        columns=(
            Column("AP", "box AP", axis="box AP, %", limits=PERCENT),
            *SCORES[1:],
            Column("mask_AP", "mask AP", axis="mask AP, %", limits=PERCENT),
        ),
    ),
    "gauges": Table(
        "what each correspondence does while it trains",
        {**A1, **dict([*A2.items()][1:])},
        {"shuffled": CONTROLS["shuffled"]},
        columns=GAUGES,
        notes=(
            "std of ẑ (times √C) and effective rank of ẑ: about 1 and high in a healthy run,",
            "0 and 1 after a collapse; match: % of images with a pair; pairs: per image;",
            "error: mean distance of the two sites of a pair in the source image, in cells;",
            "entropy and usage of the pseudo categories arg-max z: % of log C and of C;",
            "each number is the mean over the last epoch",
        ),
    ),
}


def named(name: str) -> Table:
    """Return the table of a name or of a dotted path such as mine.widths; UnknownName lists the names."""
    if plugins.dotted(name):
        table = plugins.exported(name, "TABLE", "table")
        if not isinstance(table, Table):
            raise ValueError(f"{name}.TABLE: a harness.tables.Table was expected")
        return table
    if name not in TABLES:
        raise unknown("table", name, TABLES)
    return TABLES[name]
