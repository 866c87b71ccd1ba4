"""The claims of the paper's tables (METHODS 11.1) and what our runs say about them."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from harness import RESULTS, plugins
from harness.evidence.rows import Row
from harness.evidence.statistics import Comparison, Runs, Summary, against, compare, holm, paired_p, pairing, summarise
from harness.evidence.verdicts import Aim, Verdict, verdict
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
    beside: tuple[Evidence, ...] = ()  # the other tables whose claims are judged together with these

    @property
    def comparable(self) -> bool:
        """Return whether a difference of ours may be compared with the paper's."""
        return self.preset == "paper" and not self.changed

    @property
    def runs(self) -> dict[str, Runs]:
        """Return the scores: row → pre-training seed → one for each of its fine-tuning trials."""
        return {row.label: row.seeds(self.score) for row in self.rows}

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Return the table's claims; where the paper reports numbers, those about rows of which it has this score."""
        table = named(self.table)
        known = {row.label for row in self.rows if self.score.name in row.reported or not table.reported}
        return tuple(claim for claim in table.claims if {claim.more, claim.less} <= known)

    @property
    def deciding(self) -> bool:
        """Return whether the claims are judged by this score: as a rule by one alone, the first of the table."""
        return self.score in deciding_scores(self.table)

    @property
    def family(self) -> tuple[Evidence, ...]:
        """Return the scores whose claims are judged together: those that decide here, and those of other tables."""
        return (*(replace(self, score=score) for score in deciding_scores(self.table)), *self.beside)

    @property
    def testable(self) -> list[Claim]:
        """Return the claims that are judged: those with a margin only at the paper's scale."""
        return [claim for claim in self.claims if claim.margin is None or self.comparable]

    @property
    def together(self) -> int:
        """Return how many claims are judged together, in this table and those beside it, whether run or not."""
        return sum(len(each.testable) for each in self.family)

    def reported(self, claim: Claim) -> float | None:
        """Return the difference that the paper reports, in points of the score; None where it reports none."""
        paper = {row.label: row.reported.get(self.score.name) for row in self.rows}
        more, less = paper.get(claim.more), paper.get(claim.less)
        return None if more is None or less is None else round(more - less, 1)

    def name(self, claim: Claim) -> str:
        """Return the claim in one line."""
        reported = self.reported(claim)
        if claim.margin is None:
            return f"{self.table}: {claim.more} > {claim.less}" + ("" if reported is None else f" by {reported:.1f}")
        return f"{self.table}: {claim.more} ≈ {claim.less} within {claim.margin:.1f}"


def scores_of(table: str) -> list[Column]:
    """Return the scores of a table, which are its columns without the gauges."""
    return [column for column in named(table).columns if not column.gauge]


def deciding_scores(table: str) -> list[Column]:
    """Return the scores that a table's claims are judged by: those that it names, else the first."""
    scores, keys = scores_of(table), named(table).deciding
    return [score for score in scores if score.key in keys] if keys else scores[:1]


def evidence(
    table: str, score: str | None, rows: Sequence[Row], preset: str, changed: bool,
    beside: Mapping[str, Sequence[Row]] | None = None,
) -> Evidence:  # fmt: skip
    """Return one score of a table, by default the first; UnknownName lists the tables or the scores.

    `beside` are the rows of the tables whose claims are judged together with these: see judged_with.
    """
    known = {column.key: column for column in scores_of(table)}
    if not known:
        raise plugins.unknown("table of scores", table, [name for name in TABLES if scores_of(name)])
    if score is not None and score not in known:
        raise plugins.unknown("score", score, known)
    others = tuple(evidence(name, None, filled, preset, changed) for name, filled in (beside or {}).items())
    return Evidence(table, known[score or next(iter(known))], rows, preset, changed, others)


def deciding_text(table: str) -> str:
    """Return the scores that a table's claims are judged by, as text."""
    *first, last = [score.heading for score in deciding_scores(table)]
    return f"{', '.join(first)} and {last}" if first else last


def published_noise(score: str) -> float | None:
    """Return the standard deviation of the difference of two runs: √2 × the published one of a fine-tuning, if any."""
    with open(RESULTS / "reported" / "noise.csv", encoding="utf-8", newline="") as lines:
        known = {line["score"]: math.sqrt(2) * float(line["std"]) for line in csv.DictReader(lines)}
    return known.get(score)


def aim_of(known: Evidence, power: float = POWER) -> Aim:
    """Return what the claims are tested with; the published noise holds at the paper's scale alone."""
    return Aim(published_noise(known.score.name) if known.comparable else None, power, known.together)


