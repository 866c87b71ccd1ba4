"""What a terminal shows: errors on one line, short paths, and text of records that cannot command the terminal."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

WIDTH = 80  # columns


class Listing(ValueError):
    """Error that ends with what may be chosen, which a terminal shows one a line if one line would be too long."""

    def __init__(self, message: str, choices: Iterable[str] = ()) -> None:
        self.message, self.choices = message, tuple(choices)
        super().__init__(f"{message} {', '.join(self.choices)}" if self.choices else message)


class Traced(ValueError):
    """Error in code of the user's, with the lines of that code that led to it, below the message."""

    def __init__(self, message: str, frames: Iterable[str]) -> None:
        self.message, self.frames = message, tuple(frames)
        super().__init__("\n  ".join([message, *self.frames]))


def report(error: Exception) -> None:
    """Print an error on stderr: on one line, or, if that has no room for a choice, each choice below on its own."""
    line = f"harness: {one_line(error)}"
    if isinstance(error, Traced):
        line = "\n  ".join([f"harness: {visible(error.message)}", *map(visible, error.frames)])
    if isinstance(error, Listing) and len(line) > WIDTH and error.choices:
        choices = [fold(f"  {visible(choice)}") for choice in error.choices]
        line = "\n".join([f"harness: {visible(error.message)}", *choices])
    print(line, file=sys.stderr)


def one_line(error: Exception) -> str:
    """Return an error's message on one line; for a system error, the file and what is wrong with it."""
    if isinstance(error, OSError) and error.strerror:
        return visible(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    return visible(" ".join(str(error).split()))


def say(text: str) -> None:
    """Print text that may quote a record, with every control character made visible."""
    print("\n".join(map(visible, text.split("\n"))))


def suggest(*lines: str) -> None:
    """Print what may be typed next, if somebody reads it on a terminal."""
    if sys.stdout.isatty():
        print("\n".join(f"{'next:' if number == 0 else '     '} {line}" for number, line in enumerate(lines)))


def fold(text: str) -> str:
    """Return a long line on lines of at most 80 columns, of which all but the first are indented."""
    return textwrap.fill(text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def shown(path: Path) -> Path:
    """Return a path relative to the working folder if it lies inside it, else as it is."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def visible(text: object) -> str:
    """Return text on one line, with every character escaped that would command a terminal (colours, new lines, …)."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(text))
