"""States of some work in files, from which it goes on."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.resuming.files import write

CHECKPOINT_EVERY = 60.0  # seconds


class DamagedCheckpoint(ValueError):
    """No checkpoint of some work can be read, in one line."""


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


def broadcast(state: Any) -> Any:
    """Return rank 0's state on every rank of torch.distributed, its tensors on the CPU; it is read without pickle."""
    import torch
    from torch import distributed

    file = io.BytesIO()
    torch.save(state, file)
    sent = [file.getvalue()]
    distributed.broadcast_object_list(sent)
    return torch.load(io.BytesIO(sent[0]), weights_only=True, map_location="cpu")
