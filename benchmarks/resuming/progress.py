"""Progress of long work: a bar on a terminal; elsewhere, as in the log file of a job, a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Generic, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
SOONEST, LATEST = 15.0, 300.0  # seconds from one line to the next


class Progress(Generic[Item]):
    """Progress of work that counts its units, or of a loop over items, of which each is one.

    Without a terminal, stderr has a line for each tenth of the work, at least one in 5 minutes, and none within 15
    seconds of another, so that short work is silent.
    """

    def __init__(
        self, what: str, unit: str, total: int, done: int = 0, shown: bool = True, items: Iterable[Item] = ()
    ) -> None:
        self.what, self.unit, self.total, self.done, self.items = what, unit, total, done, items
        self.bar = tqdm(total=total, initial=done, desc=what, unit=unit, disable=None if shown else True)
        self.prints = shown and bool(self.bar.disable)  # since stderr is no terminal
        self.facts = ""
        self.first, self.begun = done, time.monotonic()
        self.printed, self.tenth = self.begun, 10 * done // max(1, total)

    def __enter__(self) -> Progress[Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[Item]:
        for item in self.items:
            yield item
            self.advance()

    def note(self, facts: str) -> None:
        """Show this text, such as the loss, from the next unit on."""
        self.facts = facts
        self.bar.set_postfix_str(facts, refresh=False)

    def advance(self, units: int = 1) -> None:
        """Count units of the work that are done."""
        self.done += units
        self.bar.update(units)
        since, tenth = time.monotonic() - self.printed, 10 * self.done // self.total
        if self.prints and (since >= LATEST or (since >= SOONEST and tenth > self.tenth)):
            print(self.line(), file=sys.stderr, flush=True)
            self.printed, self.tenth = time.monotonic(), tenth

    def line(self) -> str:
        """Return how far the work is, what was noted, its speed since it began here, and the time that is left."""
        speed = (self.done - self.first) / max(1e-9, time.monotonic() - self.begun)
        left = timedelta(seconds=round((self.total - self.done) / speed))
        where = f"{self.what}: {self.done:,} of {self.total:,} {self.unit} ({100 * self.done // self.total} %)"
        return ", ".join([where, *([self.facts] if self.facts else []), f"{speed:,.1f} {self.unit}/s", f"{left} left"])
