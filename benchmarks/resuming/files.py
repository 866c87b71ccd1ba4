"""Files that exist whole or not at all, and a lock that a killed process releases."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO


def destination(path: Path) -> Path:
    """Return the file that writing to a path makes or replaces: itself, or what it is a link to.

    Raises ValueError, which names the path, for a folder, a device, a pipe or a socket, which are never replaced, for
    links in a circle, and for a path through something that is no folder.
    """
    real = Path(os.path.realpath(path)) if path.is_symlink() else path
    if real.is_dir():
        raise ValueError(f"{path}: a folder, not a file")
    if real.exists() and not real.is_file():
        raise ValueError(f"{path}: a device, a pipe or a socket, not a file")
    if real.is_symlink():
        raise ValueError(f"{path}: links that lead in a circle")
    above = next(parent for parent in real.absolute().parents if parent.exists())
    if not above.is_dir():
        raise ValueError(f"{path}: {above} is a file, not a folder")
    return real


def write(path: Path, fill: Callable[[BinaryIO], object], older: Path | None = None) -> None:
    """Write a file atomically: `fill` writes a temporary sibling, which is forced to disk and then renamed.

    A file that was there becomes `older`, if that is given. Raises OSError, which names the path, if the disk is full
    or read-only, and ValueError for what is no file, as `destination` does.
    """
    path = destination(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with path_in_errors(path), open(part, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        if older and path.exists():
            path.replace(older)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def append(curve: Path, point: Mapping[str, object]) -> None:
    """Append a point to a curve of JSON lines, and wait until it is on the disk."""
    with path_in_errors(curve), open(destination(curve), "ab") as file:
        file.write(f"{json.dumps(point)}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def trim(curve: Path, name: str, end: int) -> None:
    """Remove the points whose number is not below `end`, which a killed run wrote after its checkpoint.

    Raises ValueError, which names the file, if it is not such a curve.
    """
    lines = curve.read_text(encoding="utf-8").splitlines(keepends=True) if curve.exists() else []
    try:
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)[name] < end]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{curve}: not a readable curve ({error})") from error
    write(curve, lambda out: out.write("".join(kept).encode()))


@contextmanager
def path_in_errors(path: Path) -> Iterator[None]:
    """Let an OSError of the block name the path, also where torch.save raises a RuntimeError for a failed write."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error


def write_json(path: Path, content: object) -> None:
    """Write sorted, indented JSON, so that two versions of it can be compared by line."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write(path, lambda file: file.write(f"{text}\n".encode()))


def link(source: Path, target: Path) -> None:
    """Link a file that nothing will change to another name, or copy it where the file system has no links."""
    destination(target)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        copy(source, target)


def copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all, into a folder that is made if need be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write(target, lambda file: file.write(source.read_bytes()))


def is_locked(file: Path) -> bool:
    """Return whether a process holds this lock now."""
    if not file.is_file():  # a pipe would be waited for
        return False
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
    """Hold a lock for the block, or raise ValueError(taken); the kernel releases the lock of a killed process."""
    with open(destination(file), "ab") as held:
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
    """Remove the files of a folder that match one of the patterns."""
    for pattern in patterns:
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)


def refuse_links(folder: Path) -> None:
    """Raise ValueError if a folder's name is not printable, or it or a file in it is a link out of its parent."""
    if not folder.name.isprintable():
        raise ValueError(f"{folder}: not a run's name")
    home = os.path.realpath(folder.parent)
    for path in chain((folder,), folder.iterdir()):
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):
            raise ValueError(f"{path}: a link that leads out of {folder.parent}")
