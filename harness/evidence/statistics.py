"""What a table of scores can decide; pure functions of pre-training seeds and the fine-tuning trials of each backbone.

Intervals are two-sided at 95 %. Below `BOOTSTRAP_FROM` seeds they are Student's t on the seeds' means, which is exact
for normal scores; from there on the hierarchical bootstrap (seeds, then trials within each), studentised. A percentile
bootstrap of so few seeds covers far too little: 86 % at 6, 91 % at 10. tests/test_statistics.py measures ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05  # two-sided
BOOTSTRAP_FROM = 10  # seeds with different means
RESAMPLES = 2000  # of the bootstrap
EXACT_UP_TO = 16384  # sign patterns that are all tried; of more, as many are drawn
NORMAL_FROM = 1000  # seeds from which Student's t is the normal distribution

Scores = Sequence[Sequence[float]]  # seeds × trials; the trials of a seed may be fewer than another's
Runs = Mapping[int, Sequence[float]]  # pre-training seed → its trials


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class Cell(NamedTuple):
    """One row's scores; what n does not allow is None."""

    mean: float  # of the seeds' means
    seeds: int
    trials: tuple[int, int]  # fewest and most of a seed
    std: float | None  # of the seeds' means, from 2 seeds
    trial_std: float | None  # within a seed, pooled, from 2 trials of one
    interval: Interval | None  # of the mean, from 2 seeds


class Comparison(NamedTuple):
    """A row less another over the seeds that both have; what n does not allow is None."""

    seeds: int  # shared
    difference: float | None  # mean over the seeds
    std: float | None  # of the seeds' differences, from 2 seeds
    interval: Interval | None  # of the difference, from 2 seeds
    p: float | None  # two-sided sign-flip permutation, from 2 seeds
    floor: float | None  # the least that p can be
    holm: float | None  # p adjusted for all rows compared
    better: float | None  # P(A > B) of any two runs, ties half


class Verdict(NamedTuple):
    """What the evidence says about one claim."""

    word: str  # reproduced, same direction, inconclusive, contradicted or not run
    why: str = ""

    def __str__(self) -> str:
        return f"{self.word} ({self.why})" if self.why else self.word


def cell(scores: Scores) -> Cell | None:
    """Mean, spread and interval of one row; None without a seed."""
    if not scores:
        return None
    means, counts = seed_means(scores), [len(trials) for trials in scores]
    extra = sum(counts) - len(counts)
    within = sum(float(np.var(trials)) * len(trials) for trials in scores)
    return Cell(
        float(means.mean()),
        len(scores),
        (min(counts), max(counts)),
        float(means.std(ddof=1)) if len(scores) > 1 else None,
        math.sqrt(within / extra) if extra else None,
        interval(scores),
    )


def seed_means(scores: Scores) -> NDArray[Any]:
    """[seeds]: each seed's mean over its trials."""
    return np.array([np.mean(trials) for trials in scores])


def interval(scores: Scores) -> Interval | None:
    """Of the mean over the seeds; None with fewer than 2 seeds, which show no spread."""
    from scipy import stats

    if len(scores) < 2:
        return None
    means = seed_means(scores)
    if len(np.unique(means)) >= BOOTSTRAP_FROM:
        low, high = pivots(scores)
    else:
        high = float(stats.t.ppf(1 - ALPHA / 2, len(means) - 1))
        low = -high
    centre, error = float(means.mean()), float(means.std(ddof=1)) / math.sqrt(len(means))
    return Interval(centre - high * error, centre - low * error)


def pivots(scores: Scores) -> tuple[float, float]:
    """The ends of (mean of a resample − mean) / standard error of the resample, in the hierarchical bootstrap."""
    from scipy import stats

    chance, counts = np.random.default_rng(0), np.array([len(trials) for trials in scores])
    padded = np.array([[*trials, *[0.0] * (counts.max() - len(trials))] for trials in scores])
    taken = np.arange(counts.max()) < counts[:, None]  # [seeds, trials]
    centre = seed_means(scores).mean()

    def pivot(seeds: NDArray[Any], axis: int) -> NDArray[Any]:
        """[…, seeds] drawn → […]; each seed's trials are drawn anew."""
        trials = (chance.random((*seeds.shape, counts.max())) * counts[seeds][..., None]).astype(int)
        drawn = padded[seeds[..., None], trials] * taken[seeds]
        means: NDArray[Any] = drawn.sum(-1) / counts[seeds]
        found: NDArray[Any] = (means.mean(axis) - centre) / (means.std(axis, ddof=1) / math.sqrt(len(scores)))
        return found

    found = stats.bootstrap((np.arange(len(scores)),), pivot, n_resamples=RESAMPLES, batch=RESAMPLES, vectorized=True,
                            confidence_level=1 - ALPHA, method="percentile", rng=chance)  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def compare(ours: Runs, theirs: Runs) -> Comparison:
    """One row less another, paired by seed."""
    shared = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    found = cell([differences(one, other) for one, other in shared])
    better = probability_better(ours.values(), theirs.values())
    if found is None:
        return Comparison(0, None, None, None, None, None, None, better)
    p = sign_flip([float(np.mean(one) - np.mean(other)) for one, other in shared])
    return Comparison(
        found.seeds, found.mean, found.std, found.interval, p, None if p is None else floor(found.seeds), None, better
    )


