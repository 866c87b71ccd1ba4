"""One run on several processes, its ranks: rank 0 records the run, and all compute their part of each step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from benchmarks.resuming.signals import STOPS

RENDEZVOUS = "HARNESS_RENDEZVOUS"  # environment: where the ranks of `launch` find each other; torchrun has its own
CONTINUES = "the same command continues from here"
GRACE = 10.0  # seconds that ranks have to end after one has failed
TIMEOUT = timedelta(days=7)  # of a collective, since a rank may compose data or evaluate alone meanwhile


class RankError(ValueError):
    """A rank that has ended too early, in one line."""


class Lost(RankError):
    """A lost connection to another rank: not the cause, which that rank's process or the launcher may print."""


class World(NamedTuple):
    """The place of this process among the ranks of its run."""

    rank: int = 0
    size: int = 1
    local: int = 0  # rank among those of this machine, which is the number of its GPU

    @property
    def leads(self) -> bool:
        """Return whether this is rank 0, which alone records and prints."""
        return self.rank == 0


def world() -> World:
    """Return the place of this process, from the environment that torchrun or `launch` sets."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1 or "RANK" not in os.environ:
        return World()
    return World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", 0)))


@contextmanager
def process_group() -> Iterator[None]:
    """Connect this process with the other ranks, if there are any; raise Lost if a connection breaks."""
    here = world()
    if here.size == 1:
        yield
        return
    import torch
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    where = os.environ.get(RENDEZVOUS, "env://")
    try:
        distributed.init_process_group(backend, where, timeout=TIMEOUT, rank=here.rank, world_size=here.size)
        yield
        barrier()
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise Lost(f"rank {here.rank} has lost the connection to another rank: {CONTINUES}") from error
        raise
    distributed.destroy_process_group()


def wait_for_cause(error: Exception) -> None:
    """Wait before an error is printed: another rank may print the same, or its cause, and end this one meanwhile."""
    here = world()
    if here.size > 1 and (isinstance(error, Lost) or not here.leads):
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
        time.sleep(GRACE if isinstance(error, Lost) else 1.0)


def facts() -> dict[str, int | str]:
    """Return how many processes and hosts make a run, for its record."""
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
