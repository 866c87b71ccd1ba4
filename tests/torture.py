"""Kills tiny real runs at random moments, lets them go on, and compares them with runs that were left alone.

`python -m tests.torture 200` (make torture KILLS=200) ends with 1 where a file is unreadable after a kill or a
finished run differs in anything but times. `python -m tests.torture --soak 5000` (make soak) watches the memory and
the open files of one long pre-training instead. Both in one thread, since every try is a fork of this process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from detectron2.engine import SimpleTrainer
from torch import nn

import benchmarks.detection.loader  # noqa: F401
from benchmarks import detection
from benchmarks.resuming import checkpoints, files
from benchmarks.resuming.strict_json import read_lines
from harness import cli, plugins, records
from harness.engine import observers, pretrain
from harness.engine.machine import Machine
from harness.verbs import options
from methods import pixsim
from methods.recipe import Heads, Recipe
from methods.strategies.location import Location
from tests.pictures import photos

SETTINGS = [
    "epochs=2", "batch=2", "size=32", "width=8", "heads.out=8", "heads.hidden=8",
    "benchmark.iterations=4", "benchmark.batch=1",
    "benchmark.train=6", "benchmark.test=3", "benchmark.layout.size=48", "benchmark.sizes=48", "benchmark.precise_bn=1",
]  # fmt: skip
EVENTS: dict[str, tuple[Any, str]] = {
    "fsync": (os, "fsync"),
    "replace": (os, "replace"),
    "unlink": (os, "unlink"),
    "step": (pretrain, "optimizer_step"),
    "iteration": (SimpleTrainer, "run_step"),
    "saving": (checkpoints.Checkpoint, "save"),
}  # calls before which a run can be killed; a "write" is killed half way, and at a "time" it is killed from outside
TIMES = {
    "time",
    "data_time",
    "rank_data_time",
    "seconds",
    "peak_memory_mib",
    "start_time",
    "stop_time",
    "heartbeat",
    "code",
}
MOST = 5  # kills of one run
LONGEST = 120.0  # seconds of one try


class Case(NamedTuple):
    """What a run is of; the second one of a machine that must not matter."""

    strategy: str
    workers: int

    def words(self, results: Path) -> list[str]:
        """Of the command line."""
        changes = [word for change in SETTINGS for word in ("--set", change)]
        load = ["--set", f"benchmark.workers={self.workers}", "--workers", str(self.workers)]
        return ["run", "--strategy", self.strategy, *changes, *load, "--device", "cpu", "--results", str(results)]


class Fault(NamedTuple):
    """When a try is killed."""

    kind: str
    at: float  # the number of the event, from 1, or seconds


class Reference(NamedTuple):
    """A run that was left alone."""

    files: dict[str, Any]
    counts: dict[str, int]  # events
    seconds: float


def attempt(words: list[str], every: float, fault: Fault | None = None, counts: Path | None = None) -> int:
    """The exit code of a try in a process group of its own, minus the signal where one killed it."""
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)
            code = run(words, every, fault, counts)
        except BaseException:
            code = 70
        os._exit(code)
    time_left = fault.at if fault and fault.kind == "time" else LONGEST
    status = wait(child, time_left)
    if status is None:
        os.killpg(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if time_left == LONGEST:
            raise TimeoutError(f"a try took more than {LONGEST} s")
    return os.waitstatus_to_exitcode(status)


def wait(child: int, seconds: float) -> int | None:
    """The status of a child that ends within the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    return None


def run(words: list[str], every: float, fault: Fault | None, counts: Path | None) -> int:
    """In the child: the command, killed at its fault; its events are counted into a file."""
    quiet = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(quiet, number)
    seen: Counter[str] = Counter()

    def event(kind: str, last: Callable[[], object] = lambda: None) -> None:
        seen[kind] += 1
        if fault == (kind, seen[kind]):
            last()
            os.killpg(0, signal.SIGKILL)

    plant(event)
    checkpoints.CHECKPOINT_EVERY = every
    code = cli.main(words)
    if counts:
        counts.write_text(json.dumps(seen))
    return code