def compare_claims(known: Evidence) -> dict[str, Comparison]:
    """Return claim → its two rows compared, with p adjusted by Holm over the claims that are judged together.

    A claim that has not been run counts among them all the same, so that none is decided the sooner for it.
    """
    runs = known.runs
    found = {claim: compare(runs[claim.more], runs[claim.less], claim.margin) for claim in known.claims}
    adjusted = adjusted_ps(known) if known.deciding else {}
    return {
        known.name(claim): one._replace(holm=None if one.p is None else adjusted.get(f"{known.score.key} {claim}"))
        for claim, one in found.items()
    }


def adjusted_ps(known: Evidence) -> dict[str, float]:
    """Return score and claim → p adjusted by Holm over all claims that are judged together; 1 for one not run."""
    ps = {}
    for each in known.family:
        runs = each.runs
        for claim in each.testable:
            p = paired_p(runs[claim.more], runs[claim.less], claim.margin)
            ps[f"{each.score.key} {claim}"] = 1.0 if p is None else p
    return holm(ps)


def judge(known: Evidence) -> dict[str, tuple[Comparison, Verdict]]:
    """Return claim → its two rows compared, and the verdict."""
    found, aim = compare_claims(known), aim_of(known)
    if not known.deciding:
        why = f"claims are judged by {deciding_text(known.table)} alone"
        return {name: (one, Verdict("not judged", why)) for name, one in found.items()}
    return {
        known.name(claim): (
            found[known.name(claim)],
            verdict(found[known.name(claim)], known.reported(claim), claim.margin, known.comparable, aim),
        )
        for claim in known.claims
    }


def headline(words: Sequence[str], leaders: Mapping[str, str]) -> str:
    """Return in one sentence how many claims have which verdict, and which rows have the highest means.

    `leaders`: table → the row that has the highest mean, controls included, and the score: leader.
    """
    counts = {word: words.count(word) for word in ("same direction", "not run")}
    parts = [
        f"{words.count('reproduced')} of {len(words)} claims reproduced",
        *([f"{counts['same direction']} of the same direction"] if counts["same direction"] else []),
        f"{words.count('contradicted')} contradicted",
        f"{words.count('inconclusive')} undecided",
        *([f"{counts['not run']} not run"] if counts["not run"] else []),
    ]
    if not set(words) - {"not judged"}:
        parts = ["no claim is judged by this score" if words else "no claims"]
    highest = [f"{leader} in {name}" if len(leaders) > 1 else leader for name, leader in leaders.items()]
    return "; ".join([", ".join(parts), *([", ".join(highest)] if highest else [])])


def leader(summaries: Mapping[str, Summary | None], score: str) -> str | None:
    """Return which row has the highest mean, controls included; None where nothing was run."""
    means = {label: row.mean for label, row in summaries.items() if row}
    return f"{max(means, key=lambda label: means[label])} has the highest mean {score}" if means else None


class Findings(NamedTuple):
    """What the runs say about one score of a table."""

    baseline: str  # label of the row that all others are compared with
    summaries: dict[str, Summary | None]
    compared: dict[str, Comparison]  # every other row minus the baseline
    verdicts: dict[str, tuple[Comparison, Verdict]]  # claim → its two rows compared, and the verdict
    judged: str  # by which score the claims are judged, and with those of which tables
    tests: int  # claims that are judged together
    pairing: float | None  # variance of a paired difference relative to that of independent rows
    headline: str


def findings(known: Evidence, baseline: str | None = None) -> Findings:
    """Return the summaries, the comparisons with a baseline (by default the first row) and the verdicts."""
    runs = known.runs
    chosen = next(iter(runs)) if baseline is None else baseline
    if chosen not in runs:
        raise plugins.unknown("row", chosen, runs)
    summaries = {label: summarise(list(seeds.values())) for label, seeds in runs.items()}
    verdicts, first = judge(known), leader(summaries, known.score.heading)
    names = sorted([known.table, *(one.table for one in known.beside)])
    judged = f"{deciding_text(known.table)} in {' and '.join(names)}"
    words = [verdict.word for _, verdict in verdicts.values()]
    top = headline(words, {known.table: first} if first else {})
    return Findings(
        chosen, summaries, against(runs, chosen), verdicts, judged, known.together, pairing(runs), top
    )  # fmt: skip


def judged_with(name: str) -> list[str]:
    """Return the other tables whose claims are judged together with a table's: of the paper's tables, its others."""
    paper = [other for other, table in TABLES.items() if table.claims and table.reported]
    return [other for other in paper if other != name] if name in paper else []
