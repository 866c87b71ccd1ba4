"""Which runs fill the rows of a table: those whose recorded settings equal the row's, on the same data."""

from __future__ import annotations

import json
import shlex
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.evidence.compare import differences
from harness.experiment import parse
from harness.records import Record
from harness.tables import Column, named, own_rows


@dataclass(frozen=True)
class Row:
    """One row as far as it is known."""

    label: str
    control: bool
    words: str  # of `harness run`
    reported: dict[str, float]  # the paper's, empty for a control
    runs: tuple[Record, ...]  # finished, of the row's settings: fine-tuning trials of pre-training seeds
    missing: str | None  # why it cannot be run at all

    @property
    def n(self) -> int:
        """Pre-training seeds that count."""
        return len({run.settings["seed"] for run in self.runs})

    def seeds(self, column: Column) -> dict[int, list[float]]:
        """Pre-training seed → the column's value of each of its trials, of the runs that have it."""
        found: dict[int, list[float]] = {}
        for run in self.runs:
            source = run.gauges() if column.gauge else run.scores or {}
            if column.name in source:
                found.setdefault(run.settings["seed"], []).append(source[column.name])
        return found

    def values(self, column: Column) -> list[float]:
        """The column's value of every run that has it."""
        return [value for trials in self.seeds(column).values() for value in trials]

    def spread(self, column: Column) -> tuple[float, float | None] | None:
        """Mean of the seeds' means and their standard deviation, of one seed its trials'; None without a value."""
        seeds = [*self.seeds(column).values()]
        if not seeds:
            return None
        means = [statistics.fmean(trials) for trials in seeds]
        varied = means if len(seeds) > 1 else seeds[0]
        return statistics.fmean(means), statistics.stdev(varied) if len(varied) > 1 else None

    @property
    def count(self) -> str:
        """Seeds, with more than one trial of any × fewest to most trials of a seed."""
        counts = sorted(Counter(run.settings["seed"] for run in self.runs).values()) or [0]
        trials = f"{counts[0]}–{counts[-1]}" if counts[0] < counts[-1] else f"{counts[0]}"
        return f"{self.n}×{trials}" if counts[-1] > 1 else f"{self.n}"


def fill_rows(name: str, extra: Sequence[str], records: Sequence[Record], own: Sequence[str] = ()) -> list[Row]:
    """Return the rows of a table, with rows of the user's own, each LABEL=OPTIONS, before the controls.

    The extra options, such as --preset study, are added to those of every row. Raises ValueError where they mean
    nothing to `location`, which is in every table, and for a row of the user's own that cannot be run.
    """
    parse(["--strategy", "location", *extra])
    table = named(name)
    added = own_rows(table, own)
    for line in added.values():
        parse([*shlex.split(line), *extra])
    lines = {**table.rows, **added, **table.controls}
    return alike(
        [
            fill_row(label, label in table.controls, line, extra, records, table.reported)
            for label, line in lines.items()
        ]
    )


def fill_row(
    label: str,
    control: bool,
    line: str,
    extra: Sequence[str],
    records: Sequence[Record],
    reported: dict[str, dict[str, float]],
) -> Row:
    """One row with the finished runs whose recorded settings are those of its words, whatever their seed."""
    full = shlex.join([*shlex.split(line), *extra])
    try:
        wanted = seedless(settings_of(full))
    except ValueError as error:
        return Row(label, control, full, reported.get(label, {}), (), missing=str(error).split(": ")[0])
    known = [record for record in records if record.scores and "seed" in record.settings]
    matching = [record for record in known if seedless(record.settings) == wanted]
    found = {trial_of(record): record for record in reversed(matching)}  # of a copied record the first by name
    runs = tuple(record for record in matching if found[trial_of(record)] is record)
    return Row(label, control, full, reported.get(label, {}), runs, missing=None)


def trial_of(record: Record) -> tuple[int, int]:
    """Pre-training seed and fine-tuning trial: two records of one row that share both are the same run."""
    return record.settings["seed"], record.settings["trial"]


def alike(found: list[Row]) -> list[Row]:
    """The rows without the runs that learnt from, or were judged on, other data than most of the table's."""
    for part in ("data", "benchmark_data"):
        prints = Counter(run.fingerprint(part) for row in found for run in row.runs)
        del prints[None]
        for other, _ in prints.most_common()[1:]:
            found = [
                replace(row, runs=tuple(run for run in row.runs if run.fingerprint(part) != other)) for row in found
            ]
    return found


def left_out(found: Sequence[Row], records: Sequence[Record]) -> list[str]:
    """One line for every run that fills no row: what keeps it from the row that it is nearest to."""
    counted = {run.folder for row in found for run in row.runs}
    settings = {row.label: settings_of(row.words) for row in found if not row.missing}
    lines = []
    for record in records:
        if record.folder not in counted:
            options = {
                name: differences(seedless(record.settings), seedless(wanted)) for name, wanted in settings.items()
            }
            label, nearest = min(options.items(), key=lambda option: len(option[1]))
            reasons = [f"{field}={mine}, not {wanted}" for field, (mine, wanted) in nearest.items()]
            lines.append(f"{record.id} is no {label}: {'; '.join(reasons) or unequal(record, found)}")
    return lines or ["Every run counts."]


def unequal(record: Record, found: Sequence[Row]) -> str:
    """What keeps a run of a row's settings out of it."""
    if not record.scores:
        return f"it is {record.status}, not finished"
    parts = {part: {run.fingerprint(part) for row in found for run in row.runs} for part in ("data", "benchmark_data")}
    others = [part for part, prints in parts.items() if record.fingerprint(part) not in prints]
    if others:
        return "; ".join(f"its {part} is not that of most runs here ({record.fingerprint(part)})" for part in others)
    return f"another record here is of its seed {trial_of(record)[0]} and trial {trial_of(record)[1]}"


def settings_of(line: str) -> dict[str, Any]:
    """What a run of the words records, as JSON gives it back; ValueError where they mean nothing."""
    found: dict[str, Any] = json.loads(json.dumps(parse(shlex.split(line)).settings))
    return found


def seedless(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with seed and trial left out."""
    return {name: value for name, value in settings.items() if name not in ("seed", "trial")}
