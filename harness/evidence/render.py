"""A filled table as text, Markdown, CSV, JSON or LaTeX."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tabulate as tabulate_module
from tabulate import SEPARATING_LINE, tabulate

from harness import RESULTS
from harness.evidence.latex import booktabs, comment
from harness.evidence.left_out import left_out_line
from harness.evidence.rows import Row
from harness.experiment import read_line
from harness.presets import PRESETS
from harness.settings import split_change
from harness.tables import Column, named
from harness.terminal import visible

if TYPE_CHECKING:
    import pandas

tabulate_module.MIN_PADDING = 0  # 80 columns hold the table only without it

NAMED = "DIR: a folder of yours, which this command must be told in the same way to find the runs."
SPREAD = "mean ± standard deviation over n seeds"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # first characters of one
STYLES = {"text": "simple", "md": "pipe"}


def frame(rows: Sequence[Row], columns: Sequence[Column]) -> pandas.DataFrame:
    """Return a line for each row: the paper's numbers, our means and standard deviations, n, runs and command."""
    import pandas  # half a second that only this needs

    return pandas.DataFrame([row_values(row, columns) for row in rows])


def row_values(row: Row, columns: Sequence[Column]) -> dict[str, object]:
    """Return the values of a row by name; None stands for what is not known."""
    spreads = {column.key: row.spread(column) or (None, None) for column in columns}
    return {
        "row": row.label,
        "control": row.control,
        **{f"paper_{column.key}": row.reported.get(column.name) for column in columns if not column.gauge},
        **{name: mean if mean is None else round(mean, 4) for name, (mean, _) in spreads.items()},
        **{f"{name}_std": std if std is None else round(std, 4) for name, (_, std) in spreads.items()},
        "n": row.n,
        "trials": len(row.runs),
        "runs": " ".join(run.id for run in row.runs),
        "command": row.command,
        "missing": row.missing,
    }


def place_of(results: Path | None, name: str | None = None) -> str:
    """Return the option that lets a command read or write these records, by a name; nothing for the usual folder."""
    return "" if results in (None, RESULTS) else f" --results {shlex.quote(name or str(results))}"


def render(name: str, rows: Sequence[Row], preset: str, changed: bool, style: str, results: Path | None = None) -> str:
    """Return a table as text, md, latex, csv or json; `changed`: the settings differ from the preset's.

    results: the folder that the commands below it name; None: the usual one. Those of csv and json name none.
    """
    table = named(name)
    columns = table.columns
    if style == "csv":
        return frame(rows, columns).rename(columns=csv_cell).map(csv_cell).to_csv(index=False).rstrip()
    if style == "json":
        return json.dumps([row_values(row, columns) for row in rows], indent=2, ensure_ascii=False)
    *before, about = scale(preset, changed)
    notes = [f"Table {name}: {table.summary}", *before, f"{about};", SPREAD, *table.notes]
    if any("×" in row.count for row in rows):
        notes.append("n×k: k fine-tuning trials a seed; ± over the seeds' means, of one seed its trials")
    if not changed and (others := changed_rows(name, rows, preset)):
        notes.append(f"settings changed in: {', '.join(others)}")
    below = [*left_out_line(rows), *gaps(rows, place_of(results))]
    papers = [column for column in columns if any(column.name in row.reported for row in rows)]
    lines = text_lines(rows, columns, papers, style)
    if style == "latex":
        names = ["", *(column.heading for column in (*papers, *columns)), "n"]
        groups = [(1, ""), (len(papers), "paper"), (len(columns), "ours"), (1, "")] if papers else []
        return "\n".join([*map(comment, notes), *booktabs(names, lines, groups), *map(comment, below)])
    body = layout(headings(columns, papers), lines, style)
    return "\n".join([*notes, "", body, *([""] if below else []), *below])


def csv_cell(value: object) -> object:
    """Return a cell of CSV: text that a spreadsheet would compute as a formula gets an apostrophe; numbers stay."""
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(FORMULA) else visible(value)


