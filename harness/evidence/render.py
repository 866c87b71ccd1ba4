"""A filled table as text, Markdown, CSV, JSON or LaTeX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import tabulate as layout
from tabulate import SEPARATING_LINE, tabulate

from harness.evidence.latex import booktabs, comment
from harness.evidence.rows import Row
from harness.presets import PRESETS
from harness.records import visible
from harness.tables import Column, named

if TYPE_CHECKING:
    import pandas

layout.MIN_PADDING = 0  # 80 columns hold the table only without it

SPREAD = "mean ± standard deviation over n seeds"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how one begins
STYLES = {"text": "simple", "md": "pipe"}


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
        **{f"paper_{one.name}": row.reported.get(one.name) for one in columns if not one.gauge},
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
    sign = "±" if column.gauge else " ± "  # 80 columns hold three scores with spaces, not seven gauges
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