def plant(event: Callable[..., None]) -> None:
    """Let every event of this process be told of."""

    def told(kind: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            event(kind)
            return original(*arguments, **named)

        return call

    for kind, (owner, name) in EVENTS.items():
        setattr(owner, name, told(kind, getattr(owner, name)))

    class Torn:
        """A file of which a write can be the last one, and half of it missing."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            self.file = open(*arguments, **named)  # noqa: SIM115

        def __enter__(self) -> Torn:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, content: bytes) -> int:
            def half() -> None:
                self.file.write(content[: len(content) // 2])
                self.file.flush()

            event("write", half)
            return int(self.file.write(content))

    vars(files)["open"] = Torn


def facts(content: Any) -> Any:
    """A record's JSON without what differs between any two runs: times and folders."""
    if isinstance(content, dict):
        return {name: facts(value) for name, value in content.items() if name not in TIMES and name != "command"}
    return content


def read(folder: Path) -> dict[str, Any]:
    """All that two runs have in common, by file; of the log its being there."""
    found: dict[str, Any] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix == ".json":
            found[file.name] = facts(json.loads(file.read_text()))
        elif file.suffix == ".jsonl":
            found[file.name] = [facts(json.loads(line)) for line in file.read_text().splitlines()]
        else:
            found[file.name] = "" if file.suffix == ".log" else hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def unreadable(results: Path) -> list[str]:
    """A line on every file that a kill has spoilt."""
    found, broken = records.read_all(results)
    for record in found:
        try:
            assert record.curve is not None
            read_lines(record.folder / detection.CURVE)
            for file in record.folder.glob("*checkpoint*.pth"):
                checkpoints.load(file)
        except Exception as error:
            broken.append(f"{record.folder}: {error}")
    return broken


def reference(case: Case, folder: Path) -> Reference:
    """The run that the others are compared with, and how many events it has."""
    start, counts = time.monotonic(), folder / "counts.json"
    code = attempt(case.words(folder), 0.0, counts=counts)
    if code:
        raise RuntimeError(f"{case}: the reference ended with {code}")
    (made,) = (folder / "runs").iterdir()
    return Reference(read(made), json.loads(counts.read_text()), time.monotonic() - start)


def draw(chance: random.Random, like: Reference) -> Fault:
    """A fault of any kind at any moment."""
    kind = chance.choice(["time", "time", *sorted(like.counts)])
    at = chance.uniform(0, like.seconds) if kind == "time" else chance.randint(1, like.counts[kind])
    return Fault(kind, at)


class Tally(NamedTuple):
    """What has happened."""

    kills: Counter[str]  # by kind
    phases: Counter[str]  # in which they came
    runs: Counter[str]  # finished, different
    faults: list[str]  # unreadable files and differences


def torture(kills: int, folder: Path, seed: int) -> Tally:
    """Kill so many times, over all strategies with 0 and 2 loader processes."""
    chance, tally = random.Random(seed), Tally(Counter(), Counter(), Counter(), [])
    cases = [Case(name, workers) for name in plugins.strategy_files() for workers in (0, 2)]
    chance.shuffle(cases)
    cases = cases[: max(2, kills // 10)]
    known: dict[Case, Reference] = {}
    while tally.kills.total() < kills:
        case = cases[tally.runs["finished"] % len(cases)]
        if case not in known:
            with tempfile.TemporaryDirectory(dir=folder) as left_alone:
                known[case] = reference(case, Path(left_alone))
        with tempfile.TemporaryDirectory(dir=folder) as name:
            kill_run(case, known[case], Path(name), min(MOST, kills - tally.kills.total()), chance, tally)
        print(f"\r{tally.kills.total()} kills, {len(tally.faults)} faults", end="", file=sys.stderr, flush=True)
    return tally


def kill_run(case: Case, like: Reference, results: Path, most: int, chance: random.Random, tally: Tally) -> None:
    """One run, killed up to so many times, to its end."""
    for left in range(most, -1, -1):
        fault = draw(chance, like) if left else None
        code = attempt(case.words(results), chance.choice((0.0, 0.2, 60.0)), fault)
        if code == -signal.SIGKILL and fault:
            tally.kills[fault.kind] += 1
            tally.phases["fine-tuning" if list(results.glob("runs/*/backbone.pth")) else "pre-training"] += 1
            tally.faults.extend(f"{case} {fault}: {line}" for line in unreadable(results))
        elif code:
            tally.faults.append(f"{case} {fault}: exit code {code}")
            return
        else:
            break
    if attempt(case.words(results), 60.0):  # which also takes away what a kill behind the last word has left
        tally.faults.append(f"{case}: the finished run is not found")
    (made,) = (results / "runs").iterdir()
    found = read(made)
    different = sorted(name for name in found | like.files if found.get(name) != like.files.get(name))
    tally.runs["finished"] += 1
    tally.runs["different"] += bool(different)
    tally.faults.extend(f"{case} {fault}: {name} differs" for name in different)


# --- soak


class Reading(NamedTuple):
    """Of this process."""

    step: int
    memory: float  # MiB, resident
    files: int  # open


def reading(step: int) -> Reading:
    """Now, as Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Reading(step, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/fd")))


def narrow(*_: Any) -> nn.Sequential:
    """An encoder that costs next to nothing, whatever was asked for: a ResNet-18's step takes 0.3 s at any size."""
    return nn.Sequential(nn.Conv2d(3, 64, 8, stride=8), nn.BatchNorm2d(64), nn.ReLU(inplace=True))


def soak(steps: int, folder: Path) -> list[Reading]:
    """Twenty readings of a pre-training with a loader process and a checkpoint many times a second."""
    images, found, optimizer_step = photos(folder / "photos", 20), [], pretrain.optimizer_step
    recipe = Recipe(encoder="resnet18", width=8, size=32, epochs=max(1, steps // 10), batch=2, heads=Heads(64, 64, 64))

    def watched(*arguments: Any) -> Any:
        training = arguments[0]
        if training.step % max(1, steps // 20) == 0:
            found.append(reading(training.step))
        return optimizer_step(*arguments)

    for owner, name, given in ((pretrain, "optimizer_step", watched), (pixsim, "build_encoder", narrow)):
        setattr(owner, name, given)
    checkpoints.CHECKPOINT_EVERY = 0.2
    pretrain.pretrain(Location(), recipe, images, folder, 0, Machine("cpu", 1))
    return found


def flat(readings: list[Reading]) -> bool:
    """Whether memory and open files stay, from a fifth of the way on: allocators settle first."""
    first, last = readings[len(readings) // 5], readings[-1]
    return last.memory < 1.05 * first.memory and last.files <= first.files


def main() -> int:
    """1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--soak", metavar="STEPS", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        if given.soak:
            readings = soak(given.soak, Path(name))
            for one in readings:
                print(f"step {one.step:>6}: {one.memory:8.1f} MiB, {one.files} open files")
            print(f"{'flat' if flat(readings) else 'NOT flat'}, {time.monotonic() - start:.0f} s")
            return int(not flat(readings))
        options.CACHE = Path(name) / "cache"
        tally = torture(given.kills, Path(name), given.seed)
    print(f"\n{tally.kills.total()} kills ({', '.join(f'{n} {kind}' for kind, n in sorted(tally.kills.items()))})")
    print(", ".join(f"{n} in the {phase}" for phase, n in sorted(tally.phases.items())))
    print(f"{tally.runs['finished']} runs finished, {tally.runs['different']} different, {len(tally.faults)} faults")
    print(*tally.faults, f"{time.monotonic() - start:.0f} s", sep="\n")
    return int(bool(tally.faults))


if __name__ == "__main__":
    observers.import_sacred()  # which every try needs, as it needs all that is imported above
    sys.exit(main())
