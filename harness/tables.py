"""Tables: a row is a label and the words of `harness run` that earn it; a cell is filled by equal settings alone."""

from __future__ import annotations

import csv
import json
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tabulate as layout
from tabulate import SEPARATING_LINE, tabulate

from harness import ROOT
from harness.experiment import build, words
from harness.presets import PRESETS
from harness.records import Record

if TYPE_CHECKING:
    import pandas

layout.MIN_PADDING = 0  # 80 columns hold the table only without it

SCORES = ("AP", "AP50", "AP75")
STYLES = {"text": "simple", "md": "pipe", "latex": "latex_booktabs"}
FORMATS = (*STYLES, "csv", "json")
HEADINGS = ["", "paper AP", "AP50", "AP75", "ours AP", "AP50", "AP75", "n"]
ALIGN = ["left", *["right"] * 7]


@dataclass(frozen=True)
class Table:
    """A table of a paper."""

    summary: str
    rows: dict[str, str]  # label → words of `harness run`
    controls: dict[str, str]  # the same, ours and not the paper's


TABLES = {
    "A1": Table(
        "which sites agree: correspondence strategies (DenseSiam)",
        rows={
            "SimSiam": "--strategy simsiam",
            "feature similarity": "--strategy feature_similarity",
            "pixel distance": "--strategy pixel_distance",
            "candidate regions": "--strategy candidate_regions",
            "location": "--strategy location",
            "location + region": "--strategy location_region",
        },
        controls={"random": "--strategy random"},
    ),
    "A2": Table(
        "where the overlap is read: sampling of the grid (DenseSiam)",
        rows={
            "7×7 regular grid": "--strategy location",
            "uniform": "--strategy location --set match.sampler=uniform",
            "mildly biased": "--strategy location --set match.sampler=biased"
            " --set match.sampler.k=3 --set match.sampler.beta=0.75",
            "heavily biased": "--strategy location --set match.sampler=biased"
            " --set match.sampler.k=10 --set match.sampler.beta=1.0",
        },
        controls={},
    ),
}


@dataclass(frozen=True)
class Row:
    """One row as far as it is known."""

    label: str
    control: bool
    words: str  # of `harness run`
    reported: dict[str, float]  # the paper's, empty for a control
    runs: tuple[Record, ...]  # finished, of the row's settings, each seed once
    missing: str | None  # why it cannot be run at all

    @property
    def n(self) -> int:
        """Runs that count: one for each seed."""
        return len(self.runs)

    def values(self, score: str) -> list[float]:
        """The runs' values of one score."""
        return [run.scores[score] for run in self.runs if run.scores]


def rows(name: str, extra: Sequence[str], records: Sequence[Record]) -> list[Row]:
    """The rows of a table; `extra` words, such as --preset study, are added to those of every row.

    Raises ValueError where the extra words mean nothing to `location`, which is in every table.
    """
    build(words().parse_args(["--strategy", "location", *extra]))
    table, reported = TABLES[name], read_reported(ROOT / "results" / "reported" / f"{name}.csv")
    lines = {**table.rows, **table.controls}
    return [row(label, label in table.controls, line, extra, records, reported) for label, line in lines.items()]


def row(
    label: str,
    control: bool,
    line: str,
    extra: Sequence[str],
    records: Sequence[Record],
    reported: dict[str, dict[str, float]],
) -> Row:
    """One row with the finished runs whose recorded settings are those of its words, whatever their seed."""
    full = shlex.join([*shlex.split(line), *extra])
    try:
        wanted = seedless(build(words().parse_args(shlex.split(full))).settings)
    except ValueError as error:
        return Row(label, control, full, reported.get(label, {}), (), missing=str(error).split(": ")[0])
    found = tuple(record for record in records if record.scores and seedless(record.settings) == wanted)
    return Row(label, control, full, reported.get(label, {}), found, missing=None)


def seedless(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back, the seed left out."""
    return {name: value for name, value in json.loads(json.dumps(settings)).items() if name != "seed"}


def read_reported(file: Path) -> dict[str, dict[str, float]]:
    """Row → score → the paper's number."""
    with open(file, encoding="utf-8", newline="") as lines:
        return {line["row"]: {score: float(line[score]) for score in SCORES} for line in csv.DictReader(lines)}


def frame(found: Sequence[Row]) -> pandas.DataFrame:
    """One line a row: the paper's scores, the mean and standard deviation of ours, n, the runs and the command."""
    import pandas  # half a second that only this needs

    return pandas.DataFrame([line(row) for row in found])


def line(row: Row) -> dict[str, Any]:
    """The columns of one row; what is not known is None."""
    paper = {f"paper_{score}": row.reported.get(score) for score in SCORES}
    ours = {score: round(statistics.mean(row.values(score)), 2) if row.n else None for score in SCORES}
    spread = {f"{score}_std": round(statistics.stdev(row.values(score)), 2) if row.n > 1 else None for score in SCORES}
    return {
        "row": row.label,
        "control": row.control,
        **paper,
        **ours,
        **spread,
        "n": row.n,
        "runs": " ".join(run.id for run in row.runs),
        "command": f"harness run {row.words}",
        "missing": row.missing,
    }


def render(name: str, found: Sequence[Row], preset: str, style: str) -> str:
    """The table as text, md, latex, csv or json."""
    if style == "csv":
        return frame(found).to_csv(index=False).rstrip()
    if style == "json":
        return json.dumps([line(row) for row in found], indent=2, ensure_ascii=False)
    notes = [f"Table {name}: {TABLES[name].summary}", *scale(preset)]
    below = gaps(found)
    body = tabulate(cells(found, style), HEADINGS, tablefmt=STYLES[style], disable_numparse=True, colalign=ALIGN)
    if style == "latex":
        return "\n".join([*(f"% {note}" for note in notes), body, *(f"% {note}" for note in below)])
    return "\n".join([*notes, "", body, *([""] if below else []), *below])


def cells(found: Sequence[Row], style: str) -> list[list[str] | str]:
    """Headings' worth of text for every row; a rule, where the style has one, sets the controls apart."""
    lines: list[list[str] | str] = []
    for row in found:
        if row.control and style == "text" and SEPARATING_LINE not in lines:
            lines.append(SEPARATING_LINE)
        paper = [f"{row.reported[score]:.1f}" if row.reported else "" for score in SCORES]
        lines.append([row.label, *paper, *(ours(row, score) for score in SCORES), str(row.n)])
    return lines


def ours(row: Row, score: str) -> str:
    """Mean, and with more than one run ± the standard deviation; a dash for a gap."""
    values = row.values(score)
    if not values:
        return "–"
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def scale(preset: str) -> list[str]:
    """What must be known before the two sides of the table are compared."""
    summary = PRESETS[preset].summary
    if preset == "paper":
        return [f"ours: preset paper ({summary})", "ours: mean ± standard deviation over n seeds"]
    return [
        f"ours: preset {preset} ({summary});",
        f"{preset} scale: NOT comparable with the paper's numbers, only among themselves;",
        "mean ± standard deviation over n seeds",
    ]


def gaps(found: Sequence[Row]) -> list[str]:
    """The commands that would fill the gaps, and what no command can fill yet."""
    commands = [f"  harness run {row.words}" for row in found if not row.n and row.missing is None]
    absent = [f"  {row.label}: {row.missing}" for row in found if row.missing]
    return [
        *(["Gaps, and the commands that fill them:", *commands] if commands else []),
        *(["Gaps that no command fills, for this version does not have:", *absent] if absent else []),
    ]
