"""What a table of scores can decide: pure functions of the pre-training seeds and the fine-tuning trials of each.

Intervals are two-sided at 95 %. Below `BOOTSTRAP_FROM` seeds they are Student's t on the seeds' means, which is exact
for normal scores; from there on the hierarchical bootstrap (seeds, then trials within each), studentised. A percentile
bootstrap of so few seeds covers far too little: 86 % at 6, 91 % at 10. tests/test_statistics.py measures ours.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05  # two-sided
BOOTSTRAP_FROM = 10  # seeds with different means
RESAMPLES = 2000  # of the bootstrap
EXACT_UP_TO = 16384  # sign patterns; of more, so many are drawn
NORMAL_FROM = 1000  # seeds from which on Student's t is close to the normal distribution

Floats = NDArray[np.float64]
Scores = Sequence[Sequence[float]]  # seeds × trials; a seed may have fewer trials than another
Runs = Mapping[int, Sequence[float]]  # pre-training seed → its trials


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class Summary(NamedTuple):
    """The scores of one row, summarised; None stands for what n does not allow."""

    mean: float  # of the seeds' means
    seeds: int
    trials: tuple[int, int]  # fewest and most per seed
    std: float | None  # of the seeds' means, from 2 seeds on
    trial_std: float | None  # within a seed, pooled over the seeds, from 2 trials of one seed on
    interval: Interval | None  # of the mean, from 2 seeds on


class Comparison(NamedTuple):
    """One row less another, over the seeds that both have; None stands for what n does not allow."""

    seeds: int  # shared
    difference: float | None  # mean over the seeds
    std: float | None  # of the seeds' differences, from 2 seeds on
    interval: Interval | None  # of the difference, from 2 seeds on
    p: float | None  # of a two-sided sign-flip permutation test, from 2 seeds on
    min_p: float | None  # the least that p can be with so many seeds
    holm: float | None  # p adjusted by Holm for all rows compared
    better: float | None  # P(A > B) of any two runs; ties count half


class Verdict(NamedTuple):
    """What the runs say about one claim."""

    word: str  # reproduced, same direction, inconclusive, contradicted or not run
    why: str = ""

    def __str__(self) -> str:
        return f"{self.word} ({self.why})" if self.why else self.word


def summarise(scores: Scores) -> Summary | None:
    """Return mean, spread and interval of one row; None without a seed."""
    if not scores:
        return None
    means, counts = seed_means(scores), [len(trials) for trials in scores]
    extra = sum(counts) - len(counts)
    within = sum(float(np.var(trials)) * len(trials) for trials in scores)
    return Summary(
        float(means.mean()),
        len(scores),
        (min(counts), max(counts)),
        float(means.std(ddof=1)) if len(scores) > 1 else None,
        math.sqrt(within / extra) if extra else None,
        interval(scores),
    )


def seed_means(scores: Scores) -> Floats:
    """Return each seed's mean over its trials: [seeds]."""
    return np.array([np.mean(trials) for trials in scores])


def interval(scores: Scores) -> Interval | None:
    """Return the interval of the mean over the seeds; None with fewer than 2 seeds, which show no spread."""
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
    """Return the quantiles of (mean of a resample − mean) / its standard error, in the hierarchical bootstrap."""
    from scipy import stats

    chance, counts = np.random.default_rng(0), np.array([len(trials) for trials in scores])
    padded = np.array([[*trials, *[0.0] * (counts.max() - len(trials))] for trials in scores])
    taken = np.arange(counts.max()) < counts[:, None]  # [seeds, trials]
    centre = seed_means(scores).mean()

    def pivot(seeds: NDArray[np.int64], axis: int) -> Floats:
        """Return the pivot of resampled seeds [..., seeds]; the trials of each seed are resampled too."""
        trials = (chance.random((*seeds.shape, counts.max())) * counts[seeds][..., None]).astype(int)
        drawn = padded[seeds[..., None], trials] * taken[seeds]
        means: Floats = drawn.sum(-1) / counts[seeds]
        pivots: Floats = (means.mean(axis) - centre) / (means.std(axis, ddof=1) / math.sqrt(len(scores)))
        return pivots

    result = stats.bootstrap((np.arange(len(scores)),), pivot, n_resamples=RESAMPLES, batch=RESAMPLES, vectorized=True,
                            confidence_level=1 - ALPHA, method="percentile", rng=chance)  # fmt: skip
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def compare(ours: Runs, theirs: Runs) -> Comparison:
    """Return one row less another, paired by seed."""
    shared = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    gap = summarise([differences(first, second) for first, second in shared])
    better = probability_better(ours.values(), theirs.values())
    if gap is None:
        return Comparison(0, None, None, None, None, None, None, better)
    p = sign_flip([float(np.mean(first) - np.mean(second)) for first, second in shared])
    least = None if p is None else min_p(gap.seeds)
    return Comparison(gap.seeds, gap.mean, gap.std, gap.interval, p, least, None, better)


