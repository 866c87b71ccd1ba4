"""What is wrong with a data set: every flaw is collected before it is refused, and what could be mended is counted."""

from collections.abc import Iterator
from contextlib import contextmanager

NAMED = 10  # flaws in a message


class DataError(ValueError):
    """A data set that cannot be used; the message names the files and what is wrong with them, in one line."""

    def __init__(self, *flaws: str) -> None:
        more = f"; and {len(flaws) - NAMED:,} more" if len(flaws) > NAMED else ""
        count = f"{len(flaws):,} flaws: " if len(flaws) > 1 else ""
        super().__init__(count + "; ".join(flaws[:NAMED]) + more)
        self.flaws = flaws


class Findings:
    """The flaws of a data set, and how often each kind of small flaw was mended."""

    def __init__(self, strict: bool = False) -> None:
        """With `strict` nothing is mended: a small flaw is refused like any other."""
        self.strict = strict
        self.flaws: list[str] = []
        self.counts: dict[str, int] = {}

    def mend(self, kind: str, flaw: str) -> None:
        """Count a flaw of a kind that was mended; if strict, keep it as a flaw."""
        if self.strict:
            self.flaws.append(flaw)
        else:
            self.counts[kind] = self.counts.get(kind, 0) + 1

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep the flaws that a DataError of this block names, so that the reader goes on to the next part."""
        try:
            yield
        except DataError as error:
            self.flaws += error.flaws

    @property
    def mended(self) -> tuple[str, ...]:
        """A line for each kind of flaw that was mended, with its count."""
        return tuple(f"mended: {count:,} {kind}" for kind, count in self.counts.items())
