"""The claims of the paper's tables (METHODS 11.1) and what our runs say about them."""

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
from harness.evidence.rows import Row, left_out_line
from harness.evidence.statistics import (
    ALPHA,
    BOOTSTRAP_FROM,
    Comparison,
    Interval,
    Runs,
    Summary,
    Verdict,
    against,
    best,
    compare,
    min_p,
    summarise,
    verdict,
)
from harness.tables import TABLES, Claim, Column, named

POWER = 0.8


@dataclass(frozen=True)
class Evidence:
    """One score of a table, and the rows that have it."""

    table: str
    score: Column
    rows: Sequence[Row]
    preset: str
    changed: bool  # whether settings differ from the preset's

    @property
    def comparable(self) -> bool:
        """Return whether a gap of ours may be compared with the paper's."""
        return self.preset == "paper" and not self.changed

    @property
    def runs(self) -> dict[str, Runs]:
        """Return the scores: row → pre-training seed → one for each of its fine-tuning trials."""
        return {row.label: row.seeds(self.score) for row in self.rows}

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Return the paper's claims about rows of which it reports this score."""
        known = {row.label for row in self.rows if self.score.name in row.reported}
        return tuple(claim for claim in named(self.table).claims if {claim.more, claim.less} <= known)

    def gap(self, claim: Claim) -> float:
        """Return the gap that the paper reports, in points of the score."""
        paper = {row.label: row.reported for row in self.rows}
        return round(paper[claim.more][self.score.name] - paper[claim.less][self.score.name], 1)

    def name(self, claim: Claim) -> str:
        """Return the claim in one line."""
        if claim.margin is None:
            return f"{self.table}: {claim.more} > {claim.less} by {self.gap(claim):.1f}"
        return f"{self.table}: {claim.more} ≈ {claim.less} within {claim.margin:.1f}"


def evidence(table: str, score: str | None, rows: Sequence[Row], preset: str, changed: bool) -> Evidence:
    """Return one score of a table, by default the first; UnknownName lists the tables or the scores."""
    known = {column.name: column for column in named(table).columns if not column.gauge}
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
    """Return the standard deviation of the difference of two runs: √2 × the published one of a fine-tuning, if any."""
    with open(ROOT / "results" / "reported" / "noise.csv", encoding="utf-8", newline="") as lines:
        known = {line["score"]: math.sqrt(2) * float(line["std"]) for line in csv.DictReader(lines)}
    return known.get(score)


def judge(known: Evidence, claim: Claim, power: float = POWER) -> tuple[Comparison, Verdict]:
    """Return the comparison of the two rows of a claim, and the verdict."""
    runs = known.runs
    found = compare(runs[claim.more], runs[claim.less])
    return found, verdict(
        found, known.gap(claim), claim.margin, known.comparable, published_noise(known.score.name), power
    )


class Findings(NamedTuple):
    """What the runs say about one score of a table."""

    baseline: str  # label of the row that all others are compared with
    summaries: dict[str, Summary | None]
    compared: dict[str, Comparison]  # every other row, less the baseline
    verdicts: dict[str, tuple[Comparison, Verdict]]  # claim → its two rows compared, and the verdict


def findings(known: Evidence, baseline: str | None = None) -> Findings:
    """Return the summaries, the comparisons with a baseline (by default the first row) and the verdicts."""
    runs = known.runs
    chosen = next(iter(runs)) if baseline is None else baseline
    if chosen not in runs:
        raise plugins.unknown("row", chosen, runs)
    summaries = {label: summarise(list(seeds.values())) for label, seeds in runs.items()}
    verdicts = {known.name(claim): judge(known, claim) for claim in known.claims}
    return Findings(chosen, summaries, against(runs, chosen), verdicts)


