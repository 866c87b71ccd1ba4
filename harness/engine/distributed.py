"""One run on several processes, its ranks: the first leads and records, the others compute their part with it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from benchmarks.resuming.signals import STOPS

MEET = "HARNESS_MEET"  # where the ranks of `launch` meet; torchrun's meet where its own variables say
GRACE = 10.0  # seconds that ranks have to end after another one has failed
PATIENCE = timedelta(days=7)  # of a rank that waits for another one, which may compose data or evaluate alone


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
        barrier()
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


def broadcast_job(*job: str) -> None:
    """Broadcast the next job from rank 0; an empty job ends the loops of the other ranks."""
    if world().size > 1:
        from torch import distributed

        distributed.broadcast_object_list([job])


def receive_job() -> tuple[str, ...]:
    """Return the job that rank 0 broadcasts; empty when there are no more."""
    from torch import distributed

    job: list[tuple[str, ...]] = [()]
    distributed.broadcast_object_list(job)
    return job[0]


def barrier() -> None:
    """Wait until every rank is here."""
    if world().size > 1:
        from torch import distributed

        distributed.barrier()
