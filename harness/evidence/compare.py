"""Two runs side by side: what differs in their settings, and in what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from harness.records import Record, visible


def compare(one: Record, other: Record) -> str:
    """The settings that differ, the scores and gauges with their difference, and where the curves part."""
    parts = {
        "settings that differ": [[name, *values] for name, values in differences(one.settings, other.settings).items()],
        "scores": numbers(one.scores or {}, other.scores or {}),
        "gauges, means of the last epoch": numbers(one.gauges(), other.gauges()),
    }
    heads = ["", one.id, other.id, "difference"]
    blocks = [
        f"{title}:\n" + (tabulate(lines, heads[: len(lines[0])], disable_numparse=True) if lines else "  none")
        for title, lines in parts.items()
    ]
    return "\n\n".join([*blocks, parting(one, other)])


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Dotted field → both values as text, of the fields that differ; a field that one side lacks is a dash there."""
    left, right = flat(one), flat(other)
    names = [*left, *(name for name in right if name not in left)]
    pairs = {name: (left.get(name, "–"), right.get(name, "–")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted field → value as text."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        field = prefix + visible(name)
        found |= flat(value, f"{field}.") if isinstance(value, Mapping) else {field: visible(value)}
    return found


def numbers(one: Mapping[str, float], other: Mapping[str, float]) -> list[list[str]]:
    """A line for every number that both have: its values and the second less the first."""
    pairs = {visible(name): (one[name], other[name]) for name in one if name in other}
    return [[name, f"{mine:.4g}", f"{its:.4g}", f"{its - mine:+.4g}"] for name, (mine, its) in pairs.items()]


def parting(one: Record, other: Record) -> str:
    """The first step at which the pre-trainings measured different things."""
    pairs = list(zip(one.curve, other.curve, strict=False))
    if not pairs:
        return "curves: none to compare"
    step = next((a["step"] for a, b in pairs if a != b), None)
    return f"curves: {'the same' if step is None else f'part at step {step}'}"
