"""One run on several processes, its ranks: the first leads and records, the others compute their part with it."""

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
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.resuming.checkpoints import shared
from benchmarks.resuming.signals import STOPS, interrupt
from harness import ROOT

if TYPE_CHECKING:
    from torch import nn

    from harness.engine.pretrain import Training
    from methods.pixsim import Loss

MEET = "HARNESS_MEET"  # where the ranks of `launch` meet; torchrun's meet where its own variables say
LEASH = "HARNESS_LEASH"  # the process that started this one, with which it ends
GRACE = 10.0  # seconds that ranks have to end after another one has failed
PATIENCE = timedelta(days=7)  # of a rank that waits for another one, which may compose data or evaluate alone
PR_SET_PDEATHSIG = 1  # of Linux's prctl


class RankError(ValueError):
    """A rank that was lost, in one line."""


class Lost(RankError):
    """This rank's connection to another one is gone: not the cause, which another process may tell."""


class World(NamedTuple):
    """Which of how many ranks this process is."""

    rank: int = 0
    size: int = 1
    local: int = 0  # among the ranks of this machine: the number of its GPU

    @property
    def leads(self) -> bool:
        """Whether this rank records and speaks."""
        return self.rank == 0


def world() -> World:
    """This process among its ranks, as torchrun's variables and ours tell."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1 or "RANK" not in os.environ:
        return World()
    return World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", 0)))


# --- starting ranks on this machine


def to_launch(count: int) -> bool:
    """Whether this process has to start that many ranks; ValueError where torchrun has started others."""
    here = world()
    if here.size > 1 and count not in (1, here.size):
        raise ValueError(f"{count} processes were asked for: there are {here.size} already")
    return count > here.size


def launch(words: Sequence[str], count: int) -> int:
    """Run `harness` with these words in so many ranks and return its exit code; RankError where one was killed.

    Ctrl-C, SIGTERM and SIGUSR1 are handed on to all; where one fails, the others are ended, and none stays behind.
    Where this process is killed, each rank stops as at SIGTERM: see leash.
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


# --- within a rank


@contextmanager
def joined() -> Iterator[None]:
    """Connect this process with the other ranks, if there are any; Lost where a connection breaks."""
    here = world()
    if here.size == 1:
        yield
        return
    import torch
    from torch import distributed

    kinds = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    where = os.environ.get(MEET, "env://")
    try:
        distributed.init_process_group(kinds, where, timeout=PATIENCE, rank=here.rank, world_size=here.size)
        yield
        meet()
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise Lost(f"rank {here.rank} has lost another one: the same command goes on") from error
        raise
    distributed.destroy_process_group()


def give_way(error: Exception) -> None:
    """Wait before an error is told: another rank may tell the same, or the cause, and end this one meanwhile."""
    here = world()
    if here.size > 1 and (isinstance(error, Lost) or not here.leads):
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
        time.sleep(GRACE if isinstance(error, Lost) else 1.0)


def facts() -> dict[str, Any]:
    """What a record says of the ranks."""
    here = world()
    if here.size == 1:
        return {"processes": 1, "hosts": 1}
    from torch import distributed

    hosts = int(os.environ.get("GROUP_WORLD_SIZE", 1))  # torchrun's
    return {"processes": here.size, "hosts": hosts, "backend": distributed.get_backend()}


def leash() -> None:
    """Let SIGTERM come if the process that started this one dies, or has died, where it is one of ours."""
    if parent := os.environ.get(LEASH):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            os.kill(os.getpid(), signal.SIGTERM)


def announce(*job: str) -> None:
    """Tell the other ranks what the first one does now; nothing means that all is done."""
    if world().size > 1:
        from torch import distributed

        distributed.broadcast_object_list([job])


def hear() -> tuple[str, ...]:
    """What the first rank does now; empty when all is done."""
    from torch import distributed

    told: list[tuple[str, ...]] = [()]
    distributed.broadcast_object_list(told)
    return told[0]


def meet() -> None:
    """Wait until every rank is here."""
    if world().size > 1:
        from torch import distributed

        distributed.barrier()


def share(training: Training) -> nn.Module:
    """Bring every rank to where the first one stands; the network that makes a step on the joined batch."""
    if world().size == 1:
        return training.model
    from torch.nn.parallel import DistributedDataParallel

    from methods.norm import join_norms

    state = shared({"optimizer": training.optimizer.state_dict(), "step": training.step})
    training.optimizer.load_state_dict(state["optimizer"])
    training.step = state["step"]
    join_norms(training.model, next(training.model.parameters()).device)
    return DistributedDataParallel(training.model)  # which also shares the weights


def gather(loss: Loss) -> Loss:
    """A step's loss on the joined batch with all that the gauges read, on every rank."""
    if world().size == 1:
        return loss
    import torch
    from torch import Tensor, distributed

    size = distributed.get_world_size()

    def whole(part: Tensor) -> Tensor:
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(size)]
        distributed.all_gather(parts, part.detach().contiguous())
        return torch.cat(parts)

    first, second = (view._replace(box=whole(view.box)) for view in loss.views)
    value = whole(loss.value[None]).mean()
    return loss._replace(
        value=value, z=whole(loss.z), views=(first, second), forth=type(loss.forth)(*map(whole, loss.forth))
    )
