"""Tables: a row is a label and the words of `harness run` that earn it; a cell is filled by equal settings alone."""

from __future__ import annotations

import csv
import json
import shlex
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import tabulate as layout
from tabulate import SEPARATING_LINE, tabulate

from harness import ROOT, plugins
from harness.evidence.compare import differences
from harness.evidence.latex import booktabs, comment
from harness.experiment import build, words
from harness.plugins import unknown
from harness.presets import PRESETS
from harness.records import Record, visible

if TYPE_CHECKING:
    import pandas

layout.MIN_PADDING = 0  # 80 columns hold the table only without it

SPREAD = "mean ± standard deviation over n seeds"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how one begins
STYLES = {"text": "simple", "md": "pipe"}


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
    "uniform": "--strategy location --set match.sampler=uniform",
    "mildly biased": "--strategy location --set match.sampler=biased"
    " --set match.sampler.k=3 --set match.sampler.beta=0.75",
    "heavily biased": "--strategy location --set match.sampler=biased"
    " --set match.sampler.k=10 --set match.sampler.beta=1.0",
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


@dataclass(frozen=True)
class Row:
    """One row as far as it is known."""

    label: str
    control: bool
    words: str  # of `harness run`
    reported: dict[str, float]  # the paper's, empty for a control
    runs: tuple[Record, ...]  # finished, of the row's settings: fine-tuning trials of pre-training seeds
    missing: str | None  # why it cannot be run at all

    @property
    def n(self) -> int:
        """Pre-training seeds that count."""
        return len({run.settings["seed"] for run in self.runs})

    def seeds(self, column: Column) -> dict[int, list[float]]:
        """Pre-training seed → the column's value of each of its trials, of the runs that have it."""
        found: dict[int, list[float]] = {}
        for run in self.runs:
            source = run.gauges() if column in GAUGES else run.scores or {}
            if column.name in source:
                found.setdefault(run.settings["seed"], []).append(source[column.name])
        return found

    def values(self, column: Column) -> list[float]:
        """The column's value of every run that has it."""
        return [value for trials in self.seeds(column).values() for value in trials]

    def spread(self, column: Column) -> tuple[float, float | None] | None:
        """Mean of the seeds' means and their standard deviation, of one seed its trials'; None without a value."""
        seeds = [*self.seeds(column).values()]
        if not seeds:
            return None
        means = [statistics.fmean(trials) for trials in seeds]
        varied = means if len(seeds) > 1 else seeds[0]
        return statistics.fmean(means), statistics.stdev(varied) if len(varied) > 1 else None

    @property
    def count(self) -> str:
        """Seeds, with more than one trial of any × fewest to most trials of a seed."""
        counts = sorted(Counter(run.settings["seed"] for run in self.runs).values()) or [0]
        trials = f"{counts[0]}–{counts[-1]}" if counts[0] < counts[-1] else f"{counts[0]}"
        return f"{self.n}×{trials}" if counts[-1] > 1 else f"{self.n}"


def rows(name: str, extra: Sequence[str], records: Sequence[Record]) -> list[Row]:
    """The rows of a table; `extra` words, such as --preset study, are added to those of every row.

    Raises ValueError where the extra words mean nothing to `location`, which is in every table.
    """
    build(words().parse_args(["--strategy", "location", *extra]))
    table = named(name)
    lines = {**table.rows, **table.controls}
    return alike(
        [row(label, label in table.controls, line, extra, records, table.reported) for label, line in lines.items()]
    )


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
        wanted = seedless(settings_of(full))
    except ValueError as error:
        return Row(label, control, full, reported.get(label, {}), (), missing=str(error).split(": ")[0])
    known = [record for record in records if record.scores and "seed" in record.settings]
    matching = [record for record in known if seedless(record.settings) == wanted]
    found = {trial_of(record): record for record in reversed(matching)}  # of a copied record the first by name
    runs = tuple(record for record in matching if found[trial_of(record)] is record)
    return Row(label, control, full, reported.get(label, {}), runs, missing=None)


