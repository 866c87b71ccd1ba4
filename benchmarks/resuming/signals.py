"""Signals that stop some work, after which the same command goes on with it."""

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
ECHO = 2.0  # seconds in which it comes again: a scheduler signals every process, and a launcher hands its own on
heard: dict[int, float] = {}  # signal → when it came last


class Requeued(KeyboardInterrupt):
    """SIGTERM or SIGUSR1 has stopped the work; the same command goes on with it."""


def interrupt(number: int) -> NoReturn:
    """Stop at once."""
    raise Requeued if number in REQUEUE else KeyboardInterrupt


def echoes(number: int) -> bool:
    """Whether this is a scheduler's signal that was heard just now, and not a second one."""
    now = time.monotonic()
    before, heard[number] = heard.get(number, -math.inf), now
    return number in REQUEUE and now - before < ECHO


def requeue_on_signals() -> None:
    """From now on SIGTERM and SIGUSR1 stop the process as cleanly as Ctrl-C."""
    heard.clear()
    for number in REQUEUE:
        signal.signal(number, lambda number, frame: None if echoes(number) else interrupt(number))


@contextmanager
def stop_signals() -> Iterator[Callable[[], type[KeyboardInterrupt] | None]]:
    """The yielded function gives what to raise once a stop was asked for, else None; a second signal stops at once."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if echoes(number):
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


def agreed(stop: type[KeyboardInterrupt] | None) -> type[KeyboardInterrupt] | None:
    """What all ranks of torch.distributed raise once any of them was asked to stop, before all a requeue; else None."""
    from torch import distributed

    if not distributed.is_initialized():
        return stop
    import torch

    known = None, KeyboardInterrupt, Requeued
    place = torch.tensor(known.index(stop))
    distributed.all_reduce(place, distributed.ReduceOp.MAX)
    return known[int(place)]
