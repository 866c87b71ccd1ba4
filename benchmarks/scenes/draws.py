"""Random whole numbers that no library's generator has a part in."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
WORD = 64  # bits of one random number


class Draws:
    """A stream of random whole numbers that begins with a key: SHA-256 of the key and of how many were drawn."""

    def __init__(self, *key: object) -> None:
        """Start at the first number; streams of other keys are independent."""
        self.key, self.drawn = "/".join(map(str, key)), 0

    def below(self, count: int) -> int:
        """Return one of 0, …, count - 1, equally likely to within count / 2⁶⁴."""
        digest = hashlib.sha256(f"{self.key}/{self.drawn}".encode()).digest()
        self.drawn += 1
        return int.from_bytes(digest[: WORD // 8], "big") * count >> WORD

    def between(self, low: int, high: int) -> int:
        """Return one of low, …, high."""
        return low + self.below(high - low + 1)

    def among(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in random order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in items]
