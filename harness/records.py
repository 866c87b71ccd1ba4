"""Records of runs: one folder each, written under sacred's eyes (observers.py), read back with nothing but json.

config.json   every setting (sacred)            run.json         status, times (sacred)
scores.json   written last and atomically: a run without it does not count
provenance.json   commit, versions, device, data, durations     curve.jsonl   the pre-training's curve
backbone.pth  the product (not kept in git)     detection.*      the benchmark's curve, settings and log
"""

from __future__ import annotations

import json
import shlex
import statistics
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

WHERE = ("step", "epoch", "lr")  # columns of a curve that are no measurements


@dataclass(frozen=True)
class Record:
    """One run as its folder tells it."""

    folder: Path
    settings: dict[str, Any]
    scores: dict[str, float] | None  # None: not finished
    status: str  # sacred's: RUNNING, COMPLETED, INTERRUPTED, FAILED

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @cached_property
    def curve(self) -> list[dict[str, Any]]:
        """The points of its pre-training, read once; empty where nothing was trained."""
        return read_curve(self.folder)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Commit, versions, device, data and durations, read once; empty where nothing tells."""
        file = self.folder / "provenance.json"
        return read_json(file) if file.exists() else {}

    def fingerprint(self, part: str) -> str | None:
        """Of the data that it learnt from (data) or was judged on (benchmark_data); None where nothing tells."""
        found: str | None = self.provenance.get(part, {}).get("fingerprint")
        return found

    def gauges(self) -> dict[str, float]:
        """The pre-training's gauges, each the mean over its last epoch; empty where nothing was trained."""
        last = [point for point in self.curve if point["epoch"] == self.curve[-1]["epoch"]]
        measured = {name: [point[name] for point in last if point[name] is not None] for name in (last or [{}])[0]}
        return {name: statistics.fmean(values) for name, values in measured.items() if values and name not in WHERE}


def read(folder: Path) -> Record:
    """One record; ValueError names the file that cannot be read."""
    settings, run = read_json(folder / "config.json"), read_json(folder / "run.json")
    finished = (folder / "scores.json").exists()
    scores = read_json(folder / "scores.json") if finished else None
    status = run.get("status", "RUNNING")
    if finished != (status == "COMPLETED"):  # a kill came between sacred's last word and ours
        status = "COMPLETED" if finished else "RUNNING"
    return Record(folder, {"trial": 0, **settings}, scores, status)


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The points of a run's pre-training; empty where nothing was trained."""
    return read_lines(folder / "curve.jsonl")


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The points of a curve, a torn last line left out; ValueError names a curve that is none."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
    try:
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except ValueError as error:
        raise ValueError(f"{file}: not a readable curve ({error})") from error


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file; ValueError names the file that holds something else."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: not a readable record ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: not a readable record (no JSON object)")
    return content


def read_all(results: Path) -> tuple[list[Record], list[str]]:
    """Every readable record under results/runs, and one line for each folder that is not one.

    A run that has only just begun, whose settings are not written yet, is neither.
    """
    records, broken = [], []
    runs = results / "runs"
    for folder in sorted(runs.iterdir()) if runs.is_dir() else []:
        if folder.is_dir() and not folder.name.startswith(".") and not beginning(folder):
            try:
                records.append(read(folder))
            except ValueError as error:
                broken.append(str(error))
    return records, broken


def beginning(folder: Path) -> bool:
    """Whether a run's settings, the second file that sacred writes, are still to come, or were when it was killed."""
    return not any((folder / name).exists() for name in ("config.json", "scores.json"))


def find(results: Path, name: str) -> Record:
    """The record whose folder's name is, or alone begins with, the given one."""
    runs = results / "runs"
    names = sorted(folder.name for folder in runs.iterdir() if folder.is_dir()) if runs.is_dir() else []
    if matches := [one for one in names if one == name] or [one for one in names if name and one.startswith(name)]:
        if len(matches) == 1:
            return read(runs / matches[0])
        raise ValueError(f"run {name!r} may be any of {', '.join(matches)}")
    raise ValueError(
        f"no run {name!r} in {runs}: " + (f"choose from {', '.join(names)}" if names else "there are none")
    )


def weights_of(record: Record, *names: str) -> tuple[Path, ...]:
    """The run's files of these names; ValueError says which one is missing and what makes it."""
    found = tuple(record.folder / name for name in names)
    for file in found:
        if not file.exists():
            raise ValueError(
                f"run {record.id} has no {file.name} here, since weights are not kept in git: make it with"
                f" `{command_of(record)} --results weights`, then give this command --results weights"
            )
    return found


def command_of(record: Record) -> str:
    """The command that makes the run, as its record has it."""
    line = record.provenance.get("command", [])
    strategy, seed = (str(record.settings.get(name, name.upper())) for name in ("strategy", "seed"))
    wanted = ["harness", "run", "--strategy", strategy, "--seed", seed]
    return shlex.join(line if line[:2] == ["harness", "run"] else wanted)