def trial_of(record: Record) -> tuple[int, int]:
    """Pre-training seed and fine-tuning trial: two records of one row that share both are the same run."""
    return record.settings["seed"], record.settings["trial"]


def alike(found: list[Row]) -> list[Row]:
    """The rows without the runs that learnt from, or were judged on, other data than most of the table's."""
    for part in ("data", "benchmark_data"):
        prints = Counter(run.fingerprint(part) for row in found for run in row.runs)
        del prints[None]
        for other, _ in prints.most_common()[1:]:
            found = [
                replace(row, runs=tuple(run for run in row.runs if run.fingerprint(part) != other)) for row in found
            ]
    return found


def left_out(found: Sequence[Row], records: Sequence[Record]) -> list[str]:
    """One line for every run that fills no row: what keeps it from the row that it is nearest to."""
    counted = {run.folder for row in found for run in row.runs}
    settings = {row.label: settings_of(row.words) for row in found if not row.missing}
    lines = []
    for record in records:
        if record.folder not in counted:
            options = {
                name: differences(seedless(record.settings), seedless(wanted)) for name, wanted in settings.items()
            }
            label, nearest = min(options.items(), key=lambda option: len(option[1]))
            reasons = [f"{field}={mine}, not {wanted}" for field, (mine, wanted) in nearest.items()]
            lines.append(f"{record.id} is no {label}: {'; '.join(reasons) or unequal(record, found)}")
    return lines or ["Every run counts."]


def unequal(record: Record, found: Sequence[Row]) -> str:
    """What keeps a run of a row's settings out of it."""
    if not record.scores:
        return f"it is {record.status}, not finished"
    parts = {part: {run.fingerprint(part) for row in found for run in row.runs} for part in ("data", "benchmark_data")}
    others = [part for part, prints in parts.items() if record.fingerprint(part) not in prints]
    if others:
        return "; ".join(f"its {part} is not that of most runs here ({record.fingerprint(part)})" for part in others)
    return f"another record here is of its seed {trial_of(record)[0]} and trial {trial_of(record)[1]}"


def settings_of(line: str) -> dict[str, Any]:
    """What a run of the words records, as JSON gives it back; ValueError where they mean nothing."""
    found: dict[str, Any] = json.loads(json.dumps(build(words().parse_args(shlex.split(line))).settings))
    return found


