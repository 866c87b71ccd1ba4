"""A table of the report: its numbers, comparisons, verdicts and plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.evidence import claims
from harness.evidence.render import SPREAD, cells, gap_commands, headings, ours, shown, unfillable
from harness.evidence.report.appendix import (
    Grid,
)
from harness.evidence.report.pictures import plot
from harness.evidence.report.source import Known
from harness.evidence.rows import Row
from harness.evidence.statistics import Comparison, Verdict, cell
from harness.tables import Column, named


class Said(NamedTuple):
    """A claim of the paper, and what the runs say to it."""

    name: str
    word: str
    why: str
    behind: str


class Scored(NamedTuple):
    """What can be decided by one score of a table."""

    score: str
    against: Grid
    said: list[Said]
    notes: list[str]


class Section(NamedTuple):
    """One table of the page."""

    name: str
    summary: str
    notes: str
    numbers: Grid
    scored: list[Scored]  # none of a table of gauges
    commands: list[str]
    unfillable: list[str]
    plot: str | None  # a data URI


def section(known: Known, name: str, rows: list[Row]) -> Section:
    """A table with all that is said of it."""
    table = named(name)
    scores = [one for one in table.columns if not one.gauge]
    return Section(
        name,
        table.summary,
        " ".join(table.notes),
        number_grid(name, rows, scores) if scores else gauge_grid(name, rows),
        [scored(known, name, rows, score) for score in scores],
        gap_commands(rows),
        unfillable(rows),
        plot(rows, scores) if any(row.n for row in rows) else None,
    )


def number_grid(name: str, rows: Sequence[Row], scores: Sequence[Column]) -> Grid:
    """For each score the paper's number, ours and its interval, and n."""
    lines = []
    for row in rows:
        cells = [text for score in scores for text in cell_words(row, score)]
        lines.append([row.label + (" (control)" if row.control else ""), *cells, row.count])
    heads = [text for one in scores for text in (f"{one.heading}, paper", f"{one.heading}, ours", "95 % interval")]
    return Grid(f"Table {name}: {SPREAD}", ["", *heads, "n"], lines)


def cell_words(row: Row, score: Column) -> list[str]:
    """The paper's number, ours and its interval."""
    found = cell([*row.seeds(score).values()])
    return [shown(row.reported.get(score.name), score), ours(row, score), claims.cell_words(found)[-1]]


def gauge_grid(name: str, rows: Sequence[Row]) -> Grid:
    """The gauges as the text table has them."""
    columns = named(name).columns
    lines = [line for line in cells(rows, columns, [], "md") if not isinstance(line, str)]
    return Grid(f"Table {name}: {SPREAD}", headings(columns, []), lines)


def scored(known: Known, name: str, rows: Sequence[Row], score: Column) -> Scored:
    """One score's comparisons, verdicts and what they rest on."""
    evidence = claims.evidence(name, score.name, rows, known.preset, known.changed)
    found = claims.findings(evidence)
    lines = [[label, *claims.comparison_words(one), claims.small(one.floor)] for label, one in found.others.items()]
    head = ["", "n", "difference", "95 % interval", "p", "Holm", "P(A>B)", "least p"]
    grid = Grid(f"{score.heading}: each row less {found.baseline}, paired by seed", head, lines)
    return Scored(score.heading, grid, [said(*one) for one in found.verdicts.items()], claims.notes(found))


def said(name: str, judged: tuple[Comparison, Verdict]) -> Said:
    """A verdict with the difference that it rests on."""
    found, verdict = judged
    return Said(name, verdict.word, verdict.why, claims.behind_it(found))