def differences(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the differences within one seed: trial by trial if both have as many, else only that of the means."""
    if len(ours) == len(theirs):
        return [first - second for first, second in zip(ours, theirs, strict=True)]
    return [float(np.mean(ours) - np.mean(theirs))]


def sign_flip(changes: Sequence[float]) -> float | None:
    """Return the two-sided p of a mean of which each seed's difference has a random sign; None below 2 seeds."""
    from scipy import stats

    if len(changes) < 2:
        return None
    test = stats.permutation_test((np.array(changes),), lambda drawn, axis: drawn.mean(axis), vectorized=True,
        permutation_type="samples", n_resamples=EXACT_UP_TO, rng=np.random.default_rng(0))  # fmt: skip
    return float(test.pvalue)


def min_p(seeds: int) -> float:
    """Return the least two-sided p of sign flips: that of 2 in all 2^n patterns, or in all that are drawn."""
    return 2 / 2**seeds if 2**seeds <= EXACT_UP_TO else 2 / (EXACT_UP_TO + 1)


def probability_better(ours: Collection[Sequence[float]], theirs: Collection[Sequence[float]]) -> float | None:
    """Return P(A > B): the share of all pairs of a run of A and one of B that A wins; ties count half."""
    from scipy import stats

    first, second = ([score for trials in row for score in trials] for row in (ours, theirs))
    if not first or not second:
        return None
    return float(stats.mannwhitneyu(first, second, method="asymptotic").statistic) / (len(first) * len(second))


def against(table: Mapping[str, Runs], baseline: str) -> dict[str, Comparison]:
    """Return every other row less the baseline, with p adjusted by Holm over the rows that have a p."""
    from statsmodels.stats.multitest import multipletests

    compared = {label: compare(runs, table[baseline]) for label, runs in table.items() if label != baseline}
    tested = {label: row.p for label, row in compared.items() if row.p is not None}
    if tested:
        for label, adjusted in zip(tested, multipletests(list(tested.values()), method="holm")[1], strict=True):
            compared[label] = compared[label]._replace(holm=float(adjusted))
    return compared


def best(summaries: Mapping[str, Summary | None]) -> str | None:
    """Return the row whose interval lies above all others; None if they overlap or a row with scores has none."""
    known = {label: row for label, row in summaries.items() if row}
    ends = {label: row.interval for label, row in known.items() if row.interval}
    if len(known) < 2 or len(ends) < len(known):
        return None
    first, *rest = sorted(ends, key=lambda label: ends[label].low, reverse=True)
    return first if all(ends[first].low > ends[label].high for label in rest) else None


def seeds_needed(gap: float, std: float, power: float) -> int:
    """Return the seeds at which a paired t test at 5 % detects a gap with this power; std: of their differences."""
    from scipy import stats
    from statsmodels.stats.power import TTestPower

    if not 0 < power < 1:
        raise ValueError(f"power {power:g}: more than 0 and less than 1 was expected")
    if std == 0:
        return 2
    size = gap / std
    seeds: int = max(2, math.ceil(((stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(power)) / size) ** 2))
    while (
        seeds < NORMAL_FROM and TTestPower().power(size, seeds, ALPHA) < power
    ):  # it is nan beyond 1 − 10⁻⁹, which ends the loop
        seeds += 1
    return seeds


def verdict(
    found: Comparison, gap: float, margin: float | None, comparable: bool, std: float | None, power: float
) -> Verdict:
    """Return the verdict on the claim that a gap is positive or, with a margin, that two rows differ by less than it.

    Gap and margin are in points of the score. If our scores are not comparable with the paper's, a direction can be
    confirmed but no gap reproduced, and a margin says nothing. `std` is the published standard deviation of a
    difference, used where too few seeds have measured one; None if there is none.
    """
    if found.difference is None:
        return Verdict("not run", "" if found.better is None else "no seed that both rows have")
    if margin is not None and not comparable:
        return Verdict("inconclusive", "the margin holds only at the paper's scale")
    if found.std is None or found.interval is None:
        count = "2 or more" if std is None else f"{seeds_needed(effect_to_detect(gap, margin), std, power):,}"
        return Verdict("inconclusive", f"n needed: {count}")
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


def effect_to_detect(gap: float, margin: float | None) -> float:
    """Return the effect size to detect: the gap itself, or its distance to the nearer end of ± margin."""
    return abs(gap) if margin is None else abs(margin - abs(gap))


def needed(found: Comparison, gap: float, margin: float | None, noise: float, power: float) -> str:
    """Return the n that decides if the gap is the paper's; with so many seeds already here, if it is as measured."""
    assert found.difference is not None
    seeds = seeds_needed(effect_to_detect(gap, margin), noise, power)
    if seeds > found.seeds:
        return f"n needed: {seeds:,}"
    left = effect_to_detect(found.difference, margin)
    if left == 0:
        return "n needed: no number decides a tie"
    return f"n needed: {max(seeds_needed(left, noise, power), found.seeds + 1):,} at so small a difference"
