"""Signals that stop some work in such a way that the same command continues it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

REQUEUE = (signal.SIGTERM, signal.SIGUSR1)  # what a scheduler sends to a job that it wants to run later
STOPS = (signal.SIGINT, *REQUEUE)
ECHO = 2.0  # seconds: so soon the same signal comes again, sent to every process and passed on by a launcher
last_seen: dict[int, float] = {}  # signal → time


class Requeued(KeyboardInterrupt):
    """SIGTERM or SIGUSR1 has stopped the work; the same command continues it."""


def interrupt(number: int, *notes: str) -> NoReturn:
    """Raise what a signal stands for, with notes: Requeued, or KeyboardInterrupt for Ctrl-C."""
    stop = Requeued() if number in REQUEUE else KeyboardInterrupt()
    for note in notes:
        stop.add_note(note)
    raise stop


def is_echo(number: int) -> bool:
    """Return whether a scheduler's signal came less than ECHO seconds before."""
    now = time.monotonic()
    before, last_seen[number] = last_seen.get(number, -math.inf), now
    return number in REQUEUE and now - before < ECHO


def requeue_on_signals() -> None:
    """Let SIGTERM and SIGUSR1 raise Requeued from now on, as Ctrl-C raises KeyboardInterrupt."""
    last_seen.clear()
    for number in REQUEUE:
        signal.signal(number, lambda number, frame: None if is_echo(number) else interrupt(number))


@contextmanager
def stop_signals() -> Iterator[Callable[[], type[KeyboardInterrupt] | None]]:
    """Yield a function that returns what to raise once a signal has come, else None; a second signal raises at once."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if is_echo(number):
            return
        if seen:
            interrupt(number)
        seen.append(number)

    before = {number: signal.signal(number, note) for number in STOPS}
    try:
        yield lambda: (Requeued if seen[0] in REQUEUE else KeyboardInterrupt) if seen else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def agree(stop: type[KeyboardInterrupt] | None) -> type[KeyboardInterrupt] | None:
    """Return what all ranks of torch.distributed raise once any of them has got a signal, else None.

    A requeue goes before Ctrl-C.
    """
    from torch import distributed

    if not distributed.is_initialized():
        return stop
    import torch

    ranked = None, KeyboardInterrupt, Requeued
    place = torch.tensor(ranked.index(stop))
    distributed.all_reduce(place, distributed.ReduceOp.MAX)
    return ranked[int(place)]
