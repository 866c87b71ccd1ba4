"""Starting the ranks of one run on this machine, and the signals that go to them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from benchmarks.resuming.signals import STOPS, interrupt
from harness import ROOT
from harness.engine.distributed import GRACE, MEET, RankError, World, world

LEASH = "HARNESS_LEASH"  # the process that started this one, with which it ends
PR_SET_PDEATHSIG = 1  # of Linux's prctl


def to_launch(count: int) -> bool:
    """Whether this process has to start that many ranks; ValueError where torchrun has started others."""
    here = world()
    if here.size > 1 and count not in (1, here.size):
        raise ValueError(f"{count} processes were asked for: there are {here.size} already")
    return count > here.size


def launch(words: Sequence[str], count: int) -> int:
    """Run `harness` with these words in so many ranks and return its exit code; RankError where one was killed.

    Ctrl-C, SIGTERM and SIGUSR1 are handed on to all; where one fails, the others are ended, and none stays behind.
    Where this process is killed, each rank stops as at SIGTERM: see die_with_parent.
    """
    with tempfile.TemporaryDirectory(prefix="harness-ranks-") as folder:
        ranks = [start(words, World(rank, count, rank), Path(folder)) for rank in range(count)]
        with handed_on(ranks) as stopped:
            try:
                return watch(ranks, stopped)
            finally:
                end(ranks)


def start(words: Sequence[str], place: World, folder: Path) -> subprocess.Popen[bytes]:
    """One rank, in a session of its own: a terminal's Ctrl-C would reach it twice, and the second one stops at once."""
    cores = len(os.sched_getaffinity(0))
    environment = {
        "OMP_NUM_THREADS": str(max(1, cores // place.size)),
        "GLOO_SOCKET_IFNAME": "lo",
        **os.environ,
        "RANK": str(place.rank),
        "WORLD_SIZE": str(place.size),
        "LOCAL_RANK": str(place.local),
        MEET: f"file://{folder}/meet",
        LEASH: str(os.getpid()),
    }
    return subprocess.Popen(command(words), env=searched(environment), start_new_session=True)


def command(words: Sequence[str]) -> list[str]:
    """The line that starts this very harness again."""
    return [sys.executable, "-P", "-m", "harness", *words]


def searched(environment: dict[str, str]) -> dict[str, str]:
    """An environment in which Python finds this very harness."""
    path = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    return {**environment, "PYTHONPATH": path}


@contextmanager
def handed_on(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Ctrl-C, SIGTERM and SIGUSR1 go to the children, and into the yielded list, and stop nothing here."""
    seen: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        for child in children:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in STOPS}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch(ranks: Sequence[subprocess.Popen[bytes]], stopped: Sequence[int]) -> int:
    """Wait for all ranks and return 0, or the first other code that one of them ends with; the rest is asked to end."""
    while not any(rank.poll() for rank in ranks):
        if all(rank.poll() == 0 for rank in ranks):
            return 0
        time.sleep(0.05)
    number, code = next((number, rank.returncode) for number, rank in enumerate(ranks) if rank.returncode)
    for rank in ranks:
        if not stopped:
            rank.terminate()
    if code < 0 and not stopped:
        with suppress(ProcessLookupError):
            os.killpg(ranks[number].pid, signal.SIGKILL)  # its loaders, before they miss it aloud
        raise RankError(f"rank {number} was ended by {signal.Signals(-code).name}: the same command goes on")
    if code < 0:
        interrupt(stopped[0])
    return code


def end(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended, and end by force what takes longer than the grace, with the loaders' processes."""
    last = time.monotonic() + GRACE
    for rank in ranks:
        try:
            rank.wait(max(0.0, last - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(rank.pid, signal.SIGKILL)
            rank.wait()


def die_with_parent() -> None:
    """Let SIGTERM come if the process that started this one dies, or has died, where it is one of ours."""
    if parent := os.environ.get(LEASH):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            os.kill(os.getpid(), signal.SIGTERM)
