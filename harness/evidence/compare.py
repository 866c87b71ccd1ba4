"""Two runs side by side: which settings and which results differ; and a run beside its preset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from tabulate import tabulate

from harness import plugins
from harness.experiment import parse
from harness.presets import PRESETS
from harness.records import Record
from harness.settings import Json
from harness.tables import GAUGES
from harness.terminal import visible


def compare(first: Record, second: Record) -> str:
    """Return the settings that differ, the scores and gauges with their difference, and where the curves part."""
    parts = {
        "settings that differ": [
            [name, *values] for name, values in differences(first.settings, second.settings).items()
        ],
        "provenance that differs": [
            [name, *values] for name, values in differences(made(first.provenance), made(second.provenance)).items()
        ],
        "scores": number_lines(first.scores or {}, second.scores or {}),
        "gauges, means of the last epoch": number_lines(*(shown_gauges(run.gauges()) for run in (first, second))),
    }
    heads = ["", first.id, second.id, "difference"]
    blocks = [
        f"{title}:\n" + (tabulate(lines, heads[: len(lines[0])], disable_numparse=True) if lines else "  none")
        for title, lines in parts.items()
    ]
    return "\n\n".join([*blocks, first_difference(first, second)])


def made(provenance: Json) -> Json:
    """Return by which code and versions, on which device and from which data a run was made."""
    code, machine = (dict(provenance.get(part) or {}) for part in ("code", "machine"))
    numbers = [f"{number:.6g}" for number in code.pop("reference", [])]
    data = {part: (provenance.get(part) or {}).get("fingerprint", "–") for part in ("data", "benchmark_data")}
    return {
        "code": {**code, **({"reference": " ".join(numbers)} if numbers else {})},
        "versions": provenance.get("versions") or {},
        "device": machine.get("device", "–"),
        "cuda": machine.get("cuda", "–"),
        **data,
    }


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return dotted field → both values as text, of the fields that differ; a dash stands for a missing field."""
    left, right = flat(first), flat(second)
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
    """Return dotted field → value as text."""
    fields: dict[str, str] = {}
    for name, value in settings.items():
        field = prefix + visible(name)
        fields |= flat(value, f"{field}.") if isinstance(value, Mapping) else {field: visible(value)}
    return fields


def shown_gauges(measured: Mapping[str, float]) -> dict[str, float]:
    """Return the numbers of a pre-training by the names and in the units of GAUGES; others, as the loss, stay."""
    known = {column.name: column for column in GAUGES}
    scaled = {name: value * known[name].scale if name in known else value for name, value in measured.items()}
    return {known[name].axis if name in known else name: value for name, value in scaled.items()}


def number_lines(first: Mapping[str, float], second: Mapping[str, float]) -> list[list[str]]:
    """Return a line for every number that both have: its values, and the second minus the first."""
    pairs = {visible(name): (first[name], second[name]) for name in first if name in second}
    return [[name, f"{mine:.4g}", f"{its:.4g}", f"{its - mine:+.4g}"] for name, (mine, its) in pairs.items()]


def first_difference(first: Record, second: Record) -> str:
    """Return the first step at which the curves of the pre-trainings differ, as text."""
    pairs = list(zip(first.curve, second.curve, strict=False))
    if not pairs:
        return "curves: none to compare"
    step = next((a["step"] for a, b in pairs if a != b), None)
    return f"curves: {'the same' if step is None else f'part at step {step}'}"
