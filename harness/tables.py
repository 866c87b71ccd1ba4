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
from harness.compare import differences
from harness.experiment import build, words
from harness.plugins import unknown
from harness.presets import PRESETS
from harness.records import Record

if TYPE_CHECKING:
    import pandas

layout.MIN_PADDING = 0  # 80 columns hold the table only without it

STYLES = {"text": "simple", "md": "pipe", "latex": "latex_booktabs"}


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
class Table:
    """A table of a paper, or ours on the same runs."""

    summary: str
    rows: dict[str, str]  # label → words of `harness run`
    controls: dict[str, str]  # the same, ours and not the paper's
    columns: tuple[Column, ...] = SCORES
    notes: tuple[str, ...] = ()  # what the columns mean


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
        controls={"random": "--strategy random", "shuffled": "--strategy shuffled"},
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
TABLES["gauges"] = Table(
    "what each correspondence does while it trains",
    rows={**TABLES["A1"].rows, **dict([*TABLES["A2"].rows.items()][1:])},
    controls={"shuffled": "--strategy shuffled"},
    columns=GAUGES,
    notes=(
        "std of ẑ·√C and effective rank of ẑ: 1 and many if healthy, 0 and 1 collapsed;",
        "match: % of images with a pair; pairs: an image's; error: their mean distance in",
        "the source, in cells; entropy and usage of the categories arg-max z: % of log C",
        "and of C; each the mean over the last epoch",
    ),
)


def named(name: str) -> Table:
    """A table by its name; UnknownName says which there are."""
    if name not in TABLES:
        raise unknown("table", name, TABLES)
    return TABLES[name]


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

    def values(self, column: Column) -> list[float]:
        """The runs' values of one column: of those that have it."""
        sources = [run.gauges() if column in GAUGES else run.scores or {} for run in self.runs]
        return [source[column.name] for source in sources if column.name in source]


def rows(name: str, extra: Sequence[str], records: Sequence[Record]) -> list[Row]:
    """The rows of a table; `extra` words, such as --preset study, are added to those of every row.

    Raises ValueError where the extra words mean nothing to `location`, which is in every table.
    """
    build(words().parse_args(["--strategy", "location", *extra]))
    table, file = TABLES[name], ROOT / "results" / "reported" / f"{name}.csv"
    reported = read_reported(file) if file.exists() else {}
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


def left_out(found: Sequence[Row], records: Sequence[Record]) -> list[str]:
    """One line for every run that fills no row: what keeps it from the row that it is nearest to."""
    counted = {run.folder for row in found for run in row.runs}
    settings = {
        row.label: build(words().parse_args(shlex.split(row.words))).settings for row in found if not row.missing
    }
    lines = []
    for record in records:
        if record.folder not in counted:
            options = {
                name: differences(seedless(record.settings), seedless(wanted)) for name, wanted in settings.items()
            }
            label, nearest = min(options.items(), key=lambda option: len(option[1]))
            reasons = [f"{field}={mine}, not {wanted}" for field, (mine, wanted) in nearest.items()]
            lines.append(f"{record.id} is no {label}: {'; '.join(reasons) or f'it is {record.status}, not finished'}")
    return lines or ["Every run counts."]


def seedless(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back, the seed left out."""
    return {name: value for name, value in json.loads(json.dumps(settings)).items() if name != "seed"}


def read_reported(file: Path) -> dict[str, dict[str, float]]:
    """Row → score → the paper's number."""
    with open(file, encoding="utf-8", newline="") as lines:
        return {line["row"]: {one.name: float(line[one.name]) for one in SCORES} for line in csv.DictReader(lines)}


def frame(found: Sequence[Row], columns: Sequence[Column]) -> pandas.DataFrame:
    """One line a row: the paper's scores, the mean and standard deviation of ours, n, the runs and the command."""
    import pandas  # half a second that only this needs

    return pandas.DataFrame([line(row, columns) for row in found])


def line(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    """The columns of one row; what is not known is None."""
    values = {column.name: row.values(column) for column in columns}
    return {
        "row": row.label,
        "control": row.control,
        **{f"paper_{one.name}": row.reported.get(one.name) for one in columns if one in SCORES},
        **{name: round(statistics.mean(found), 4) if found else None for name, found in values.items()},
        **{f"{name}_std": round(statistics.stdev(found), 4) if found[1:] else None for name, found in values.items()},
        "n": row.n,
        "runs": " ".join(run.id for run in row.runs),
        "command": f"harness run {row.words}",
        "missing": row.missing,
    }


def render(name: str, found: Sequence[Row], preset: str, style: str) -> str:
    """The table as text, md, latex, csv or json."""
    columns = TABLES[name].columns
    if style == "csv":
        return frame(found, columns).to_csv(index=False).rstrip()
    if style == "json":
        return json.dumps([line(row, columns) for row in found], indent=2, ensure_ascii=False)
    notes = [f"Table {name}: {TABLES[name].summary}", *scale(preset), *TABLES[name].notes]
    below = gaps(found)
    body = laid_out(headings(columns), cells(found, columns, style), style)
    if style == "latex":
        return "\n".join([*(f"% {note}" for note in notes), body, *(f"% {note}" for note in below)])
    return "\n".join([*notes, "", body, *([""] if below else []), *below])


def laid_out(head: list[str], lines: Sequence[list[str] | str], style: str) -> str:
    """A table as text, md or latex: words left, numbers right."""
    align = ["left", *["right"] * (len(head) - 1)]
    return tabulate(lines, head, tablefmt=STYLES[style], disable_numparse=True, colalign=align)


def headings(columns: Sequence[Column]) -> list[str]:
    """Of the scores the paper's before ours."""
    names = [column.heading for column in columns]
    return [
        "",
        *([f"paper {names[0]}", *names[1:], f"ours {names[0]}", *names[1:]] if columns is SCORES else names),
        "n",
    ]


def cells(found: Sequence[Row], columns: Sequence[Column], style: str) -> list[list[str] | str]:
    """Headings' worth of text for every row; a rule, where the style has one, sets the controls apart."""
    lines: list[list[str] | str] = []
    for row in found:
        if row.control and style == "text" and SEPARATING_LINE not in lines:
            lines.append(SEPARATING_LINE)
        paper = [f"{row.reported[one.name]:.1f}" if row.reported else "" for one in columns if one in SCORES]
        lines.append([row.label, *paper, *(ours(row, column) for column in columns), str(row.n)])
    return lines


def ours(row: Row, column: Column) -> str:
    """Mean, and with more than one run ± the standard deviation; a dash for a gap."""
    values = [value * column.scale for value in row.values(column)]
    if not values:
        return "–"
    shown = f"{statistics.mean(values):.{column.digits}f}"
    if len(values) == 1:
        return shown
    sign = " ± " if column in SCORES else "±"  # 80 columns hold three scores with spaces, not seven gauges
    return f"{shown}{sign}{statistics.stdev(values):.{column.digits}f}"


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
        *(["Gaps that no command fills:", *absent] if absent else []),
    ]
