"""The report's lists of settings, runs, devices and versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.evidence import claims
from harness.evidence.compare import flat
from harness.evidence.rows import Row, seedless, trial_of
from harness.evidence.rows import settings_of as record_of
from harness.records import Record

Settings = dict[str, dict[str, str]]  # row → dotted setting → value
NOTES = "notes", "warnings", "remarks", "doubts"  # of a record; older ones have the last two
OURS = (  # settings that the paper leaves open (METHODS 14) and the recipe decides: how a dotted name begins
    "recipe.epochs", "recipe.batch", "recipe.lr", "recipe.heads.", "recipe.similarity", "recipe.global_weight",
    "recipe.blur", "strategy.",
)  # fmt: skip


class Grid(NamedTuple):
    """A table of text: the first cell of each line names it."""

    caption: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    numeric: bool = True  # all cells but the first stand right


def settings_of(rows: Sequence[Row]) -> Settings:
    """Row → dotted setting → value, of the rows that can be run."""
    can = [row for row in rows if not row.missing]
    return {row.label: flat(seedless(record_of(row.words))) for row in can}


def common(settings: Settings) -> dict[str, str]:
    """The settings that all rows have alike."""
    first, *rest = [*settings.values()] or [{}]
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in rest)}


def shared(settings: Settings) -> Grid:
    """The settings of every row."""
    return Grid("Settings that all rows share", ["setting", "value"],
                [*common(settings).items()], numeric=False)  # fmt: skip


def differing(settings: Settings) -> Grid:
    """What each row has of its own."""
    alike = common(settings)
    lines = [[label, ", ".join(f"{name}={value}" for name, value in one.items() if name not in alike)]
             for label, one in settings.items()]  # fmt: skip
    return Grid("Settings of each row beside these", ["row", "settings"], lines, numeric=False)


def choices(settings: Settings) -> Grid:
    """Of the settings that the paper leaves open the values here; with several, the rows that have each."""
    found: dict[str, dict[str, list[str]]] = {}
    for label, its in settings.items():
        for name, value in its.items():
            if name.startswith(OURS):
                found.setdefault(name, {}).setdefault(value, []).append(label.split(": ", 1)[1])
    lines = [[name, "; ".join(f"{value} ({', '.join(dict.fromkeys(labels))})" if len(values) > 1 else value
              for value, labels in values.items())] for name, values in sorted(found.items())]  # fmt: skip
    return Grid("Choices that the paper leaves open, and their values here", ["setting", "value"], lines, numeric=False)


def run_grid(runs: Sequence[Record], machines: Sequence[tuple[str, str]], counted: set[str]) -> Grid:
    """Every run."""
    scores = list(dict.fromkeys(name for run in runs for name in run.scores or {}))[:6]
    head = ["run", "counts", "seed", "trial", *scores, "status", "commit", "machine", "seconds", "data", "judged on"]
    lines = [
        [run.id, "yes" if run.id in counted else "no", *map(str, trial_of(run)),
         *(claims.number((run.scores or {}).get(name)) for name in scores), str(run.status), commit_of(run),
         letter(machines.index(machine_of(run))), seconds_of(run),
         *(str(run.fingerprint(part) or "–")[:12] for part in ("data", "benchmark_data"))] for run in runs
    ]  # fmt: skip
    return Grid("Every readable run; the letter stands for a line of devices and versions", head, lines)


def letter(place: int) -> str:
    """A, B, …, Z, then AA and on."""
    rest, last = divmod(place, 26)
    return (letter(rest - 1) if rest else "") + chr(ord("A") + last)


def part_of(run: Record, name: str) -> Mapping[str, Any]:
    """A part of a run's provenance, empty where it is none."""
    found = run.provenance.get(name)
    return found if isinstance(found, Mapping) else {}


def commit_of(run: Record) -> str:
    """Twelve digits of the commit, and whether the code differed from it."""
    code = part_of(run, "code")
    return str(code.get("commit") or "–")[:12] + (" (changed)" if code.get("dirty") else "")


def machine_of(run: Record) -> tuple[str, str]:
    """The device, and all versions on one line."""
    versions = {name: version for name, version in part_of(run, "versions").items() if version}
    cuda = part_of(run, "machine").get("cuda")
    listed = [*(f"{name} {version}" for name, version in sorted(versions.items())), *([f"CUDA {cuda}"] if cuda else [])]
    return str(part_of(run, "machine").get("device", "–")), ", ".join(listed) or "–"


def seconds_of(run: Record) -> str:
    """Of the pre-training and the benchmark together."""
    spent = [value for value in part_of(run, "seconds").values() if isinstance(value, int | float)]
    return f"{sum(spent):,.0f}" if spent else "–"


def told(run: Record, key: str) -> list[str]:
    """Return the benchmark's notes or warnings."""
    found = run.provenance.get(key)
    return [f"{key}: {line}" for line in found] if isinstance(found, list) else []
