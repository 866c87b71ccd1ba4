"""What deciding the paper's claims costs: seeds for a power, the runs that are missing, their commands and hours."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from harness.evidence.claims import Evidence, aim_of, compare_claims, deciding_text
from harness.evidence.left_out import left_out_line
from harness.evidence.render import layout, scale
from harness.evidence.rows import Row
from harness.evidence.statistics import Comparison
from harness.evidence.verdicts import LEAST_SEEDS, MEASURED_FROM, Aim, seeds_needed
from harness.tables import Claim

Missing = dict[str, list[int]]  # row → the seeds that it lacks


@dataclass(frozen=True)
class Cost:
    """The cost of one run, in hours of a device."""

    hours: float
    unit: str  # GPU-hours, CPU-hours or device-hours
    source: str


class Need(NamedTuple):
    """The seeds that a claim needs, whose rows' differences have this noise."""

    claim: Claim
    pairs: int  # seeds that both rows have
    noise: float | None  # standard deviation of the differences; None: not known
    measured: bool  # the noise, here; else published
    paper: int | None  # seeds that decide if the difference is the paper's; None: not known
    difference: float | None  # as seen here; None without a pair
    seen: int | None  # seeds that decide if it is as seen


def recorded_cost(rows: Sequence[Row]) -> Cost | None:
    """Return the mean cost of the recorded runs of some rows; None if none has recorded its time."""
    recorded = [run.provenance for row in rows for run in row.runs]
    facts = [one for one in recorded if "seconds" in one and "device" in one.get("machine", {})]
    if not facts:
        return None
    devices = sorted({one["machine"]["device"] for one in facts})
    on_cpu = [name.startswith("CPU") for name in devices]
    unit = "CPU-hours" if all(on_cpu) else "device-hours" if any(on_cpu) else "GPU-hours"
    mean = statistics.fmean(sum(one["seconds"].values()) for one in facts) / 3600
    return Cost(mean, unit, f"mean of {len(facts)} recorded runs, {', '.join(devices)}")


def needs(known: Evidence, power: float) -> list[Need]:
    """Return what every claim needs that is judged; ValueError for a power that is not between 0 and 1."""
    aim = aim_of(known, power)
    seeds_needed(1.0, 1.0, power)
    compared = compare_claims(known)
    return [need(known, claim, aim, compared[known.name(claim)]) for claim in known.testable]


def need(known: Evidence, claim: Claim, aim: Aim, found: Comparison) -> Need:
    """Return what one claim needs; where nothing tells the noise, the least seeds, which measure it."""
    noise = aim.noise(found)
    paper = LEAST_SEEDS if noise is None else aim.seeds(found, known.reported(claim), claim.margin)
    seen = None if found.difference is None else aim.seeds(found, found.difference, claim.margin)
    return Need(claim, found.seeds, noise, found.seeds >= MEASURED_FROM, paper, found.difference, seen)


def missing(known: Evidence, wanted: Mapping[Claim, int]) -> Missing:
    """Return the seeds that rows lack for claims to have so many pairs: first those that only one row of a pair has."""
    runs = known.runs
    lacking: dict[str, set[int]] = {}
    for claim, pairs in wanted.items():
        rows = claim.more, claim.less
        seeds = {*range(pairs + sum(map(len, runs.values()))), *(seed for row in runs.values() for seed in row)}
        half = [(sum(seed not in runs[label] for label in rows), -sum(seed in row for row in runs.values()), seed)
                for seed in seeds]  # fmt: skip
        for _, _, seed in sorted(half)[:pairs]:
            for label in rows:
                if seed not in runs[label]:
                    lacking.setdefault(label, set()).add(seed)
    return {label: sorted(lacking[label]) for label in runs if label in lacking}


def commands(known: Evidence, lacking: Missing, place: str) -> list[str]:
    """Return a command for each row that lacks seeds; `place`: options of where the records lie."""
    lines = []
    for row in known.rows:
        if row.missing is None and (seeds := lacking.get(row.label)):
            lines.append(f"{row.command}{place} --seeds {listed(seeds)}")
    return lines


