"""What the runs say about a claim, and how many seeds would say it: functions of one comparison.

A claim is decided if its difference holds after Holm's adjustment over all claims that are judged together, by the
test that the interval is of, from `LEAST_SEEDS` seeds on. tests/test_statistics.py measures on simulated studies in
which nothing differs how many get a wrong verdict.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.evidence.statistics import ALPHA, Comparison

LEAST_SEEDS = 5  # below, nothing is decided
MEASURED_FROM = 3  # shared seeds from which on their own spread is used instead of the published one
NORMAL_FROM = 1000  # seeds from which on Student's t is close to the normal distribution
SCALE = "the margin holds only at the paper's scale"
DECIDED = "reproduced", "same direction", "contradicted"


class Verdict(NamedTuple):
    """What the runs say about one claim."""

    word: str  # reproduced, same direction, inconclusive, contradicted, not run or not judged
    why: str = ""

    def __str__(self) -> str:
        return f"{self.word} ({self.why})" if self.why else self.word


class Aim(NamedTuple):
    """What a claim is tested with: the noise of a difference, the power, and how many claims are judged together."""

    published: float | None  # standard deviation of a difference, used where too few seeds measure it
    power: float
    claims: int = 1

    def noise(self, found: Comparison) -> float | None:
        """Return the standard deviation of the differences; None where it is neither measured nor published."""
        return found.std if found.std is not None and found.seeds >= MEASURED_FROM else self.published

    def seeds(self, found: Comparison, difference: float | None, margin: float | None) -> int | None:
        """Return the seeds that decide a claim with this true difference; None for none, a tie, or an unknown noise."""
        noise, left = self.noise(found), 0.0 if difference is None else effect_to_detect(difference, margin)
        if noise is None or left == 0:
            return None
        return max(LEAST_SEEDS, seeds_needed(left, noise, self.power, self.claims))


def verdict(found: Comparison, reported: float | None, margin: float | None, comparable: bool, aim: Aim) -> Verdict:
    """Return the verdict on the claim that a difference is positive or, with a margin, that it is less than that.

    `reported` is the paper's difference, in points of the score like the margin; None where there is none. If our
    scores are not comparable with the paper's, a direction can be confirmed but no difference reproduced, and a margin
    says nothing.
    """
    if found.difference is None:
        return Verdict("not run", "" if found.better is None else "no seed that both rows have")
    if margin is not None and not comparable:
        return Verdict("inconclusive", SCALE)
    if found.seeds < LEAST_SEEDS or found.interval is None or found.holm is None or found.holm >= ALPHA:
        return Verdict("inconclusive", needed(found, reported, margin, aim))
    if margin is not None:
        return Verdict("reproduced" if abs(found.difference) < margin else "contradicted")
    where = "" if comparable else "at this scale"
    if found.difference < 0:
        return Verdict("contradicted", where)
    reached = comparable and reported is not None and found.interval.low <= reported <= found.interval.high
    return Verdict("reproduced" if reached else "same direction", where)


def needed(found: Comparison, reported: float | None, margin: float | None, aim: Aim) -> str:
    """Return the n that decides if the difference is the paper's, unless so many are here, and if it is as seen."""
    assert found.difference is not None
    few = f"fewer than {LEAST_SEEDS} seeds decide nothing; n needed: " if found.seeds < LEAST_SEEDS else "n needed: "
    if aim.noise(found) is None:
        return f"{few}{LEAST_SEEDS} or more"
    paper, seen = aim.seeds(found, reported, margin), aim.seeds(found, found.difference, margin)
    texts = [f"{paper:,} for the paper's difference"] if paper is not None and paper > found.seeds else []
    texts.append("no number for a tie" if seen is None else f"{max(seen, found.seeds + 1):,} for the one seen")
    return few + ", ".join(texts)


def effect_to_detect(difference: float, margin: float | None) -> float:
    """Return the effect size to detect: the difference itself, or its distance to the nearer end of ± margin."""
    return abs(difference) if margin is None else abs(margin - abs(difference))


def seeds_needed(difference: float, std: float, power: float, claims: int = 1) -> int:
    """Return the seeds at which a paired t test at 5 % detects a difference with this power.

    `std` is that of the seeds' differences. The 5 % are shared by all claims that are judged together.
    """
    from scipy import stats
    from statsmodels.stats.power import TTestPower

    if not 0 < power < 1:
        raise ValueError(f"power {power:g}: more than 0 and less than 1 was expected")
    if std == 0:
        return 2
    size, level = difference / std, ALPHA / max(1, claims)
    seeds: int = max(2, math.ceil(((stats.norm.ppf(1 - level / 2) + stats.norm.ppf(power)) / size) ** 2))
    while (
        seeds < NORMAL_FROM and TTestPower().power(size, seeds, level) < power
    ):  # it is nan beyond 1 − 10⁻⁹, which ends the loop
        seeds += 1
    return seeds
