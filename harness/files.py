"""Files that are there whole or not at all, and a lock that a kill opens."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.resume import write

__all__ = ["link", "lock", "sweep", "write", "write_json"]


def write_json(path: Path, content: Any) -> None:
    """Write sorted, indented JSON, so that two versions of it can be compared by line."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write(path, lambda file: file.write(f"{text}\n".encode()))


def link(source: Path, target: Path) -> None:
    """Give a file that nothing changes another name, or a copy where the disk has no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        write(target, lambda file: file.write(source.read_bytes()))


@contextmanager
def lock(file: Path, taken: str) -> Iterator[None]:
    """The block runs in one process at a time, else ValueError says `taken`; the kernel opens a killed one's lock."""
    with open(file, "ab") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(taken) from None
        except OSError:
            pass  # a file system that has no locks
        if not (file.exists() and os.path.samestat(os.fstat(held.fileno()), file.stat())):
            raise ValueError(taken)  # its holder ended and removed it since it was opened here
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def sweep(folder: Path, *patterns: str) -> None:
    """Remove the files of these patterns."""
    for pattern in patterns:
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)