def differences(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Of one seed: trial by trial where both have as many, else of the means alone."""
    if len(ours) == len(theirs):
        return [one - other for one, other in zip(ours, theirs, strict=True)]
    return [float(np.mean(ours) - np.mean(theirs))]


def sign_flip(changes: Sequence[float]) -> float | None:
    """Two-sided p of the mean if every seed's difference might as well have the other sign; None below 2 seeds."""
    from scipy import stats

    if len(changes) < 2:
        return None
    test = stats.permutation_test((np.array(changes),), lambda drawn, axis: drawn.mean(axis), vectorized=True,
        permutation_type="samples", n_resamples=EXACT_UP_TO, rng=np.random.default_rng(0))  # fmt: skip
    return float(test.pvalue)


def floor(seeds: int) -> float:
    """The least two-sided p of sign flips: 2 of 2^n patterns, or what the drawn ones allow."""
    return 2 / 2**seeds if 2**seeds <= EXACT_UP_TO else 2 / (EXACT_UP_TO + 1)


def probability_better(ours: Any, theirs: Any) -> float | None:
    """P(A > B): the share of pairs of runs, one of each row and whatever their seeds, that A wins; ties count half."""
    from scipy import stats

    one, other = ([score for trials in row for score in trials] for row in (ours, theirs))
    if not one or not other:
        return None
    return float(stats.mannwhitneyu(one, other, method="asymptotic").statistic) / (len(one) * len(other))


def against(table: Mapping[str, Runs], baseline: str) -> dict[str, Comparison]:
    """Every other row against the baseline, p adjusted by Holm over those that have one."""
    from statsmodels.stats.multitest import multipletests

    found = {label: compare(runs, table[baseline]) for label, runs in table.items() if label != baseline}
    tested = {label: one.p for label, one in found.items() if one.p is not None}
    if tested:
        for label, adjusted in zip(tested, multipletests(list(tested.values()), method="holm")[1], strict=True):
            found[label] = found[label]._replace(holm=float(adjusted))
    return found


def best(cells: Mapping[str, Cell | None]) -> str | None:
    """The row whose interval lies above every other's; None where they overlap or any row with scores has none."""
    known = {label: one for label, one in cells.items() if one}
    ends = {label: one.interval for label, one in known.items() if one.interval}
    if len(known) < 2 or len(ends) < len(known):
        return None
    first, *rest = sorted(ends, key=lambda label: ends[label].low, reverse=True)
    return first if all(ends[first].low > ends[label].high for label in rest) else None


def seeds_needed(gap: float, std: float, power: float) -> int:
    """Seeds at which a paired t test at 5 % finds a gap with that power; std is of the seeds' differences."""
    from scipy import stats
    from statsmodels.stats.power import TTestPower

    if not 0 < power < 1:
        raise ValueError(f"power {power:g}: more than 0 and less than 1 was expected")
    if std == 0:
        return 2
    size = gap / std
    seeds: int = max(2, math.ceil(((stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(power)) / size) ** 2))
    while seeds < NORMAL_FROM and TTestPower().power(size, seeds, ALPHA) < power:  # not a number: beyond 1 − 10⁻⁹
        seeds += 1
    return seeds


def verdict(
    found: Comparison, gap: float, margin: float | None, comparable: bool, std: float | None, power: float
) -> Verdict:
    """On the claim of a positive gap, or with a margin that the rows differ by less than it.

    Both are in points of the score. Where our scores are not comparable with the paper's, a direction can be the same,
    a gap not reproduced, and a margin says nothing. `std` is the differences' where too few seeds have measured it;
    None where nobody has.
    """
    if found.difference is None:
        return Verdict("not run", "" if found.better is None else "no seed that both rows have")
    if margin is not None and not comparable:
        return Verdict("inconclusive", "the margin is of the paper's scale")
    if found.std is None or found.interval is None:
        told = "2 will tell more" if std is None else f"{seeds_needed(room(gap, margin), std, power):,}"
        return Verdict("inconclusive", f"n needed: {told}")
    (low, high), where = found.interval, "" if comparable else "at this scale"
    if margin is not None:
        if -margin < low and high < margin:
            return Verdict("reproduced")
        if low >= margin or high <= -margin:
            return Verdict("contradicted")
    elif low > 0:
        return Verdict("reproduced" if comparable and low <= gap <= high else "same direction", where)
    elif high < 0:
        return Verdict("contradicted", where)
    return Verdict("inconclusive", needed(found, gap, margin, found.std, power))


def room(gap: float, margin: float | None) -> float:
    """What must be told from zero: an order's gap, or how far a gap lies from the nearer end of ± margin."""
    return abs(gap) if margin is None else abs(margin - abs(gap))


def needed(found: Comparison, gap: float, margin: float | None, noise: float, power: float) -> str:
    """The n that decides at the claim's gap; where that many seeds are here, at the smaller one that they show."""
    assert found.difference is not None
    seeds = seeds_needed(room(gap, margin), noise, power)
    if seeds > found.seeds:
        return f"n needed: {seeds:,}"
    left = room(found.difference, margin)
    if left == 0:
        return "n needed: none tells a tie apart"
    return f"n needed: {max(seeds_needed(left, noise, power), found.seeds + 1):,} at so small a difference"
