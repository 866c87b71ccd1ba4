"""Checkpoints: the state of some work in a file, and the state before it in a second one."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from benchmarks.resuming.files import write

State: TypeAlias = dict[str, Any]  # of some work, in what torch saves without pickling classes
Content = TypeVar("Content")

CHECKPOINT_EVERY = 60.0  # seconds


class DamagedCheckpoint(ValueError):
    """Checkpoints of which none can be read, named in one line."""


@dataclass(frozen=True)
class Checkpoint:
    """The newest state of some work in a file, and in a second file the state that was saved before it."""

    file: Path

    @property
    def files(self) -> tuple[Path, Path]:
        """The newer and the older file; a kill may leave the older one alone."""
        return self.file, self.file.with_stem(f"{self.file.stem}-before")

    def save(self, state: Mapping[str, object]) -> None:
        """Write a state atomically; the newer file becomes the older one."""
        import torch

        write(self.file, lambda out: torch.save(dict(state), out), self.files[1])

    def resume(self, take: Callable[[State], object]) -> bool:
        """Hand the newest readable state to `take` and return whether there was any.

        A file that cannot be read, or that `take` raises an error for, is reported in one line and removed if the other
        one is good; if none is good, raises DamagedCheckpoint.
        """
        existing = [file for file in self.files if file.exists()]
        for tried, file in enumerate(existing):
            try:
                take(load(file))
            except Exception:  # a damaged file can make torch's reader, or a state dict, raise anything
                continue
            for damaged in existing[:tried]:
                print(f"harness: {damaged}: damaged, going on from {file.name}", file=sys.stderr)
                damaged.unlink()  # else the next save would replace the good one by it
            return True
        if existing:
            names = " and ".join(map(str, existing))
            raise DamagedCheckpoint(f"{names}: not a readable checkpoint, remove it to start again")
        return False

    def remove(self) -> None:
        """Remove both files."""
        for file in self.files:
            file.unlink(missing_ok=True)


def load(file: Path) -> State:
    """Return a saved state; raise any error if the file has changed: torch itself overlooks a changed bit."""
    import torch

    with zipfile.ZipFile(file) as archive:
        if broken := archive.testzip():
            raise ValueError(f"{file}: {broken} is damaged")
    state: State = torch.load(file, weights_only=True, map_location="cpu")
    return state


def broadcast(state: Content) -> Content:
    """Return rank 0's state on every rank of torch.distributed, its tensors on the CPU; it is read without pickle."""
    import torch
    from torch import distributed

    file = io.BytesIO()
    torch.save(state, file)
    sent = [file.getvalue()]
    distributed.broadcast_object_list(sent)
    received: Content = torch.load(io.BytesIO(sent[0]), weights_only=True, map_location="cpu")
    return received
