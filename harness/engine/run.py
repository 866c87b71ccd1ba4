"""Making the run of an experiment: its backbone, its benchmark and its record, on one process or on several."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.resuming import files
from harness import records
from harness.engine import distributed, observers, provenance, tensorboard
from harness.engine.backbones import CHECKPOINTS, Origin, forget_other
from harness.engine.images import folder_of

if TYPE_CHECKING:
    from harness.engine.machine import Machine
    from harness.experiment import Experiment


def run(experiment: Experiment, machine: Machine, results: Path, cache: Path) -> records.Record:
    """Pre-train or take over the backbone, benchmark and record; goes on with an unfinished run of the same settings.

    Whatever can be checked is checked before anything is trained. Raises ValueError or OSError with one line.
    """
    named = named_data(experiment)
    origin = experiment.backbone.origin(experiment.seed, results, cache, machine)
    judged = experiment.benchmark.prepare(named, cache)
    folder = results / "runs" / experiment.run_id
    folder.mkdir(parents=True, exist_ok=True)
    records.refuse_links(folder)
    with files.lock(folder / ".lock", f"run {folder.name} is being made by another process"):
        return make(experiment, judged, origin, machine, folder)


def make(experiment: Experiment, judged: Any, origin: Origin, machine: Machine, folder: Path) -> records.Record:
    """Run in a folder that is this process's alone, unless another one has just finished the run."""
    files.sweep(folder, ".*.part")
    if (folder / "scores.json").exists():
        return records.read(folder)
    if forget_other(folder, origin.key):
        print("code or data are not those that this run began with: its pre-training starts again", flush=True)
    facts = {
        "command": ["harness", *map(observers.without_password, sys.argv[1:])],
        "code": provenance.code(),
        "versions": provenance.versions(),
        "machine": {**provenance.device(machine.device), **machine.path, **distributed.facts()},
        **origin.facts,
        "backbone": {"key": origin.key},
        "benchmark_data": {"fingerprint": judged.fingerprint, "summary": judged.summary},
        "remarks": experiment.benchmark.remarks(judged),
    }
    tell(facts["remarks"])

    def work() -> dict[str, float]:
        with account(folder, facts) as seconds:
            with clock(seconds, "pretrain"):
                facts["backbone"] |= origin.write(folder)
            with clock(seconds, "benchmark"):
                if experiment.benchmark.joins:
                    distributed.announce("benchmark", str(folder), str(experiment.tuning_seed))
                found = experiment.benchmark.evaluate(
                    folder / "backbone.pth", judged, folder, experiment.tuning_seed, machine.device
                )
            scores = {name: float(score) for name, score in found.items()}
            facts["doubts"] = experiment.benchmark.doubts(scores, judged, origin.trained)
        if machine.tensorboard:
            tensorboard.finish(folder, scores)
        return scores

    observers.observe(folder, experiment.settings, work, machine.observers)
    files.sweep(folder, CHECKPOINTS)
    tell(f"doubtful: {doubt}" for doubt in facts["doubts"])
    return records.read(folder)


def follow(experiment: Experiment, machine: Machine, results: Path, cache: Path) -> None:
    """What every rank but the first does: its part of what the first one announces, keeping nothing of its own."""
    while job := distributed.hear():
        with tempfile.TemporaryDirectory(prefix="harness-rank-") as scratch:
            if job[0] == "pretrain":
                origin = experiment.backbone.origin(experiment.seed, results, cache, machine)
                if origin.train is None or origin.key != job[1]:
                    raise ValueError(f"rank {distributed.world().rank} has other code or images than the first one")
                origin.train(Path(scratch))
            else:
                judged = experiment.benchmark.prepare(named_data(experiment), cache)
                backbone, seed = Path(job[1], "backbone.pth"), int(job[2])
                experiment.benchmark.evaluate(backbone, judged, Path(scratch), seed, machine.device)


def named_data(experiment: Experiment) -> Path | None:
    """The benchmark's folder, if the user named one; ValueError where it is none."""
    return None if experiment.benchmark_data is None else folder_of(experiment.benchmark_data)


def tell(lines: Iterable[str]) -> None:
    """Print lines at once."""
    for line in lines:
        print(line, flush=True)


def finished(experiment: Experiment, results: Path) -> records.Record | None:
    """Return the finished run of exactly these settings, or None; remove what a kill left beside it.

    A run that an older version recorded in another form has another hash in its name, and is known by its settings.
    """
    folder = results / "runs" / experiment.run_id
    if not (folder / "scores.json").exists():
        settings = json.loads(json.dumps(experiment.settings))
        alike, _ = records.read_all(results, f"{experiment.backbone.name}-s{experiment.seed}-*")
        return next((record for record in alike if record.scores is not None and record.settings == settings), None)
    files.sweep(folder, CHECKPOINTS, ".lock")
    return records.read(folder)


@contextmanager
def account(folder: Path, facts: dict[str, Any]) -> Iterator[dict[str, float]]:
    """Write folder/provenance.json before and after the work; the yielded seconds go on from an earlier try's."""
    file = folder / "provenance.json"
    earlier = records.read_provenance(folder)
    seconds: dict[str, float] = earlier.get("seconds", {})
    facts["backbone"] = earlier.get("backbone", {}) | facts["backbone"]
    try:
        files.write_json(file, {**facts, "seconds": seconds})
        yield seconds
    finally:
        files.write_json(file, {**facts, "seconds": seconds, "peak_memory_mib": provenance.peak_memory()})


@contextmanager
def clock(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add the time that its block takes."""
    start = time.monotonic()
    try:
        yield
    finally:
        seconds[part] = round(seconds.get(part, 0.0) + time.monotonic() - start, 1)
