"""JSON that others may have written: finite numbers, integers of 64 bits, few levels, and each field of its type."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

DEEPEST = 20  # levels of a record's content; ours have five


def read_object(file: Path, form: Mapping[Any, Any] | None = None) -> dict[str, Any]:
    """Return the JSON object in a file; ValueError names a file that holds something else, or a field of another form.

    form is as in `fits`.
    """
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise ValueError("no file")
        content: dict[str, Any] = decode(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: not a readable record ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: not a readable record (no JSON object)")
    return checked(file, content, form)


def checked(file: Path, content: dict[str, Any], form: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Return a file's content; ValueError names a field of another form."""
    if odd := [name for name in content if not fits({name: content[name]}, form)]:
        raise ValueError(f"{file}: not a readable record ({odd[0]} is not what it should be)")
    return content


def read_lines(file: Path, read: Callable[[str], Any] = json.loads) -> list[dict[str, Any]]:
    """Return the points of a curve, without a torn last line; ValueError names a file that is no curve."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
        return [read(line) for line in lines if line.endswith("\n")]
    except ValueError as error:
        raise ValueError(f"{file}: not a readable curve ({error})") from error


def decode(text: str) -> Any:
    """Return JSON content; ValueError for a number that is not finite or beyond 64 bits, and for too many levels."""
    try:
        content = json.loads(text, parse_constant=refuse_number, parse_float=finite, parse_int=integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if is_deep(content, DEEPEST):
        raise ValueError("nested too deeply")
    return content


def refuse_number(text: str) -> NoReturn:
    """Raise ValueError for a number that no record has: NaN, infinity, or one out of range."""
    raise ValueError(f"{text[:20]} is no number of a record")


def finite(text: str) -> float:
    """Return a number with a fraction or an exponent."""
    value = float(text)
    return value if abs(value) <= sys.float_info.max else refuse_number(text)


def integer(text: str) -> int:
    """Return an integer of 64 bits."""
    value = int(text)
    return value if abs(value) < 2**63 else refuse_number(text)


def is_deep(content: Any, levels: int) -> bool:
    """Return whether JSON content has more levels than this."""
    return levels < 0 or any(is_deep(child, levels - 1) for child in children(content))


def children(content: Any) -> Iterator[Any]:
    """Yield the items of a JSON list or the values of a JSON object."""
    yield from content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()


def fits(content: Any, form: Any) -> bool:
    """Return whether JSON content has a form.

    A form is {name: form, ...: form of all other names}, [form of every item], a tuple of types, or None for anything.
    """
    if isinstance(form, Mapping):
        others = form.get(...)
        return isinstance(content, dict) and all(fits(part, form.get(name, others)) for name, part in content.items())
    if isinstance(form, list):
        return isinstance(content, list) and all(fits(item, form[0]) for item in content)
    return form is None or type(content) in form
