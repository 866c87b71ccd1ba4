"""Many runs at once on one machine: each a `harness run` of its own, with its share of GPUs and threads and its log."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from benchmarks.resuming.signals import interrupt
from harness.engine import launch
from harness.engine.run import finished
from harness.experiment import Experiment

TAIL = 4000  # bytes of a log in which its last line is looked for


@dataclass
class Crew:
    """The shares of a machine, and the runs that are made on them."""

    lanes: SimpleQueue[dict[str, str]]  # environments of the shares that are free
    words: Sequence[str]  # of every run, beside its line: the machine's
    results: Path
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    stopped: Sequence[int] = ()  # the signals that came

    def chain(self, lines: Mapping[str, str]) -> list[str]:
        """Run lines (words → log's name) one after the other on one share; those that failed."""
        lane = self.lanes.get()
        try:
            return [line for line, name in lines.items() if not self.stopped and not self.made(line, name, lane)]
        finally:
            self.lanes.put(lane)

    def made(self, line: str, name: str, lane: dict[str, str]) -> bool:
        """Run one line and tell how it ends; false where it fails."""
        log = self.results / "logs" / f"{name}.log"
        tell(f"start   harness run {line}")
        with open(log, "ab") as out:
            child = subprocess.Popen(
                launch.command(["run", *shlex.split(line), *self.words]),
                env=lane, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.children.append(child)
        if self.stopped:  # the signal came before the child did
            child.send_signal(self.stopped[0])
        code = child.wait()
        state = "done" if code == 0 else "stopped" if self.stopped else "FAILED"
        tell(f"{state:<7} harness run {line}\n        {last_line(log)}" + (f" ({log})" if code else ""))
        return code == 0 or bool(self.stopped)


def tell(text: str) -> None:
    """Print a run's event at once."""
    print(text, flush=True)


def last_line(log: Path) -> str:
    """What a run said last."""
    text = log.read_bytes()[-TAIL:].decode(errors="replace")
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing was said")


def spread(
    experiments: dict[str, list[Experiment]], words: Sequence[str], jobs: int, gpus: Sequence[str], each: int,
    results: Path,
) -> int:  # fmt: skip
    """Make what no record holds yet, so many runs at once with so many processes each; how many failed.

    A run that fails stops no other. Ctrl-C, SIGTERM and SIGUSR1 go to all runs, each of which writes its checkpoint,
    and raise KeyboardInterrupt or Requeued when all have ended.
    """
    missing = {line: all for line, all in experiments.items() if not all_finished(all, results)}
    tell(f"{len(experiments)} runs, {len(experiments) - len(missing)} of them run already, {jobs} at once")
    (results / "logs").mkdir(parents=True, exist_ok=True)
    crew = Crew(SimpleQueue(), words, results)
    for number in range(jobs):
        crew.lanes.put(lane(number, jobs, gpus, each))
    with launch.handed_on(crew.children) as crew.stopped, ThreadPoolExecutor(jobs) as pool:
        failed = [line for lines in pool.map(crew.chain, chains(missing)) for line in lines]
    if crew.stopped:
        interrupt(crew.stopped[0])
    tell(
        "\n".join(
            [f"{len(missing) - len(failed)} done, {len(failed)} failed", *(f"  harness run {one}" for one in failed)]
        )
    )
    return len(failed)


def all_finished(trials: Sequence[Experiment], results: Path) -> bool:
    """Whether every trial has its record."""
    return all(finished(one, results) for one in trials)


def chains(experiments: dict[str, list[Experiment]]) -> list[dict[str, str]]:
    """The lines, with their logs' names, in groups of one backbone each, which is then trained but once."""
    found: dict[str, dict[str, str]] = {}
    for line, (first, *_) in experiments.items():
        backbone = json.dumps([first.backbone.settings, first.seed], sort_keys=True)
        found.setdefault(backbone, {})[line] = first.run_id
    return list(found.values())


def lane(number: int, jobs: int, gpus: Sequence[str], each: int) -> dict[str, str]:
    """The environment of one share: GPUs in turn, and an equal part of the threads unless their number is set."""
    threads = max(1, len(os.sched_getaffinity(0)) // (jobs * each))
    chosen = [gpus[(number * each + one) % len(gpus)] for one in range(each)] if gpus else []
    own = {"CUDA_VISIBLE_DEVICES": ",".join(chosen)} if gpus else {}
    return launch.searched({"OMP_NUM_THREADS": str(threads), launch.LEASH: str(os.getpid()), **os.environ, **own})
