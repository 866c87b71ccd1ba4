"""Loaders whose processes leave signals to the main process, and whose errors are one line."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterable
from typing import TypeVar

from benchmarks.resuming.signals import STOPS

Batch = TypeVar("Batch")

TRACEBACK = "\nOriginal Traceback"  # in an error's message, which torch hands on from a loader's process


def loaded(loader: Iterable[Batch]) -> Generator[Batch, None, None]:
    """Yield a loader's batches; raise an error of its processes with its own message, without their traceback.

    The processes start with all signals blocked, until `ignore_signals`, and end when the generator is closed.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        batches = iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield from batches
    except (ValueError, OSError) as error:
        text = str(error).rstrip()
        if TRACEBACK not in text:
            raise
        raise type(error)(text.splitlines()[-1].partition(": ")[2]) from error


def ignore_signals(worker: int) -> None:
    """Leave signals to the main process, which still needs this loader's process when all of a job get one.

    A second SIGTERM ends the process, so that a main process that is gone or broken off can be rid of it.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
