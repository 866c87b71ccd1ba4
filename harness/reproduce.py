"""All experiments of some tables, one after the other: what is finished is skipped, what is not goes on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.experiment import Experiment, build, finished, run, words
from harness.tables import named

if TYPE_CHECKING:
    from harness.pretrain import Machine


def plan(names: Sequence[str], extra: Sequence[str], seed: int) -> dict[str, Experiment]:
    """Words of `harness run` → experiment, of every row of the tables, each experiment once; UnknownName for none."""
    found: dict[str, Experiment] = {}
    for name in names:
        for line in (*named(name).rows.values(), *named(name).controls.values()):
            full = shlex.join([*shlex.split(line), *extra, *(["--seed", str(seed)] if seed else [])])
            found[full] = build(words().parse_args(shlex.split(full)))
    return found


def reproduce(experiments: dict[str, Experiment], machine: Machine, results: Path, cache: Path) -> None:
    """Run what no record holds yet and say after each what is left; Ctrl-C loses nothing."""
    missing = {line: one for line, one in experiments.items() if not finished(one, results)}
    done, took = len(experiments) - len(missing), 0.0
    print(f"{len(experiments)} experiments, {done} of them run already", flush=True)
    for number, (line, experiment) in enumerate(missing.items(), start=1):
        print(f"\n[{done + number}/{len(experiments)}] harness run {line}", flush=True)
        start = time.monotonic()
        record = run(experiment, machine, results, cache)
        took += time.monotonic() - start
        left = took / number * (len(missing) - number)
        print("  ".join(f"{name} {score:.2f}" for name, score in (record.scores or {}).items()))
        print(f"{record.id}: {minutes(time.monotonic() - start)}, all about {minutes(left)} more", flush=True)


def minutes(seconds: float) -> str:
    """A time in minutes and seconds."""
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
