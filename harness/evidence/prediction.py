"""Which score predicts another one over all backbones, such as a probe in seconds the AP of a fine-tuned detector."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.evidence.render import layout
from harness.evidence.rows import Row, benchmark_name, fault
from harness.evidence.statistics import ALPHA, Floats, Interval
from harness.experiment import parse
from harness.records import Record
from harness.settings import Json, digest
from harness.tables import Column, named

RESAMPLES = 1000
LEAST_BACKBONES = 6  # fewer say nothing of an order
HEADS = "backbones", "settings", "Kendall's τ", "95 % interval"
NOTE = (
    "τ: 1 where both scores order all backbones alike, 0 where the orders have nothing in common. Over all recorded "
    f"backbones, from {LEAST_BACKBONES} on; interval: bootstrap over the settings of the pre-trainings, and over the "
    "seeds of each."
)


class Prediction(NamedTuple):
    """How one score orders backbones as another does."""

    score: Column
    backbones: int  # that have both scores
    settings: int  # that these were pre-trained with
    tau: (
        float | None
    )  # Kendall's τ-b: 1 the same order, 0 none in common, −1 the opposite; None: too few backbones, or all alike
    interval: Interval | None  # of the bootstrap over settings, and over the seeds of each


Backbones = dict[str, dict[int, dict[str, float]]]  # settings of the pre-training → seed → score → mean of its trials


def backbones(rows: Sequence[Row], columns: Sequence[Column], known: Sequence[Record]) -> Backbones:
    """Return the scores of every backbone that a table's benchmarks have scored, whether a row is of it or not.

    So pre-trainings of other lengths or rates count too, as long as the benchmarks' own settings are the table's.
    """
    lines = next((row.lines for row in rows if not row.missing), [])
    wanted = {experiment.benchmark.name: (experiment.settings["benchmark"], experiment.settings["benchmark_data"],
              experiment.benchmark.score_range) for experiment in map(parse, lines)}  # fmt: skip
    values: dict[str, dict[int, dict[str, list[float]]]] = {}
    for run in known:
        benchmark, data, score_range = wanted.get(benchmark_name(run), (None, None, None))
        if benchmark is None or (run.settings["benchmark"], run.settings.get("benchmark_data")) != (benchmark, data):
            continue
        if fault(run, score_range) is None:
            seeds = values.setdefault(digest(pretraining(run)), {}).setdefault(run.settings["seed"], {})
            for column in columns:
                if column.benchmark == benchmark_name(run) and column.name in (run.scores or {}):
                    seeds.setdefault(column.key, []).append((run.scores or {})[column.name])
    return {name: {seed: {key: float(np.mean(trials)) for key, trials in scores.items()}
            for seed, scores in seeds.items()} for name, seeds in values.items()}  # fmt: skip


def pretraining(run: Record) -> Json:
    """Return what a record says of its pre-training, without the seed."""
    others = ("benchmark", "benchmark_data", "seed", "trial")
    return {name: value for name, value in run.settings.items() if name not in others}


def predictions(name: str, rows: Sequence[Row], known: Sequence[Record]) -> list[Prediction]:
    """Return how each score of a table predicts the one that it names as its target; none without a target."""
    table = named(name)
    columns = [column for column in table.columns if column.benchmark]
    found = backbones(rows, columns, known) if table.target else {}
    return [predict(column, table.target, found) for column in columns if table.target not in ("", column.key)]


def predict(score: Column, target: str, found: Backbones) -> Prediction:
    """Return how a score orders the backbones that have both it and the target."""
    groups = [[(scores[score.key], scores[target]) for scores in seeds.values() if {score.key, target} <= scores.keys()]
              for seeds in found.values()]  # fmt: skip
    pairs = [np.array(group) for group in groups if group]
    count = sum(map(len, pairs))
    if count < LEAST_BACKBONES or any(len({*scores}) < 2 for scores in np.concatenate(pairs).T):
        return Prediction(score, count, len(pairs), None, None)
    chance = np.random.default_rng(0)
    drawn = [tau(resample(pairs, chance)) for _ in range(RESAMPLES)]
    whole, ends = tau(np.concatenate(pairs)), np.nanpercentile(drawn, [100 * ALPHA / 2, 100 * (1 - ALPHA / 2)])
    return Prediction(score, count, len(pairs), whole, Interval(*map(float, ends)))


def resample(pairs: Sequence[Floats], chance: np.random.Generator) -> Floats:
    """Return as many settings, drawn with replacement, and of each as many of its seeds: [backbones, 2]."""
    drawn = [pairs[at] for at in chance.integers(len(pairs), size=len(pairs))]
    return np.concatenate([group[chance.integers(len(group), size=len(group))] for group in drawn])


def tau(pairs: Floats) -> float:
    """Return Kendall's τ-b of two scores [backbones, 2]; nan where one of them does not vary."""
    from scipy import stats

    return float(stats.kendalltau(*pairs.T).statistic)


def prediction_texts(each: Prediction) -> list[str]:
    """Return the numbers of a prediction as text, one for each of HEADS; dashes stand for what is not known."""
    known = ["–", "–"]
    if each.tau is not None and each.interval is not None:
        known = [f"{each.tau:+.2f}", f"[{each.interval.low:+.2f}, {each.interval.high:+.2f}]"]
    return [str(each.backbones), str(each.settings), *known]


def prediction_lines(name: str, found: Sequence[Prediction], style: str) -> list[str]:
    """Return, as text or md, how each score of a table predicts its target."""
    (target,) = (column for column in named(name).columns if column.key == named(name).target)
    texts = [[each.score.heading, *prediction_texts(each)] for each in found]
    return [
        f"which score predicts {target.heading}:",
        "",
        layout(["", *HEADS], texts, style),
        "",
        *textwrap.wrap(NOTE, 80),
    ]
