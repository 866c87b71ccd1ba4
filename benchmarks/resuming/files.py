"""Files that are there whole or not at all, and a lock that a kill opens."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


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


def append(curve: Path, point: Mapping[str, Any]) -> None:
    """Append a point to a curve of JSON lines; when this returns, it is on the disk."""
    with named(curve), open(curve, "ab") as file:
        file.write(f"{json.dumps(point)}\n".encode())
        file.flush()
        os.fsync(file.fileno())


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


def is_locked(file: Path) -> bool:
    """Return whether a process holds this lock now."""
    try:
        with open(file, "rb") as tried:
            fcntl.flock(tried, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # no lock, or a file system that has none
    return False


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
