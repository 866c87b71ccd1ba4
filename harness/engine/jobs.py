"""Several runs at once on one machine: each a `harness run` with GPUs and threads of its own, and a log."""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from benchmarks.resuming.signals import interrupt
from harness.engine import launch
from harness.engine.distributed import CONTINUES
from harness.engine.known import Known
from harness.engine.run import print_now
from harness.records import Record

TAIL = 4000  # bytes at the end of a log among which its last line is


class TimeLeft:
    """The time that runs will take: as long as those that were made, of which so many are made at once."""

    def __init__(self, made: Sequence[Record], at_once: int = 1) -> None:
        recorded = [sum(record.provenance.get("seconds", {}).values()) for record in made]
        self.seconds, self.at_once = [seconds for seconds in recorded if seconds], at_once

    def text(self, runs: int) -> str:
        """Return, as the end of a line, how long so many runs will take; empty where no run tells."""
        if not self.seconds or not runs:
            return ""
        return f", all about {minutes(statistics.fmean(self.seconds) * runs / min(runs, self.at_once))} more"


def minutes(seconds: float) -> str:
    """Return a time in minutes and seconds, from an hour on in hours and minutes."""
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@dataclass
class Pool:
    """A pool of workers: one slot (GPUs, threads) per concurrent run."""

    slots: SimpleQueue[dict[str, str]]  # environments of the slots that are free
    options: Sequence[str]  # of every run, beside its line: where it computes, who watches
    results: Path
    left: TimeLeft
    waiting: int  # runs that have not ended
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    signals: Sequence[int] = ()  # that have asked the pool to stop

    def run_in_turn(self, lines: Mapping[str, str]) -> list[str]:
        """Run lines (options → name of the log) one after the other in one slot; return those that failed."""
        slot = self.slots.get()
        try:
            return [line for line, name in lines.items() if not self.signals and not self.run(line, name, slot)]
        finally:
            self.slots.put(slot)

    def run(self, line: str, name: str, slot: dict[str, str]) -> bool:
        """Run one line, print how it ends, and return whether it did not fail."""
        log, start = self.results / "logs" / f"{name}.log", time.monotonic()
        print_now(f"start   harness run {line}")
        with open(log, "ab") as out:
            child = subprocess.Popen(
                launch.command(["run", *shlex.split(line), *self.options]),
                env=slot, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.children.append(child)
        if self.signals:  # which came before the child did
            child.send_signal(self.signals[0])
        code = child.wait()
        state = "done" if code == 0 else "stopped" if self.signals else "FAILED"
        self.waiting -= 1
        self.left.seconds += [time.monotonic() - start] if code == 0 else []
        end = f" ({log})" if code else self.left.text(self.waiting)
        print_now(f"{state:<7} harness run {line}\n        {last_line(log)}{end}")
        return code == 0 or bool(self.signals)


def last_line(log: Path) -> str:
    """Return the last line that a run has printed."""
    text = log.read_bytes()[-TAIL:].decode(errors="replace")
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing was printed")


def spread(
    known: Mapping[str, Sequence[Known]], options: Sequence[str], jobs: int, gpus: Sequence[str], each: int,
    results: Path,
) -> int:  # fmt: skip
    """Make the runs that are missing, `jobs` at once with `each` processes, and return how many failed.

    A run that fails stops no other. Ctrl-C, SIGTERM and SIGUSR1 go to all runs, each of which writes its checkpoint,
    and raise KeyboardInterrupt or Requeued when all have ended.
    """
    missing = {line: runs for line, runs in known.items() if any(run.record is None for run in runs)}
    left = TimeLeft([run.record for runs in known.values() for run in runs if run.record], jobs)
    made = f"{len(known)} runs, {len(known) - len(missing)} of them run already, {jobs} at once"
    print_now(f"{made}{left.text(len(missing))}")
    (results / "logs").mkdir(parents=True, exist_ok=True)
    pool = Pool(SimpleQueue(), options, results, left, len(missing))
    for number in range(jobs):
        pool.slots.put(slot(number, jobs, gpus, each))
    with launch.pass_on_signals(pool.children) as pool.signals, ThreadPoolExecutor(jobs) as threads:
        failed = [line for lines in threads.map(pool.run_in_turn, by_backbone(missing)) for line in lines]
    if pool.signals:
        interrupt(pool.signals[0], CONTINUES)
    again = (shlex.join(["harness", "run", *shlex.split(line), *options]) for line in failed)
    print_now(f"{len(missing) - len(failed)} done, {len(failed)} failed", *(f"  {line}" for line in again))
    return len(failed)


def by_backbone(known: Mapping[str, Sequence[Known]]) -> list[dict[str, str]]:
    """Return the lines, with their logs' names, in groups that share a backbone, which is then trained only once."""
    groups: dict[str, dict[str, str]] = {}
    for line, ((first, _), *_) in known.items():
        backbone = json.dumps([first.backbone.settings, first.seed], sort_keys=True)
        groups.setdefault(backbone, {})[line] = first.run_id
    return list(groups.values())


def slot(number: int, jobs: int, gpus: Sequence[str], each: int) -> dict[str, str]:
    """Return the environment of one slot: its GPUs in turn, and an equal part of the threads unless they are set."""
    threads = max(1, len(os.sched_getaffinity(0)) // (jobs * each))
    chosen = [gpus[(number * each + rank) % len(gpus)] for rank in range(each)] if gpus else []
    own = {"CUDA_VISIBLE_DEVICES": ",".join(chosen)} if gpus else {}
    return launch.with_path({"OMP_NUM_THREADS": str(threads), launch.PARENT: str(os.getpid()), **os.environ, **own})
