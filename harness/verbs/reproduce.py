"""All experiments of some tables, one after the other: what is finished is skipped, what is not goes on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.engine.run import finished, run
from harness.experiment import Experiment, build, words
from harness.tables import named

if TYPE_CHECKING:
    from harness.engine.machine import Machine


def plan(names: Sequence[str], extra: Sequence[str], seed: int, trials: int) -> dict[str, list[Experiment]]:
    """Words of `harness run` → its trials, for every row of the tables, each once; UnknownName for no table."""
    more = [*extra, *(["--seed", str(seed)] if seed else []), *(["--trials", str(trials)] if trials != 1 else [])]
    found: dict[str, list[Experiment]] = {}
    for name in names:
        for line in (*named(name).rows.values(), *named(name).controls.values()):
            full = shlex.join([*shlex.split(line), *more])
            found[full] = build(words().parse_args(shlex.split(full))).trials(trials)
    return found


def reproduce(experiments: dict[str, list[Experiment]], machine: Machine, results: Path, cache: Path) -> None:
    """Run what no record holds yet and say after each what is left; Ctrl-C loses nothing."""
    every = [(line, one) for line, trials in experiments.items() for one in trials]
    missing = [(line, one) for line, one in every if not finished(one, results)]
    done, took = len(every) - len(missing), 0.0
    print(f"{len(every)} runs, {done} of them run already", flush=True)
    for number, (line, experiment) in enumerate(missing, start=1):
        trial = f", trial {experiment.trial}" if experiment.trial else ""
        print(f"\n[{done + number}/{len(every)}] harness run {line}{trial}", flush=True)
        start = time.monotonic()
        record = run(experiment, machine, results, cache)
        took += time.monotonic() - start
        left = took / number * (len(missing) - number)
        print("  ".join(f"{name} {score:.2f}" for name, score in (record.scores or {}).items()))
        print(f"{record.id}: {minutes(time.monotonic() - start)}, all about {minutes(left)} more", flush=True)


def minutes(seconds: float) -> str:
    """A time in minutes and seconds."""
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
