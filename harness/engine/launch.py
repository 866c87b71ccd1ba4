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
from harness.engine.distributed import CONTINUES, GRACE, RENDEZVOUS, RankError, World, world

PARENT = "HARNESS_PARENT"  # environment: the id of the process that started this one, with which it ends
PR_SET_PDEATHSIG = 1  # of Linux's prctl


def to_launch(count: int) -> bool:
    """Return whether this process has to start so many ranks; ValueError if torchrun has started another number."""
    here = world()
    if here.size > 1 and count not in (1, here.size):
        raise ValueError(f"{count} processes were asked for: there are {here.size} already")
    return count > here.size


def launch(line: Sequence[str], count: int) -> int:
    """Run `harness` with this command line in so many ranks and return its exit code; RankError if one was killed.

    Ctrl-C, SIGTERM and SIGUSR1 are passed on to all ranks. If a rank fails, the others are ended, and none stays
    behind. If this process is killed, each rank stops as at SIGTERM: see die_with_parent.
    """
    with tempfile.TemporaryDirectory(prefix="harness-ranks-") as folder:
        ranks = [start(line, World(rank, count, rank), Path(folder)) for rank in range(count)]
        with pass_on_signals(ranks) as signals:
            try:
                return wait_for_all(ranks, signals)
            finally:
                end(ranks)


def start(line: Sequence[str], place: World, folder: Path) -> subprocess.Popen[bytes]:
    """Start one rank, in a session of its own, since a terminal's Ctrl-C would reach it twice and stop it at once."""
    cores = len(os.sched_getaffinity(0))
    environment = {
        "OMP_NUM_THREADS": str(max(1, cores // place.size)),
        "GLOO_SOCKET_IFNAME": "lo",
        **os.environ,
        "RANK": str(place.rank),
        "WORLD_SIZE": str(place.size),
        "LOCAL_RANK": str(place.local),
        RENDEZVOUS: f"file://{folder}/rendezvous",
        PARENT: str(os.getpid()),
    }
    return subprocess.Popen(command(line), env=with_path(environment), start_new_session=True)


def command(line: Sequence[str]) -> list[str]:
    """Return the command that starts this very harness with a command line."""
    return [sys.executable, "-P", "-m", "harness", *line]


def with_path(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment in which Python imports this very harness."""
    path = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    return {**environment, "PYTHONPATH": path}


@contextmanager
def pass_on_signals(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Pass Ctrl-C, SIGTERM and SIGUSR1 on to the children without stopping this process; yield those that came."""
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for child in children:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in STOPS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for_all(ranks: Sequence[subprocess.Popen[bytes]], signals: Sequence[int]) -> int:
    """Wait for all ranks and return 0, or the first other exit code after asking the rest to end."""
    while not any(rank.poll() for rank in ranks):
        if all(rank.poll() == 0 for rank in ranks):
            return 0
        time.sleep(0.05)
    number, code = next((number, rank.returncode) for number, rank in enumerate(ranks) if rank.returncode)
    for rank in ranks:
        if not signals:
            rank.terminate()
    if code < 0 and not signals:
        with suppress(ProcessLookupError):
            os.killpg(ranks[number].pid, signal.SIGKILL)  # its loaders, before they miss it aloud
        raise RankError(f"rank {number} was ended by {signal.Signals(-code).name}: {CONTINUES}")
    if code < 0:
        interrupt(signals[0])
    return code


def end(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all ranks have ended; kill those that take longer than GRACE, with their loaders' processes."""
    deadline = time.monotonic() + GRACE
    for rank in ranks:
        try:
            rank.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(rank.pid, signal.SIGKILL)
            rank.wait()


def die_with_parent() -> None:
    """Let the kernel send SIGTERM to this process when the harness that started it, if one did, dies or has died."""
    if parent := os.environ.get(PARENT):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            os.kill(os.getpid(), signal.SIGTERM)
