"""What a table of scores can decide: pure functions of the pre-training seeds and the fine-tuning trials of each.

Intervals are two-sided at 95 %. Below `BOOTSTRAP_FROM` seeds they are Student's t on the seeds' means, which is exact
for normal scores; from there on the hierarchical bootstrap (seeds, then trials within each), studentised. A percentile
bootstrap of so few seeds covers far too little: 86 % at 6, 91 % at 10. tests/test_statistics.py measures ours.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05  # two-sided
BOOTSTRAP_FROM = 10  # seeds with different means
RESAMPLES = 2000  # of the bootstrap
EXACT_UP_TO = 16384  # sign patterns; of more, so many are drawn

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
    """One row minus another, over the seeds that both have; None stands for what n does not allow."""

    seeds: int  # shared
    difference: float | None  # mean over the seeds
    std: float | None  # of the seeds' differences, from 2 seeds on
    interval: Interval | None  # of the difference, from 2 seeds on
    p: float | None  # two-sided, of the test that the interval is of, from 2 seeds on
    holm: float | None  # p adjusted by Holm for all that is compared or claimed together
    sign_p: float | None  # of a two-sided sign-flip permutation test, from 2 seeds on
    min_p: float | None  # the least that sign_p can be with so many seeds
    better: float | None  # P(A > B) of any two runs; ties count half


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
    if many(means):
        low, high = np.percentile(pivots(frozen(scores)), [100 * ALPHA / 2, 100 * (1 - ALPHA / 2)])
    else:
        high = stats.t.ppf(1 - ALPHA / 2, len(means) - 1)
        low = -high
    centre, error = float(means.mean()), standard_error(means)
    return Interval(centre - float(high) * error, centre - float(low) * error)


def many(means: Floats) -> bool:
    """Return whether there are enough seeds for the bootstrap."""
    return len(np.unique(means)) >= BOOTSTRAP_FROM


def standard_error(means: Floats) -> float:
    """Return the standard error of the mean of 2 or more seeds' means."""
    return float(means.std(ddof=1)) / math.sqrt(len(means))


def frozen(scores: Scores) -> tuple[tuple[float, ...], ...]:
    """Return scores as a key of a cache."""
    return tuple(map(tuple, scores))


@lru_cache(maxsize=256)  # the interval and every p are of the same resamples
def pivots(scores: tuple[tuple[float, ...], ...]) -> Floats:
    """Return (mean of a resample − mean) / its standard error for every resample of the hierarchical bootstrap."""
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
                            method="percentile", rng=chance)  # fmt: skip
    drawn: Floats = result.bootstrap_distribution
    return drawn


def p_value(scores: Scores, margin: float | None = None) -> float | None:
    """Return the two-sided p of the test that the interval is of; None with fewer than 2 seeds.

    It tests that the mean is zero. With a margin it tests on which side of it the mean's size lies, by one-sided tests
    at both ends: the mean lies within ± margin if both say so, and outside if one does.
    """
    if len(scores) < 2:
        return None
    if margin is None:
        return min(1.0, 2 * min(tails(scores, 0.0)))
    (low, above), (below, high) = tails(scores, margin), tails(scores, -margin)
    return min(1.0, 2 * min(max(low, high), above, below))


def tails(scores: Scores, mean: float) -> tuple[float, float]:
    """Return the chances of scores as low and as high as these, if this were the true mean.

    Where the interval is the bootstrap's, each is the greater of the bootstrap's and Student's: far out, where Holm's
    adjustment looks, the bootstrap of 10 seeds alone is too bold.
    """
    from scipy import stats

    means = seed_means(scores)
    change, error = float(means.mean()) - mean, standard_error(means)
    if error == 0:
        return float(change >= 0), float(change <= 0)
    low, high = (float(tail(change / error, len(means) - 1)) for tail in (stats.t.cdf, stats.t.sf))
    if many(means):
        drawn = pivots(frozen(scores))
        low = max(low, (1 + int(np.sum(drawn <= change / error))) / (1 + len(drawn)))
        high = max(high, (1 + int(np.sum(drawn >= change / error))) / (1 + len(drawn)))
    return low, high


def paired(ours: Runs, theirs: Runs) -> list[tuple[Sequence[float], Sequence[float]]]:
    """Return the scores of both rows on each seed that both have, by the seeds' order."""
    return [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]


def paired_p(ours: Runs, theirs: Runs, margin: float | None = None) -> float | None:
    """Return the p of `compare` alone, which is a small part of its work."""
    return p_value([differences(first, second) for first, second in paired(ours, theirs)], margin)


def compare(ours: Runs, theirs: Runs, margin: float | None = None) -> Comparison:
    """Return one row minus another, paired by seed; p as in p_value, with its margin."""
    pairs = paired(ours, theirs)
    scores = [differences(first, second) for first, second in pairs]
    total, better = summarise(scores), probability_better(ours.values(), theirs.values())
    if total is None:
        return Comparison(0, None, None, None, None, None, None, None, better)
    flips = sign_flip([float(np.mean(first) - np.mean(second)) for first, second in pairs])
    least = None if flips is None else min_p(total.seeds)
    return Comparison(
        total.seeds, total.mean, total.std, total.interval, p_value(scores, margin), None, flips, least, better
    )  # fmt: skip


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
    """Return every other row minus the baseline, with p adjusted by Holm over the rows that have a p."""
    compared = {label: compare(runs, table[baseline]) for label, runs in table.items() if label != baseline}
    adjusted = holm({label: row.p for label, row in compared.items() if row.p is not None})
    return {label: row._replace(holm=adjusted.get(label)) for label, row in compared.items()}


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """Return each p adjusted by Holm: below 5 % for any true null with a chance of at most 5 % over all of them."""
    adjusted, most = {}, 0.0
    for place, name in enumerate(sorted(ps, key=lambda name: ps[name])):
        most = max(most, min(1.0, (len(ps) - place) * ps[name]))
        adjusted[name] = most
    return adjusted


def pairing(table: Mapping[str, Runs]) -> float | None:
    """Return the variance of a difference of two rows paired by seed, relative to that of independent rows.

    Below 1, pairing helps. Pooled over all pairs of rows, each over the seeds that both have; None where no pair
    shares 2 seeds or nothing varies.
    """
    paired = independent = 0.0
    for ours, theirs in combinations(table.values(), 2):
        shared = sorted(ours.keys() & theirs.keys())
        if len(shared) > 1:
            first, second = (seed_means([row[seed] for seed in shared]) for row in (ours, theirs))
            paired += float(np.var(first - second, ddof=1))
            independent += float(np.var(first, ddof=1) + np.var(second, ddof=1))
    return paired / independent if independent else None


def best(summaries: Mapping[str, Summary | None]) -> str | None:
    """Return the row whose interval lies above all others; None if they overlap or a row with scores has none."""
    known = {label: row for label, row in summaries.items() if row}
    ends = {label: row.interval for label, row in known.items() if row.interval}
    if len(known) < 2 or len(ends) < len(known):
        return None
    first, *rest = sorted(ends, key=lambda label: ends[label].low, reverse=True)
    return first if all(ends[first].low > ends[label].high for label in rest) else None
