"""Making the run of an experiment: its backbone, its benchmark and its record, on one process or on several."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.pixels import refuse_undecodable
from benchmarks.sources import benchmark_code, hashes, own_files
from harness import records
from harness.engine import backbones, distributed, identity, observers, provenance, tensorboard
from harness.engine.backbones import BackboneSource
from harness.engine.identity import Code
from harness.engine.images import existing_folder, named_folder, refuse_test_images
from harness.engine.observers import Watch
from harness.experiment import Pretraining
from methods.contract import Misfit

if TYPE_CHECKING:
    from benchmarks import Data
    from harness.engine.machine import Machine
    from harness.experiment import Experiment

FEW = 0.05  # of the images: of a batch of 64 hardly three would train; the strategies here pair in 99 % of them


def run(
    experiment: Experiment, machine: Machine, watch: Watch, results: Path, cache: Path,
    allow_test_images: bool = False, check_images: bool = False,
) -> records.Record:  # fmt: skip
    """Pre-train or reuse the backbone, benchmark it and return the record; resumes an unfinished run of these settings.

    Whatever can be checked is checked before anything is trained. Raises ValueError or OSError with one line.
    allow_test_images: whether the pre-training may see images that the benchmark tests on. check_images: whether every
    image is decoded before anything is trained.
    """
    named_data(experiment)
    source = backbones.source(experiment.backbone, experiment.seed, results, cache, machine, watch.tensorboard)
    data = prepared(experiment, cache)
    learnt = source.images if source.trained else ()
    notes = check(experiment, learnt, source.notes, data, cache, allow_test_images, check_images)
    folder = results / records.RUNS / experiment.run_id
    with records.claim(folder):
        if not records.is_finished(folder):  # by another process meanwhile
            make(experiment, data, source, machine, watch, folder, notes)
        return records.read(folder)


def refuse_folders(experiment: Experiment, cache: Path, planned: bool = False) -> None:
    """Raise ValueError for a folder that is named and does not exist, or is needed and not named; it needs no torch.

    planned: nothing is trained yet, so that the images may be named later.
    """
    named_data(experiment)
    benchmark, training = experiment.benchmark, experiment.backbone
    if isinstance(training, Pretraining) and training.embedded is None:
        needed = training.strategy.trains and not planned
        if needed or training.data is not None:
            named_folder(training.data)
    if benchmark.needs_data and experiment.benchmark_data is None and not planned:
        benchmark.prepare(None, cache)  # which says what it needs


def named_data(experiment: Experiment) -> Path | None:
    """Return the benchmark's folder if the user named one; ValueError if there is none."""
    return None if experiment.benchmark_data is None else existing_folder(experiment.benchmark_data)


def check(
    experiment: Experiment, images: Sequence[Path], told: Sequence[str], data: Data, cache: Path,
    allow_test_images: bool, check_images: bool,
) -> list[str]:  # fmt: skip
    """Return lines on a run's images, those to pre-train on first, and on its data; ValueError for what is refused."""
    benchmark, tested = experiment.benchmark, experiment.benchmark.test_images(data)
    shared = [*told, refuse_test_images(images, tested, allow_test_images, cache)] if images else []
    every = [*images, *benchmark.train_images(data), *tested] if check_images else []
    return [*shared, *([refuse_undecodable(every, cache)] if every else []), *benchmark.notes(data)]


def check_alone(experiment: Experiment, machine: Machine, cache: Path, allow_test_images: bool) -> list[str]:
    """Return what `check` says of all images, where nothing is run."""
    images, told = list[Path](), list[str]()
    if isinstance(training := experiment.backbone, Pretraining) and training.strategy.trains:
        images, told, _ = backbones.learnt_images(training, cache, machine.reduced)
    return check(experiment, images, told, prepared(experiment, cache), cache, allow_test_images, check_images=True)


def prepared(experiment: Experiment, cache: Path) -> Data:
    """Return the benchmark's data, checked."""
    data: Data = experiment.benchmark.prepare(named_data(experiment), cache)
    return data


