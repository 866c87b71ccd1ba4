"""Simulated studies of Tables A1 and A2 in which no row differs: python -m tests.studies [STUDIES].

Prints the share of studies in which any of the seven directed claims gets a wrong verdict by any score.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np

from harness.evidence import claims, statistics, verdicts
from harness.evidence.claims import judged_with
from harness.evidence.rows import Row
from harness.evidence.verdicts import DECIDED
from harness.records import Record
from harness.tables import SCORES, TABLES

CORRELATION = 0.8  # of the scores of a run
STUDIES = 2000


def null_rows(table: str, seeds: int, chance: np.random.Generator) -> list[Row]:
    """Return the rows of a table with one run a seed, whose scores are normal, correlated and without any effect."""
    noise = np.sqrt(CORRELATION) * chance.normal(size=(len(TABLES[table].rows), seeds, 1))
    noise = noise + np.sqrt(1 - CORRELATION) * chance.normal(size=(*noise.shape[:2], len(SCORES)))
    return [
        Row(label, False, "", TABLES[table].reported[label], tuple(
            Record(Path(f"{label}{seed}"), {"seed": seed, "trial": 0},
                   {score.name: float(value) for score, value in zip(SCORES, scores, strict=True)}, "")
            for seed, scores in enumerate(runs)), None)
        for (label, runs) in zip(TABLES[table].rows, noise, strict=True)
    ]  # fmt: skip


def wrong(seeds: int, chance: np.random.Generator) -> bool:
    """Return whether any claim of one study gets a verdict; what decides nothing is not computed."""
    rows = {table: null_rows(table, seeds, chance) for table in ("A1", "A2")}
    unused = (statistics, "sign_flip"), (statistics, "probability_better"), (verdicts, "needed")
    with ExitStack() as patches:
        for module, name in unused:
            patches.enter_context(mock.patch.object(module, name))
        return any(
            verdict.word in DECIDED
            for table in rows
            for score in SCORES
            for _, verdict in claims.judge(
                claims.evidence(table, score.name, rows[table], "demo", False,
                                {other: rows[other] for other in judged_with(table)})
            ).values()
        )  # fmt: skip


def share_wrong(seeds: int, studies: int) -> float:
    """Return the share of studies with any wrong verdict."""
    chance = np.random.default_rng(seeds)
    return sum(wrong(seeds, chance) for _ in range(studies)) / studies


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES
    for seeds in (3, 5, 8, 10):
        print(f"n = {seeds}: {share_wrong(seeds, count):.1%} of {count:,} studies", flush=True)
