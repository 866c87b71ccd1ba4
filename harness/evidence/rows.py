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
    """One row of a table, and the runs that fill it."""

    label: str
    control: bool
    options: str  # of `harness run`
    reported: dict[str, float]  # the paper's numbers; empty for a control
    runs: tuple[Record, ...]  # finished runs with the row's settings: one or more fine-tuning trials of each seed
    missing: str | None  # why the row cannot be run at all; None: it can

    @property
    def n(self) -> int:
        """Return the number of pre-training seeds that count."""
        return len({run.settings["seed"] for run in self.runs})

    def seeds(self, column: Column) -> dict[int, list[float]]:
        """Return the values of a column: pre-training seed → one value for each of its trials that has it."""
        values: dict[int, list[float]] = {}
        for run in self.runs:
            source = run.gauges() if column.gauge else run.scores or {}
            if column.name in source:
                values.setdefault(run.settings["seed"], []).append(source[column.name])
        return values

    def values(self, column: Column) -> list[float]:
        """Return the value of a column of every run that has it."""
        return [value for trials in self.seeds(column).values() for value in trials]

    def spread(self, column: Column) -> tuple[float, float | None] | None:
        """Return the mean of the seeds' means and their standard deviation; None without a value.

        Of a single seed the standard deviation is that of its trials, and None if there is only one.
        """
        seeds = [*self.seeds(column).values()]
        if not seeds:
            return None
        means = [statistics.fmean(trials) for trials in seeds]
        varied = means if len(seeds) > 1 else seeds[0]
        return statistics.fmean(means), statistics.stdev(varied) if len(varied) > 1 else None

    @property
    def count(self) -> str:
        """Return n as text: the number of seeds and, where a seed has several trials, × fewest–most of them."""
        counts = sorted(Counter(run.settings["seed"] for run in self.runs).values()) or [0]
        trials = f"{counts[0]}–{counts[-1]}" if counts[0] < counts[-1] else f"{counts[0]}"
        return f"{self.n}×{trials}" if counts[-1] > 1 else f"{self.n}"


def fill_rows(name: str, shared: Sequence[str], records: Sequence[Record], own: Sequence[str] = ()) -> list[Row]:
    """Return the rows of a table, with rows of the user's own, each LABEL=OPTIONS, before the controls.

    The shared options, such as --preset study, are added to those of every row. Raises ValueError where they mean
    nothing to `location`, which is in every table, and for a row of the user's own that cannot be run.
    """
    parse(["--strategy", "location", *shared])
    table = named(name)
    added = own_rows(table, own)
    for options in added.values():
        parse([*shlex.split(options), *shared])
    rows = {**table.rows, **added, **table.controls}
    return same_data_only([
        fill_row(label, label in table.controls, shlex.join([*shlex.split(options), *shared]), records,
                 table.reported.get(label, {}))
        for label, options in rows.items()
    ])  # fmt: skip


def fill_row(label: str, control: bool, options: str, records: Sequence[Record], reported: dict[str, float]) -> Row:
    """Return a row with the finished runs whose recorded settings are those of its options, whatever their seed."""
    try:
        wanted = without_seed(settings_of(options))
    except ValueError as error:
        return Row(label, control, options, reported, (), missing=str(error).split(": ")[0])
    finished = [record for record in records if record.scores and "seed" in record.settings]
    matching = [record for record in finished if without_seed(record.settings) == wanted]
    first = {trial_of(record): record for record in reversed(matching)}  # by name, where a record was copied
    runs = tuple(record for record in matching if first[trial_of(record)] is record)
    return Row(label, control, options, reported, runs, missing=None)


def trial_of(record: Record) -> tuple[int, int]:
    """Return the pre-training seed and the fine-tuning trial; two records of a row that share both are the same run."""
    return record.settings["seed"], record.settings["trial"]


def same_data_only(rows: list[Row]) -> list[Row]:
    """Return rows without the runs whose data, of either training, have another fingerprint than the majority's."""
    for part in ("data", "benchmark_data"):
        fingerprints = Counter(run.fingerprint(part) for row in rows for run in row.runs)
        del fingerprints[None]
        odd = {fingerprint for fingerprint, _ in fingerprints.most_common()[1:]}
        rows = [replace(row, runs=tuple(run for run in row.runs if run.fingerprint(part) not in odd)) for row in rows]
    return rows


def left_out(rows: Sequence[Row], records: Sequence[Record]) -> list[str]:
    """Return one line for every run that fills no row: how it differs from the row that it is nearest to."""
    counted = {run.folder for row in rows for run in row.runs}
    settings = {row.label: without_seed(settings_of(row.options)) for row in rows if not row.missing}
    lines = []
    for record in records:
        if record.folder not in counted:
            distances = {label: differences(without_seed(record.settings), row) for label, row in settings.items()}
            label, nearest = min(distances.items(), key=lambda option: len(option[1]))
            reasons = [f"{field}={mine}, not {wanted}" for field, (mine, wanted) in nearest.items()]
            lines.append(f"{record.id} is no {label}: {'; '.join(reasons) or reason_left_out(record, rows)}")
    return lines or ["Every run counts."]


def reason_left_out(record: Record, rows: Sequence[Row]) -> str:
    """Return why a run does not count though it has the settings of a row."""
    if not record.scores:
        return f"it is {record.status}, not finished"
    counted = {part: {run.fingerprint(part) for row in rows for run in row.runs} for part in ("data", "benchmark_data")}
    odd = [part for part, fingerprints in counted.items() if record.fingerprint(part) not in fingerprints]
    if odd:
        return "; ".join(f"its {part} is not that of most runs here ({record.fingerprint(part)})" for part in odd)
    return f"another record here is of its seed {trial_of(record)[0]} and trial {trial_of(record)[1]}"


def settings_of(options: str) -> dict[str, Any]:
    """Return the settings that a run with these options records; ValueError where the options do not parse."""
    settings: dict[str, Any] = json.loads(json.dumps(parse(shlex.split(options)).settings))
    return settings


def without_seed(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without seed and trial, in which the runs of one row differ."""
    return {name: value for name, value in settings.items() if name not in ("seed", "trial")}