def layout(head: list[str], lines: Sequence[list[str] | str], style: str) -> str:
    """Return lines of text as a table in text or md: the first column to the left, all others to the right."""
    align = ["left", *["right"] * (len(head) - 1)]
    return tabulate(lines, head, tablefmt=STYLES[style], disable_numparse=True, colalign=align)


def headings(columns: Sequence[Column], papers: Sequence[Column]) -> list[str]:
    """Return the headings: the paper's columns, where there are any, before ours."""
    theirs, names = ([column.heading for column in part] for part in (papers, columns))
    if theirs:
        theirs[0], names[0] = f"paper {theirs[0]}", f"ours {names[0]}"
    return ["", *theirs, *names, "n"]


def text_lines(
    rows: Sequence[Row], columns: Sequence[Column], papers: Sequence[Column], style: str
) -> list[list[str] | str]:
    """Return the texts of every row, one for each heading; a rule, where the style has one, precedes the controls."""
    lines: list[list[str] | str] = []
    for row in rows:
        if row.control and style != "md" and SEPARATING_LINE not in lines:
            lines.append(SEPARATING_LINE)
        paper = [number_text(row.reported.get(column.name), column) for column in papers]
        lines.append([row.label, *paper, *(our_text(row, column) for column in columns), row.count])
    return lines


def number_text(value: float | None, column: Column) -> str:
    """Return a number as its column shows it; an empty text for none."""
    return "" if value is None else f"{value * column.scale:.{column.digits}f}"


def our_text(row: Row, column: Column) -> str:
    """Return our mean and, with more than one run, ± the standard deviation; a dash for a gap."""
    spread = row.spread(column)
    if spread is None:
        return "–"
    mean, std = (number_text(value, column) for value in spread)
    sign = "±" if column.gauge else " ± "  # 80 columns hold three scores with spaces, not seven gauges
    return f"{mean}{sign}{std}" if std else mean


def scale(preset: str, changed: bool) -> list[str]:
    """Return what a reader must know before comparing our numbers with the paper's."""
    ours = f"ours: preset {preset} ({PRESETS[preset].summary})"
    if preset == "paper" and not changed:
        return [ours]
    return [
        f"{ours};",
        f"{'changed settings' if changed else f'{preset} scale'}: NOT comparable with the paper's numbers, "
        "only among themselves",
    ]


def changed_rows(name: str, rows: Sequence[Row], preset: str) -> list[str]:
    """Return the user's own rows that change settings of the preset; those of a strategy are what a row is about."""
    table = named(name)
    return [
        row.label
        for row in rows
        if row.label not in {**table.rows, **table.controls} and changes_preset(shlex.split(row.options), preset)
    ]


def changes_preset(line: Sequence[str], preset: str) -> bool:
    """Return whether the options of a row name another preset, benchmark or data, or a setting not of the strategy."""
    asked = read_line(line)
    fields = [part for part, _, _ in map(split_change, asked.set) if part != "strategy"]
    return bool(fields or asked.benchmark or asked.data) or asked.preset != preset


def gaps(rows: Sequence[Row], place: str = "") -> list[str]:
    """Return the commands that would fill the gaps, and the gaps that no command can fill."""
    commands, absent = ([f"  {line}" for line in lines] for lines in (gap_commands(rows, place), unfillable(rows)))
    named = [NAMED] if any(" DIR" in line for line in commands) else []
    return [
        *(["Gaps, and the commands that fill them:", *commands, *named] if commands else []),
        *(["Gaps that no command fills:", *absent] if absent else []),
    ]


def gap_commands(rows: Sequence[Row], place: str = "") -> list[str]:
    """Return the command of every row that can be run and has no run yet; place: the option of its results."""
    return [row.command + place for row in rows if not row.n and row.missing is None]


def unfillable(rows: Sequence[Row]) -> list[str]:
    """Return the rows that cannot be run, and why."""
    return [f"{row.label}: {row.missing}" for row in rows if row.missing]