def make(
    experiment: Experiment, data: Data, source: BackboneSource, machine: Machine, watch: Watch, folder: Path,
    notes: Sequence[str],
) -> None:  # fmt: skip
    """Make the run in a folder that this process has claimed; print and record the notes."""
    begun = records.read_provenance(folder)
    if begun and not backbones.is_of(begun, source.key, source.reference):
        records.discard_backbone(folder)
        print_now("code or data are not those that this run began with: its pre-training starts again")
    records.begin(folder, experiment.settings, **facts(experiment, data, source, machine), notes=[*notes])
    records.keep_code(folder, own_sources(experiment, source))
    print_now(*notes)

    def work() -> dict[str, float]:
        with clock(folder, "pretrain"):
            records.note(folder, backbone=source.write(folder))
        blind = pairing_warnings(folder)
        print_now(*(f"warning: {line}" for line in blind))  # the benchmark may take days
        with clock(folder, "benchmark"):
            scores = evaluate(experiment, data, machine, folder)
        records.note(folder, warnings=[*blind, *experiment.benchmark.warnings(scores, data, source.trained)])
        if watch.tensorboard:
            tensorboard.finish(folder, scores, experiment.benchmark.curve)
        return scores

    try:
        records.finish(folder, observers.observe(folder, experiment.settings, work, watch.observers))
    except KeyboardInterrupt as stop:
        if any((folder / name).exists() for name in (records.CHECKPOINT, records.BACKBONE)):
            stop.add_note(distributed.CONTINUES)
        raise
    except Misfit:
        if not begun:  # nothing was trained: a mended strategy begins anew
            shutil.rmtree(folder)
        raise
    print_now(*(f"warning: {line}" for line in records.read_provenance(folder)["warnings"]))


def pairing_warnings(folder: Path) -> list[str]:
    """Return a line where the strategy paired something in too few images; none where nothing was trained."""
    paired = records.read(folder).gauges().get("matched", 1.0)
    if paired >= FEW:
        return []
    share = f"{100 * paired:.1f} % of the images had a pair in the last epoch"
    return [f"only {share}, so the strategy hardly trained the backbone"]


def facts(experiment: Experiment, data: Data, source: BackboneSource, machine: Machine) -> dict[str, Any]:
    """Return where a run's result comes from, for its record."""
    return {
        "command": ["harness", *map(observers.without_password, sys.argv[1:])],
        "code": {**provenance.code(), **code_of(experiment, source).facts},
        "versions": provenance.versions(),
        "machine": {**provenance.device(machine.device), **machine.facts, **distributed.facts()},
        **source.facts,
        "backbone": {"key": source.key},
        "benchmark_data": {"fingerprint": data.fingerprint, "summary": data.summary},
        "seconds": {},
    }


def own_sources(experiment: Experiment, source: BackboneSource) -> dict[str, Path]:
    """Return name → file of the user's own strategy and benchmark."""
    return {**source.files, **own_files(type(experiment.benchmark))}


def code_of(experiment: Experiment, source: BackboneSource) -> Code:
    """Return by which code the run of an experiment is made now."""
    files = hashes(own_sources(experiment, source))
    return Code(source.reference, benchmark_code(type(experiment.benchmark)), files)


def evaluate(experiment: Experiment, data: Data, machine: Machine, folder: Path) -> dict[str, float]:
    """Return the scores of what the benchmark judges in a run's folder, made on all ranks if it is distributed."""
    seed, weights = experiment.tuning_seed, folder / f"{experiment.benchmark.judges}.pth"
    if experiment.benchmark.distributed:
        distributed.broadcast_job("benchmark", str(weights), str(seed))
    scores = experiment.benchmark.evaluate(weights, data, folder, seed, machine.device)
    return {name: float(score) for name, score in scores.items()}


def worker_loop(experiment: Experiment, machine: Machine, results: Path, cache: Path) -> None:
    """Run each job that rank 0 broadcasts, on a rank > 0, in a folder that is removed afterwards."""
    while job := distributed.receive_job():
        with tempfile.TemporaryDirectory(prefix="harness-rank-") as scratch:
            match job:
                case "pretrain", key, numbers:
                    source = backbones.source(experiment.backbone, experiment.seed, results, cache, machine)
                    same = source.key == key and identity.agree(source.reference, json.loads(numbers))
                    if source.train is None or not same:
                        raise ValueError(f"rank {distributed.world().rank} has other code or images than rank 0")
                    source.train(Path(scratch))
                case "benchmark", weights, seed:
                    data = prepared(experiment, cache)
                    experiment.benchmark.evaluate(Path(weights), data, Path(scratch), int(seed), machine.device)


def print_now(*lines: str) -> None:
    """Print lines at once, also into a pipe."""
    for line in lines:
        print(line, flush=True)


@contextmanager
def clock(folder: Path, part: str) -> Iterator[None]:
    """Note the seconds that a part of a run takes, in all of its tries, and the process's peak memory."""
    start = time.monotonic()
    try:
        yield
    finally:
        before = records.read_provenance(folder).get("seconds", {}).get(part, 0.0)
        seconds = {part: round(before + time.monotonic() - start, 1)}
        records.note(folder, seconds=seconds, peak_memory_mib=provenance.peak_memory())