def render_claims(known: Evidence, baseline: str | None, style: str) -> str:
    """Return the findings as text, md or json."""
    found = findings(known, baseline)
    if style == "json":
        return as_json(known, found)
    parts = [
        [f"Table {known.table}, {known.score.name}: what the evidence can decide", *scale(known.preset, known.changed)],
        [summary_table(found.summaries, best(found.summaries), style)],
        [f"less {found.baseline}, paired by seed:", "", comparison_table(found.compared, style)],
        *([["claims of the paper:", "", *verdict_lines(found.verdicts, style)]] if found.verdicts else []),
        [line for note in notes(found) for line in textwrap.wrap(note, 80)],
        *([left] if (left := left_out_line(known.rows)) else []),
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def summary_table(summaries: dict[str, Summary | None], first: str | None, style: str) -> str:
    """Return mean, n, spread and interval of every row; the best one, if any, is bold in md."""
    bold = "**" if style == "md" else ""
    lines = [
        [f"{bold}{label}{bold}" if label == first else label, *summary_texts(row)] for label, row in summaries.items()
    ]
    return layout(["", "n", "mean", "std", "95 % interval"], lines, style)


def summary_texts(row: Summary | None) -> list[str]:
    """Return n, mean, std and interval as text; dashes stand for what is not known."""
    if row is None:
        return ["0", "–", "–", "–"]
    few, many = row.trials
    trials = f"{few}" if few == many else f"{few}–{many}"
    return [f"{row.seeds} × {trials}", f"{row.mean:.2f}", decimals(row.std), interval_text(row.interval)]


def comparison_table(compared: dict[str, Comparison], style: str) -> str:
    """Return the differences, their intervals and the results of the permutation test."""
    head = ["", "n", "difference", "95 % interval", "p", "Holm", "P(A>B)"]
    return layout(head, [[label, *comparison_texts(row)] for label, row in compared.items()], style)


def comparison_texts(row: Comparison) -> list[str]:
    """Return a comparison as text; dashes stand for what n does not allow."""
    return [str(row.seeds), decimals(row.difference, "+"), interval_text(row.interval), p_text(row.p),
            p_text(row.holm), decimals(row.better)]  # fmt: skip


def verdict_lines(verdicts: dict[str, tuple[Comparison, Verdict]], style: str) -> list[str]:
    """Return each claim with its verdict and the difference that it rests on."""
    behind = {name: difference_text(found) for name, (found, _) in verdicts.items()}
    if style == "md":
        lines = [[name, str(verdict), behind[name]] for name, (_, verdict) in verdicts.items()]
        return [tabulate(lines, ["claim", "verdict", "ours"], tablefmt="pipe", disable_numparse=True)]
    texts = [text for name, (_, one) in verdicts.items() for text in (name, f"    {one}", f"    {behind[name]}")]
    return [text for text in texts if text.strip()]


def difference_text(found: Comparison) -> str:
    """Return a difference, its interval and n; nothing where no seed is shared."""
    return (
        f"{decimals(found.difference, '+')} {interval_text(found.interval)}, n = {found.seeds}" if found.seeds else ""
    )


def notes(found: Findings) -> list[str]:
    """Return, a sentence each, what the numbers rest on and what so few seeds cannot show."""
    first = best(found.summaries)
    fewest = min((row.seeds for row in found.compared.values() if row.seeds), default=0)
    if not fewest:
        return ["n = 0: no row shares a seed with the baseline, so nothing can be compared."]
    lines = [
        f"Best row: {first}; its interval lies above all others." if first
        else "Best row: none, because intervals overlap or are missing.",
        "n: pre-training seeds × fine-tuning trials. std: standard deviation of the seeds' means. P(A>B): probability "
        "that a run of the row scores higher than a run of the baseline; ties count half. Intervals: Student's t on "
        f"the seeds' means, from {BOOTSTRAP_FROM} seeds on the hierarchical bootstrap.",
        "Verdicts: each rests on one 95 % interval, so without any true difference 1 in 20 is wrong.",
    ]  # fmt: skip
    if fewest == 1:
        return [*lines, "n = 1: a difference, but no spread, interval or p."]
    tested = sum(row.p is not None for row in found.compared.values())
    alone, all_rows = (next(n for n in range(2, 99) if rows * min_p(n) < ALPHA) for rows in (1, tested))
    return [
        *lines,
        f"p: two-sided sign-flip test. With n = {fewest} it cannot be less than {p_text(min_p(fewest))}: p < 0.05 "
        f"needs {alone} seeds, and {all_rows} seeds where Holm adjusts for {tested} rows.",
    ]


def as_json(known: Evidence, found: Findings) -> str:
    """Return the findings for programs; null stands for what n does not allow."""
    content = {
        "table": known.table,
        "score": known.score.name,
        "preset": known.preset,
        "comparable": known.comparable,
        "rows": {label: row and row._asdict() for label, row in found.summaries.items()},
        "best": best(found.summaries),
        "baseline": found.baseline,
        "against": {label: row._asdict() for label, row in found.compared.items()},
        "claims": {name: {"verdict": verdict.word, "why": verdict.why, **compared._asdict()}
                   for name, (compared, verdict) in found.verdicts.items()},
    }  # fmt: skip
    return json.dumps(content, indent=2, ensure_ascii=False)


def decimals(value: float | None, sign: str = "") -> str:
    """Return a number with two decimals, or a dash."""
    return "–" if value is None else f"{value:{sign}.2f}"


def p_text(p: float | None) -> str:
    """Return a probability with three decimals, never as zero, or a dash."""
    return "–" if p is None else f"{p:.3f}" if p >= 0.0005 else "<0.001"


def interval_text(ends: Interval | None) -> str:
    """Return an interval, or a dash."""
    return "–" if ends is None else f"[{ends.low:.2f}, {ends.high:.2f}]"
