"""The lists at the end of the report: settings, runs, devices and versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.evidence import findings
from harness.evidence.compare import flat
from harness.evidence.rows import Row, trial_of
from harness.records import Record

Settings = dict[str, dict[str, str]]  # row → dotted setting → value
NOTES = "notes", "warnings", "remarks", "doubts"  # of a record; older ones have the last two
OURS = (  # settings that the paper leaves open (METHODS 14), by how their dotted names begin
    "recipe.epochs", "recipe.batch", "recipe.lr", "recipe.heads.", "recipe.similarity", "recipe.global_weight",
    "recipe.blur", "strategy.",
)  # fmt: skip


class Grid(NamedTuple):
    """A table of text, whose first cell in each line names the line."""

    caption: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    numeric: bool = True  # all cells but the first are aligned to the right


def settings_of(rows: Sequence[Row]) -> Settings:
    """Return the settings of every row that can be run: row, and which of several benchmarks → setting → value."""
    return {
        ", ".join([row.label, *([each["benchmark"]["name"]] if row.benchmarks else [])]): flat(each)
        for row in rows if not row.missing for each in row.settings
    }  # fmt: skip


def common(settings: Settings) -> dict[str, str]:
    """Return the settings that are the same in all rows."""
    first, *rest = [*settings.values()] or [{}]
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in rest)}


def shared(settings: Settings) -> Grid:
    """Return the settings that are the same in all rows, as lines."""
    return Grid("Settings that all rows share", ["setting", "value"],
                [*common(settings).items()], numeric=False)  # fmt: skip


def differing(settings: Settings) -> Grid:
    """Return the settings in which rows differ, a line for each row."""
    same = common(settings)
    lines = [[label, ", ".join(f"{name}={value}" for name, value in one.items() if name not in same)]
             for label, one in settings.items()]  # fmt: skip
    return Grid("Settings of each row beside these", ["row", "settings"], lines, numeric=False)


def choices(settings: Settings) -> Grid:
    """Return the values of the settings that the paper leaves open; where rows differ, which rows have which."""
    chosen: dict[str, dict[str, list[str]]] = {}
    for label, values in settings.items():
        for name, value in values.items():
            if name.startswith(OURS):
                chosen.setdefault(name, {}).setdefault(value, []).append(label.split(": ", 1)[1])
    lines = [[name, "; ".join(f"{value} ({', '.join(dict.fromkeys(labels))})" if len(values) > 1 else value
              for value, labels in values.items())] for name, values in sorted(chosen.items())]  # fmt: skip
    return Grid("Choices that the paper leaves open, and their values here", ["setting", "value"], lines, numeric=False)


def run_grid(runs: Sequence[Record], machines: Sequence[tuple[str, str]], counted: set[str]) -> Grid:
    """Return a line for each run."""
    scores = list(dict.fromkeys(name for run in runs for name in run.scores or {}))[:6]
    head = ["run", "counts", "seed", "trial", *scores, "status", "commit", "machine", "seconds", "data", "evaluated on"]
    lines = [
        [run.id, "yes" if run.id in counted else "no", *map(str, trial_of(run)[1:]),
         *(findings.decimals((run.scores or {}).get(name)) for name in scores), str(run.status), commit_of(run),
         letter(machines.index(machine_of(run))), seconds_of(run),
         *(str(run.fingerprint(part) or "–")[:12] for part in ("data", "benchmark_data"))] for run in runs
    ]  # fmt: skip
    return Grid("Every readable run; the letter stands for a line of devices and versions", head, lines)


def letter(place: int) -> str:
    """Return A, B, …, Z, AA, … for 0, 1, …"""
    rest, last = divmod(place, 26)
    return (letter(rest - 1) if rest else "") + chr(ord("A") + last)


def part_of(run: Record, name: str) -> Mapping[str, object]:
    """Return a part of a run's provenance, empty if it is not an object."""
    part = run.provenance.get(name)
    return part if isinstance(part, Mapping) else {}


def commit_of(run: Record) -> str:
    """Return twelve digits of the commit, and whether the code differed from it."""
    code = part_of(run, "code")
    return str(code.get("commit") or "–")[:12] + (" (changed)" if code.get("dirty") else "")


def machine_of(run: Record) -> tuple[str, str]:
    """Return the device, and all versions on one line."""
    versions = {name: version for name, version in part_of(run, "versions").items() if version}
    cuda = part_of(run, "machine").get("cuda")
    listed = [*(f"{name} {version}" for name, version in sorted(versions.items())), *([f"CUDA {cuda}"] if cuda else [])]
    return str(part_of(run, "machine").get("device", "–")), ", ".join(listed) or "–"


def seconds_of(run: Record) -> str:
    """Return the seconds of the pre-training and the benchmark together."""
    spent = [value for value in part_of(run, "seconds").values() if isinstance(value, int | float)]
    return f"{sum(spent):,.0f}" if spent else "–"


def lines_of(run: Record, key: str) -> list[str]:
    """Return the notes or warnings of the benchmark, a line each."""
    lines = run.provenance.get(key)
    return [f"{key}: {line}" for line in lines] if isinstance(lines, list) else []
