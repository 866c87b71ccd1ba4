"""What deciding the paper's claims costs: seeds for a power, the runs that are missing and their hours."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence.claims import Evidence, published_noise
from harness.evidence.render import layout, scale
from harness.evidence.rows import Row, left_out_line
from harness.evidence.statistics import compare, effect_to_detect, seeds_needed
from harness.tables import Claim

MEASURED_FROM = 3  # shared seeds from which on their own spread is used instead of the published one


@dataclass(frozen=True)
class Cost:
    """The cost of one run, in hours of a device."""

    hours: float
    unit: str  # GPU-hours, CPU-hours or device-hours
    source: str


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


def render_plan(known: Evidence, power: float, cost: Cost) -> str:
    """Return, as text, the seeds that each claim needs at this power, the missing runs and their hours."""
    lines: list[list[str]] = []
    missing: dict[str, int] = {}
    for claim in known.claims:
        if claim.margin is not None and not known.comparable:
            lines.append([known.name(claim), "", "–", "–", "–"])
            continue
        std, seeds, source = noise_and_seeds(known, claim, power)
        if std is None:
            lines.append([known.name(claim), "not known", "–", "–", "–"])
            continue
        pair = {label: max(0, seeds - len(known.runs[label])) for label in (claim.more, claim.less)}
        missing |= {label: max(count, missing.get(label, 0)) for label, count in pair.items()}
        runs = sum(pair.values())
        lines.append([known.name(claim), f"{std:.2f} {source}", f"{seeds:,}", f"{runs:,}", f"{runs * cost.hours:,.1f}"])
    total = sum(missing.values())
    lines.append(["all claims, a row's runs shared", "", "", f"{total:,}", f"{total * cost.hours:,.1f}"])
    return "\n".join([
        f"Table {known.table}, {known.score.name}: seeds n that decide each claim with power {power:g}, two-sided 5 %",
        *scale(known.preset, known.changed),
        "",
        layout(["claim, with the paper's gap", "noise", "n", "runs", "hours"], lines, "text"),
        "",
        "noise: standard deviation of the difference of two rows on one seed, measured",
        "here; or, at the paper's scale, √2 × the published one of a fine-tuning, which",
        "does not contain that of the pre-training seeds. Measured on 3 seeds, the true",
        "one may be half or six times as large (on 10: 0.7 to 1.8 times).",
        "n: seeds for a paired t test; of a claim with ≈, to reach the nearer end of its",
        "margin, which holds only at the paper's scale. runs: one fine-tuning each.",
        f"hours: {cost.unit}, {cost.hours:.2g} a run:",
        f"  {cost.source}",
        *left_out_line(known.rows),
    ])  # fmt: skip


def noise_and_seeds(known: Evidence, claim: Claim, power: float) -> tuple[float | None, int, str]:
    """Return the noise of a claim's difference, the seeds that the claim needs, and where the noise is from."""
    found = compare(known.runs[claim.more], known.runs[claim.less])
    measured = found.std if found.seeds >= MEASURED_FROM else None
    std = published_noise(known.score.name) if measured is None else measured
    source = "paper" if measured is None else f"n={found.seeds}"
    return std, 0 if std is None else seeds_needed(effect_to_detect(known.gap(claim), claim.margin), std, power), source
