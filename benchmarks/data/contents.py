"""What files contain, as their hashes: computed by several threads and remembered, so that a second look reads none."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

BY_CONTENT = "content-"  # how a fingerprint begins that covers what files contain, not their names and sizes alone
MEMORY = "files.sqlite"  # of a cache's folder
THREADS = 16  # a disk answers several requests at once
CHUNK = 50_000  # files that are looked up at once
BATCH = 512  # files after which what was computed is on the disk
SETTLED = 2e9  # ns after which a file that changes again has another time, whatever the file system's resolution
TABLE = "CREATE TABLE IF NOT EXISTS facts (kind TEXT, path BLOB, state TEXT, fact TEXT, PRIMARY KEY (kind, path))"


def hashes(files: Sequence[Path], cache: Path | None) -> list[str]:
    """Return the SHA-256 of each file's bytes; those that the folder `cache` remembers are not read."""
    return facts(files, cache, "sha256", content_hash)


def content_hash(file: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def facts(files: Sequence[Path], cache: Path | None, kind: str, compute: Callable[[Path], str]) -> list[str]:
    """Return what `compute` says of each file, in order; many files show their progress.

    A fact is remembered in the folder `cache` under its kind and is computed anew once the file's path, size, time of
    change or inode differ. An empty one is not remembered, nor that of a file that has changed only just now.
    """
    with memory(cache) as known:
        here = os.getcwd()
        keys = [(os.fsencode(os.path.join(here, file)), state(file)) for file in files]
        found = [fact for start in range(0, len(keys), CHUNK) for fact in remembered(known, kind, keys[start:][:CHUNK])]
        missing = [number for number, fact in enumerate(found) if not fact]
        for part in in_batches(missing, f"{kind} of files"):
            with ThreadPoolExecutor(THREADS) as pool:
                new = dict(zip(part, pool.map(compute, (files[number] for number in part)), strict=True))
            for number, fact in new.items():
                found[number] = fact
            rows = [(kind, *keys[number], fact) for number, fact in new.items() if fact and is_settled(files[number])]
            with suppress(sqlite3.Error), known:  # a full disk: it is computed again next time
                known.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)
    return found


def remembered(known: sqlite3.Connection, kind: str, keys: Sequence[tuple[bytes, str]]) -> Iterator[str]:
    """Yield the fact that is known of each path and state, or an empty text."""
    paths = [path for path, _ in keys]  # one range of a sorted table is read several times as fast as single rows
    query = "SELECT path, state, fact FROM facts WHERE kind = ? AND path BETWEEN ? AND ?"
    table = {path: (its, fact) for path, its, fact in known.execute(query, (kind, min(paths), max(paths)))}
    for path, state in keys:
        its, fact = table.get(path, ("", ""))
        yield fact if its == state else ""


def in_batches(numbers: Sequence[int], title: str) -> Iterator[Sequence[int]]:
    """Yield the numbers in batches; show the progress if there is more than one batch."""
    from benchmarks.resuming.progress import Progress  # which the command line need not wait for

    with Progress[None](title, "files", len(numbers), shown=len(numbers) > BATCH) as progress:
        for start in range(0, len(numbers), BATCH):
            part = numbers[start : start + BATCH]
            yield part
            progress.advance(len(part))


def state(file: Path) -> str:
    """Return what differs once a file has been written again."""
    status = os.stat(file)
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def is_settled(file: Path) -> bool:
    """Return whether the next change of a file will have another time than the last one."""
    return time.time_ns() - os.stat(file).st_mtime_ns > SETTLED


@contextmanager
def memory(cache: Path | None) -> Iterator[sqlite3.Connection]:
    """Yield the facts that a folder remembers; none, which are not kept, where it cannot be written or read."""
    try:
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)
        connection = opened(":memory:" if cache is None else cache / MEMORY)
    except (OSError, sqlite3.Error):
        connection = opened(":memory:")
    with closing(connection):
        yield connection


def opened(file: Path | str) -> sqlite3.Connection:
    """Return an opened table of facts; sqlite3.Error for a file that is none."""
    connection = sqlite3.connect(file, timeout=60)  # seconds to wait for another process
    try:
        connection.execute(TABLE)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