def listed(seeds: Sequence[int]) -> str:
    """Return sorted seeds as --seeds takes them, such as 0-2,5."""
    parts = [[seed for _, seed in run] for _, run in groupby(enumerate(seeds), lambda one: one[1] - one[0])]
    return ",".join(f"{one[0]}-{one[-1]}" if len(one) > 1 else f"{one[0]}" for one in parts)


def render_plan(known: Evidence, power: float, cost: Cost, place: str = "") -> str:
    """Return, as text, the seeds that each claim needs at this power, the missing runs, their hours and commands."""
    wanted = needs(known, power)
    paper = {one.claim: one.paper for one in wanted if one.paper is not None}
    seen = {one.claim: one.seen for one in wanted if one.seen is not None}
    lines = [line for one in wanted for line in need_lines(known, one, cost)]
    targets = {"the paper's differences": paper, "the differences seen": seen}
    totals = [(name, missing(known, target)) for name, target in targets.items() if target]
    for name, lacking in totals:
        lines.append([f"all claims, for {name}", "", "", "", *count_texts(lacking, cost)])
    todo = [(name, commands(known, lacking, place)) for name, lacking in totals]
    return "\n".join([
        f"Table {known.table}, {known.score.key}: seeds n that decide each claim with power {power:g}",
        *scale(known.preset, known.changed),
        "",
        layout(["claim", "points", "noise", "n", "runs", "hours"], lines, "text"),
        *(f"{known.name(claim)}: only at the paper's scale"
          for claim in known.claims if claim not in known.testable),
        *([] if known.deciding else [f"Claims are judged by {deciding_text(known.table)} alone."]),
        "",
        "n: pairs, which are seeds that both rows have, for a paired t test at two-sided",
        f"5 %, shared by the {known.together} claims that are judged together; at least {LEAST_SEEDS}. Of a claim",
        "with ≈, to reach the nearer end of its margin. First line of a claim: for the",
        "paper's difference, in points; second: for the difference seen here.",
        "noise: standard deviation of the difference of two rows on one seed, measured",
        f"here from {MEASURED_FROM} pairs on. Measured on 3 seeds, the true one may be half or six times",
        "as large (on 10: 0.7 to 1.8 times). *: before, at the paper's scale, √2 × the",
        "published one of a fine-tuning, which does not contain that of the pre-training",
        f"seeds. –: not known, and n is that of a first look, {LEAST_SEEDS}.",
        "runs: missing here, one pre-training and fine-tuning each.",
        f"hours: {cost.unit}, {cost.hours:.2g} a run:",
        f"  {cost.source}",
        *left_out_line(known.rows),
        *(line for name, made in todo if made for line in ("", f"The missing runs for {name}:", *made)),
    ])  # fmt: skip


def need_lines(known: Evidence, one: Need, cost: Cost) -> list[list[str]]:
    """Return a claim's two lines of the table: for the paper's difference and for the one seen."""
    noise = "–" if one.noise is None else f"{one.noise:.2f}{'' if one.measured else '*'}"
    sign = ">" if one.claim.margin is None else "≈"
    pairs = f"seen, {one.pairs} pair{'' if one.pairs == 1 else 's'}" if one.pairs else "no pair yet"
    paper = known.reported(one.claim)
    points = "–" if paper is None else f"{paper:.1f}", "–" if one.difference is None else f"{one.difference:+.2f}"
    first, second = ([f"{seeds:,}", *count_texts(missing(known, {one.claim: seeds}), cost)] if seeds else ["–"] * 3
                     for seeds in (one.paper, one.seen))  # fmt: skip
    return [
        [f"{one.claim.more} {sign} {one.claim.less}", points[0], noise, *first],
        [f"– {pairs}", points[1], "", *second],
    ]


def count_texts(lacking: Missing, cost: Cost) -> list[str]:
    """Return the number of runs and their hours as text."""
    runs = sum(map(len, lacking.values()))
    return [f"{runs:,}", f"{runs * cost.hours:,.1f}"]
