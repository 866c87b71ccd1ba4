"""The claims of the paper's tables (methods/METHODS.md 11.1), what our runs say about them and what deciding costs."""

from __future__ import annotations

import csv
import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tabulate import tabulate

from harness import ROOT, plugins
from harness.evidence.render import layout, scale
from harness.evidence.rows import Row
from harness.evidence.statistics import (
    ALPHA,
    BOOTSTRAP_FROM,
    Cell,
    Comparison,
    Interval,
    Runs,
    Verdict,
    against,
    best,
    cell,
    compare,
    floor,
    verdict,
)
from harness.tables import TABLES, Claim, Column, named

POWER = 0.8


@dataclass(frozen=True)
class Evidence:
    """All that is known about one score of a table."""

    table: str
    score: Column
    rows: Sequence[Row]
    preset: str
    changed: bool  # from the preset, which is then not the paper's

    @property
    def comparable(self) -> bool:
        """Whether a gap of ours may be compared with the paper's."""
        return self.preset == "paper" and not self.changed

    @property
    def runs(self) -> dict[str, Runs]:
        """Row → pre-training seed → the scores of its fine-tuning trials."""
        return {row.label: row.seeds(self.score) for row in self.rows}

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The paper's, on rows of which it gives this score."""
        known = {row.label for row in self.rows if self.score.name in row.reported}
        return tuple(claim for claim in named(self.table).claims if {claim.more, claim.less} <= known)

    def gap(self, claim: Claim) -> float:
        """The paper's, in points of the score."""
        paper = {row.label: row.reported for row in self.rows}
        return round(paper[claim.more][self.score.name] - paper[claim.less][self.score.name], 1)

    def name(self, claim: Claim) -> str:
        """The claim in one line."""
        if claim.margin is None:
            return f"{self.table}: {claim.more} > {claim.less} by {self.gap(claim):.1f}"
        return f"{self.table}: {claim.more} ≈ {claim.less} within {claim.margin:.1f}"


def evidence(table: str, score: str | None, rows: Sequence[Row], preset: str, changed: bool) -> Evidence:
    """Of a table of scores, the first if none is named; UnknownName says which there are."""
    known = {one.name: one for one in named(table).columns if not one.gauge}
    if not known:
        raise plugins.unknown(
            "table of scores",
            table,
            [name for name, one in TABLES.items() if not all(column.gauge for column in one.columns)],
        )
    if score is not None and score not in known:
        raise plugins.unknown("score", score, known)
    return Evidence(table, known[score or next(iter(known))], rows, preset, changed)


def published_noise(score: str) -> float | None:
    """Standard deviation of the difference of two runs, from that of one fine-tuning (results/reported/noise.csv)."""
    with open(ROOT / "results" / "reported" / "noise.csv", encoding="utf-8", newline="") as lines:
        known = {line["score"]: math.sqrt(2) * float(line["std"]) for line in csv.DictReader(lines)}
    return known.get(score)


def judge(known: Evidence, claim: Claim, power: float = POWER) -> tuple[Comparison, Verdict]:
    """A claim's two rows compared, and the verdict."""
    runs = known.runs
    found = compare(runs[claim.more], runs[claim.less])
    return found, verdict(
        found, known.gap(claim), claim.margin, known.comparable, published_noise(known.score.name), power
    )


class Findings(NamedTuple):
    """What the runs say about one score of a table."""

    baseline: str  # the row that all others are compared with
    cells: dict[str, Cell | None]
    others: dict[str, Comparison]  # row → it less the baseline
    verdicts: dict[str, tuple[Comparison, Verdict]]  # a claim's name → its two rows compared, and the verdict


def findings(known: Evidence, baseline: str | None = None) -> Findings:
    """Every row, every row against the baseline (the first, if none is named) and the verdicts."""
    runs = known.runs
    chosen = next(iter(runs)) if baseline is None else baseline
    if chosen not in runs:
        raise plugins.unknown("row", chosen, runs)
    cells = {label: cell(list(seeds.values())) for label, seeds in runs.items()}
    verdicts = {known.name(claim): judge(known, claim) for claim in known.claims}
    return Findings(chosen, cells, against(runs, chosen), verdicts)