def seedless(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with seed and trial left out."""
    return {name: value for name, value in settings.items() if name not in ("seed", "trial")}


def frame(found: Sequence[Row], columns: Sequence[Column]) -> pandas.DataFrame:
    """One line a row: the paper's scores, the mean and standard deviation of ours, n, the runs and the command."""
    import pandas  # half a second that only this needs

    return pandas.DataFrame([line(row, columns) for row in found])


def line(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    """The columns of one row; what is not known is None."""
    spreads = {column.name: row.spread(column) or (None, None) for column in columns}
    return {
        "row": row.label,
        "control": row.control,
        **{f"paper_{one.name}": row.reported.get(one.name) for one in columns if one not in GAUGES},
        **{name: mean if mean is None else round(mean, 4) for name, (mean, _) in spreads.items()},
        **{f"{name}_std": std if std is None else round(std, 4) for name, (_, std) in spreads.items()},
        "n": row.n,
        "trials": len(row.runs),
        "runs": " ".join(run.id for run in row.runs),
        "command": f"harness run {row.words}",
        "missing": row.missing,
    }


def render(name: str, found: Sequence[Row], preset: str, changed: bool, style: str) -> str:
    """The table as text, md, latex, csv or json; changed: settings differ from the preset's."""
    table = named(name)
    columns = table.columns
    if style == "csv":
        return frame(found, columns).rename(columns=as_text).map(as_text).to_csv(index=False).rstrip()
    if style == "json":
        return json.dumps([line(row, columns) for row in found], indent=2, ensure_ascii=False)
    notes = [f"Table {name}: {table.summary}", *scale(preset, changed), SPREAD, *table.notes]
    if any("×" in row.count for row in found):
        notes.append("n×k: k fine-tuning trials a seed; ± over the seeds' means, of one seed its trials")
    below = gaps(found)
    papers = [one for one in columns if any(one.name in row.reported for row in found)]
    head, lines = headings(columns, papers), cells(found, columns, papers, style)
    if style == "latex":
        return "\n".join([*map(comment, notes), *booktabs(head, lines), *map(comment, below)])
    body = laid_out(head, lines, style)
    return "\n".join([*notes, "", body, *([""] if below else []), *below])


def as_text(cell: Any) -> Any:
    """A cell of CSV; words that a spreadsheet would compute as a formula begin with an apostrophe, numbers stay."""
    if not isinstance(cell, str):
        return cell
    return f"'{visible(cell)}" if cell.startswith(FORMULA) else visible(cell)


def laid_out(head: list[str], lines: Sequence[list[str] | str], style: str) -> str:
    """A table as text or md: words left, numbers right."""
    align = ["left", *["right"] * (len(head) - 1)]
    return tabulate(lines, head, tablefmt=STYLES[style], disable_numparse=True, colalign=align)


def headings(columns: Sequence[Column], papers: Sequence[Column]) -> list[str]:
    """The paper's columns, where there are any, before ours."""
    theirs, names = ([column.heading for column in part] for part in (papers, columns))
    if theirs:
        theirs[0], names[0] = f"paper {theirs[0]}", f"ours {names[0]}"
    return ["", *theirs, *names, "n"]


def cells(
    found: Sequence[Row], columns: Sequence[Column], papers: Sequence[Column], style: str
) -> list[list[str] | str]:
    """Headings' worth of text for every row; a rule, where the style has one, sets the controls apart."""
    lines: list[list[str] | str] = []
    for row in found:
        if row.control and style != "md" and SEPARATING_LINE not in lines:
            lines.append(SEPARATING_LINE)
        paper = [shown(row.reported.get(one.name), one) for one in papers]
        lines.append([row.label, *paper, *(ours(row, column) for column in columns), row.count])
    return lines


def shown(value: float | None, column: Column) -> str:
    """A number of the paper's, or nothing."""
    return "" if value is None else f"{value * column.scale:.{column.digits}f}"


def ours(row: Row, column: Column) -> str:
    """Mean, and with more than one run ± the standard deviation; a dash for a gap."""
    spread = row.spread(column)
    if spread is None:
        return "–"
    mean, std = (shown(value, column) for value in spread)
    sign = "±" if column in GAUGES else " ± "  # 80 columns hold three scores with spaces, not seven gauges
    return f"{mean}{sign}{std}" if std else mean


def scale(preset: str, changed: bool) -> list[str]:
    """What must be known before the two sides of the table are compared."""
    ours = f"ours: preset {preset} ({PRESETS[preset].summary})"
    if preset == "paper" and not changed:
        return [ours]
    return [
        f"{ours};",
        f"{'changed settings' if changed else f'{preset} scale'}: NOT comparable with the paper's numbers, "
        "only among themselves;",
    ]


def gaps(found: Sequence[Row]) -> list[str]:
    """The commands that would fill the gaps, and what no command can fill yet."""
    commands, absent = ([f"  {line}" for line in lines] for lines in (gap_commands(found), unfillable(found)))
    return [
        *(["Gaps, and the commands that fill them:", *commands] if commands else []),
        *(["Gaps that no command fills:", *absent] if absent else []),
    ]


def gap_commands(found: Sequence[Row]) -> list[str]:
    """The command of every row without a run that can have one."""
    return [f"harness run {row.words}" for row in found if not row.n and row.missing is None]


def unfillable(found: Sequence[Row]) -> list[str]:
    """The rows that no command fills, and why."""
    return [f"{row.label}: {row.missing}" for row in found if row.missing]
