"""Work that can be cut off at any moment and goes on: whole files, checkpoints, signals; for the pre-training too.

It lies here because a benchmark may import nothing of harness. It starts without torch.
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, NoReturn

CHECKPOINT_EVERY = 60.0  # seconds
REQUEUE = (signal.SIGTERM, signal.SIGUSR1)  # what a scheduler sends to a job that it wants to run later
STOPS = (signal.SIGINT, *REQUEUE)
ECHO = 2.0  # seconds in which it comes again: a scheduler signals every process, and a launcher hands its own on
heard: dict[int, float] = {}  # signal → when it came last


class DamagedCheckpoint(ValueError):
    """No checkpoint of some work can be read, in one line."""


class Requeued(KeyboardInterrupt):
    """SIGTERM or SIGUSR1 has stopped the work; the same command goes on with it."""


# --- files


def write(path: Path, fill: Callable[[BinaryIO], object], older: Path | None = None) -> None:
    """Let `fill` write a temporary sibling, force it to disk and give it the path's name, whose file becomes `older`.

    Raises OSError with the path where the disk is full or read-only.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with named(path), open(part, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        if older and path.exists():
            path.replace(older)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def trim(curve: Path, name: str, end: int) -> None:
    """Drop the points whose number is not below the end: a run that was killed wrote them after its checkpoint.

    ValueError names a curve that is none.
    """
    lines = curve.read_text(encoding="utf-8").splitlines(keepends=True) if curve.exists() else []
    try:
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)[name] < end]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{curve}: not a readable curve ({error})") from error
    write(curve, lambda out: out.write("".join(kept).encode()))


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An OSError of the block names the path, also where torch.save tells of a failed write as a RuntimeError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error


# --- checkpoints


@dataclass(frozen=True)
class Checkpoint:
    """The state of some work in a file, and in a second one the state that was saved before."""

    file: Path

    @property
    def files(self) -> tuple[Path, Path]:
        """The newer and the older one; a kill may leave the older one alone."""
        return self.file, self.file.with_stem(f"{self.file.stem}-before")

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state whole or not at all; what was the newer file becomes the older one."""
        import torch

        write(self.file, lambda out: torch.save(dict(state), out), self.files[1])

    def resume(self, take: Callable[[dict[str, Any]], object]) -> bool:
        """Whether a state was there for `take`: the newest that can be read and that `take` does not refuse.

        One that is passed over is told of in a line and removed. Raises DamagedCheckpoint where none is left.
        """
        found = [file for file in self.files if file.exists()]
        for tried, file in enumerate(found):
            try:
                take(load(file))
            except Exception:  # a damaged file can make torch's reader, or a state dict, raise anything
                continue
            for damaged in found[:tried]:
                print(f"harness: {damaged}: damaged, going on from {file.name}", file=sys.stderr)
                damaged.unlink()  # else the next save would put it in the place of the one that is whole
            return True
        if found:
            names = " and ".join(map(str, found))
            raise DamagedCheckpoint(f"{names}: not a readable checkpoint, remove it to start again")
        return False

    def remove(self) -> None:
        """Take both files away."""
        for file in self.files:
            file.unlink(missing_ok=True)


def load(file: Path) -> dict[str, Any]:
    """A saved state; any error where the file is not as it was written: torch alone overlooks a changed bit."""
    import torch

    with zipfile.ZipFile(file) as held:
        if broken := held.testzip():
            raise ValueError(f"{file}: {broken} is damaged")
    state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
    return state


def shared(state: Any) -> Any:
    """The first rank's state on every rank of torch.distributed, on the CPU wherever it lay; read without pickle."""
    import torch
    from torch import distributed

    file = io.BytesIO()
    torch.save(state, file)
    sent = [file.getvalue()]
    distributed.broadcast_object_list(sent)
    return torch.load(io.BytesIO(sent[0]), weights_only=True, map_location="cpu")


# --- signals


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


def begin(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches one by one; a loader's processes start with all signals held back, until `leave_signals`."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        return iter(batches)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def leave_signals(worker: int) -> None:
    """In a loader's process: a signal to all of a job's processes is for the main one, which still needs the loader.

    A second SIGTERM ends the process, so that a main process that is gone or broken off can be rid of it.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
