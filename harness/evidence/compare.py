"""Two runs side by side: what differs in their settings, and in what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from tabulate import tabulate

from harness import plugins
from harness.experiment import parse
from harness.presets import PRESETS
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


def from_preset(settings: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the preset that a run's settings are nearest to, and field → value where they differ from it.

    The fields are named as --set takes them. Of a strategy from outside the checkout the fields are left out, since
    its defaults are not known without running its code.
    """
    options = {preset: changes(settings, preset) for preset in PRESETS}
    return min(options.items(), key=lambda option: len(option[1]))


def changes(settings: Mapping[str, Any], preset: str) -> dict[str, str]:
    """Return field → value where a run's settings differ from a preset's, with the run's strategy and benchmark."""
    strategy, benchmark = (flat(settings).get(f"{part}.name", "") for part in ("strategy", "benchmark"))
    base = preset_settings(preset, strategy, benchmark)
    own = strategy not in plugins.strategy_files()
    fields = {
        field.removeprefix("recipe.").removesuffix(".name"): value
        for field, value in flat(settings).items()
        if base.get(field) != value and field not in ("seed", "trial", "backbone", "strategy.name")
    }
    return {field: value for field, value in fields.items() if not (own and field.startswith("strategy."))}


@cache
def preset_settings(preset: str, strategy: str, benchmark: str) -> dict[str, str]:
    """Return a preset's settings as `flat` has them, with a strategy and a benchmark where the checkout has them."""
    name = strategy if strategy in plugins.strategy_files() else "random"
    line = ["--preset", preset, "--strategy", name]
    other = benchmark in plugins.benchmark_modules() and benchmark != PRESETS[preset].benchmark.name
    settings = parse([*line, *(["--benchmark", benchmark] if other else [])]).settings
    known = flat(json.loads(json.dumps(settings)))
    return {**known, "benchmark.name": PRESETS[preset].benchmark.name}


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