def report(known: Evidence, baseline: str | None, style: str) -> str:
    """The findings against a baseline as text, md or json."""
    found = findings(known, baseline)
    if style == "json":
        return as_json(known, found)
    parts = [
        [f"Table {known.table}, {known.score.name}: what the evidence can decide", *scale(known.preset, known.changed)],
        [cell_table(found.cells, best(found.cells), style)],
        [f"less {found.baseline}, paired by seed:", "", comparison_table(found.others, style)],
        *([["claims of the paper:", "", *verdict_lines(found.verdicts, style)]] if found.verdicts else []),
        [line for note in notes(found) for line in textwrap.wrap(note, 80)],
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def cell_table(cells: dict[str, Cell | None], first: str | None, style: str) -> str:
    """Mean, n, spread and interval; a best row is bold only where its interval overlaps no other's."""
    bold = "**" if style == "md" else ""
    lines = [[f"{bold}{label}{bold}" if label == first else label, *cell_words(one)] for label, one in cells.items()]
    return layout(["", "n", "mean", "std", "95 % interval"], lines, style)


def cell_words(one: Cell | None) -> list[str]:
    """A cell as text, gaps as dashes."""
    if one is None:
        return ["0", "–", "–", "–"]
    few, many = one.trials
    trials = f"{few}" if few == many else f"{few}–{many}"
    return [f"{one.seeds} × {trials}", f"{one.mean:.2f}", number(one.std), span(one.interval)]


def comparison_table(others: dict[str, Comparison], style: str) -> str:
    """Differences, their intervals and what permutation says."""
    head = ["", "n", "difference", "95 % interval", "p", "Holm", "P(A>B)"]
    return layout(head, [[label, *comparison_words(one)] for label, one in others.items()], style)


def comparison_words(one: Comparison) -> list[str]:
    """A comparison as text, what n does not allow as dashes."""
    return [str(one.seeds), number(one.difference, "+"), span(one.interval), small(one.p), small(one.holm),
            number(one.better)]  # fmt: skip


def verdict_lines(verdicts: dict[str, tuple[Comparison, Verdict]], style: str) -> list[str]:
    """Each claim with its verdict and the difference behind it."""
    behind = {name: behind_it(found) for name, (found, _) in verdicts.items()}
    if style == "md":
        lines = [[name, str(said), behind[name]] for name, (_, said) in verdicts.items()]
        return [tabulate(lines, ["claim", "verdict", "ours"], tablefmt="pipe", disable_numparse=True)]
    told = [line for name, (_, said) in verdicts.items() for line in (name, f"    {said}", f"    {behind[name]}")]
    return [line for line in told if line.strip()]


def behind_it(found: Comparison) -> str:
    """The difference that a verdict rests on, its interval and n; nothing where no seed is shared."""
    return f"{number(found.difference, '+')} {span(found.interval)}, n = {found.seeds}" if found.seeds else ""


def notes(found: Findings) -> list[str]:
    """What the numbers rest on, and what so few seeds cannot say: a sentence each."""
    first = best(found.cells)
    fewest = min((one.seeds for one in found.others.values() if one.seeds), default=0)
    if not fewest:
        return ["n = 0: no row shares a seed with the baseline, so nothing can be compared"]
    lines = [
        f"best: {first}, its interval above all others" if first else "best: none; intervals overlap or are missing",
        "n: pre-training seeds × fine-tuning trials; std: of the seeds' means; P(A>B): that a run scores more than one "
        "of the baseline, ties half; intervals: Student's t on the seeds' means, from "
        f"{BOOTSTRAP_FROM} seeds on the hierarchical bootstrap;",
        "verdicts: by one interval each, so that 1 in 20 that nothing differs in is wrong",
    ]
    if fewest == 1:
        return [*lines, "n = 1: a difference, but no spread, interval or p"]
    tested = sum(one.p is not None for one in found.others.values())
    alone, all_rows = (next(n for n in range(2, 99) if rows * floor(n) < ALPHA) for rows in (1, tested))
    return [
        *lines,
        f"p: two-sided sign flips; n = {fewest} cannot give less than {small(floor(fewest))}: p < 0.05 needs {alone} "
        f"seeds, and {all_rows} where Holm adjusts for {tested} rows",
    ]


def as_json(known: Evidence, found: Findings) -> str:
    """All of it, for programs; what n does not allow is null."""
    content = {
        "table": known.table,
        "score": known.score.name,
        "preset": known.preset,
        "comparable": known.comparable,
        "rows": {label: one and one._asdict() for label, one in found.cells.items()},
        "best": best(found.cells),
        "baseline": found.baseline,
        "against": {label: one._asdict() for label, one in found.others.items()},
        "claims": {name: {"verdict": said.word, "why": said.why, **compared._asdict()}
                   for name, (compared, said) in found.verdicts.items()},
    }  # fmt: skip
    return json.dumps(content, indent=2, ensure_ascii=False)


def number(value: float | None, sign: str = "") -> str:
    """Two decimals, or a dash."""
    return "–" if value is None else f"{value:{sign}.2f}"


def small(p: float | None) -> str:
    """A probability with three decimals, or a dash; never zero."""
    return "–" if p is None else f"{p:.3f}" if p >= 0.0005 else "<0.001"


def span(found: Interval | None) -> str:
    """An interval, or a dash."""
    return "–" if found is None else f"[{found.low:.2f}, {found.high:.2f}]"
