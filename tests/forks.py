"""Ranks of a test, each a process that has the libraries already: importing them takes longer than most tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from torch.multiprocessing.spawn import start_processes

from harness.engine import distributed

LIBRARIES = ["torchvision", "detectron2.engine", "detectron2.evaluation", "hypothesis", "pytest"]


def on_ranks(size: int, work: Callable[..., object], *arguments: Any) -> None:
    """Call work(rank, *arguments) in so many processes at once; an error of one ends all and is raised."""
    forkserver.set_forkserver_preload(LIBRARIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        start_processes(work, arguments, nprocs=size, start_method="forkserver")


@contextmanager
def place(rank: int, size: int, meet: Path) -> Iterator[None]:
    """The environment in which harness starts a rank, with one thread."""
    import torch

    torch.set_num_threads(1)
    own = {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "GLOO_SOCKET_IFNAME": "lo",
        distributed.RENDEZVOUS: f"file://{meet}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        yield
