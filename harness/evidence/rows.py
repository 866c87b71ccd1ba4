"""Which runs fill the rows of a table: those whose recorded settings equal the row's, on the same data."""

from __future__ import annotations

import json
import math
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from harness.engine import identity
from harness.evidence.compare import differences
from harness.experiment import Experiment, build, parse, read_line
from harness.records import Record
from harness.tables import Column, named, own_rows

DATA = ("data", "benchmark_data")  # of the pre-training and of the benchmark
ROW_OPTIONS = ("--strategy", "--backbone", "--backbone-key", "--preset", "--set", "--data", "--benchmark",
               "--benchmark-data")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of a table, and the runs that fill it."""

    label: str
    control: bool
    options: str  # of `harness run`
    reported: dict[str, float]  # the paper's numbers; empty for a control
    runs: tuple[Record, ...]  # finished runs with the row's settings: one or more fine-tuning trials of each seed
    missing: str | None  # why the row cannot be run at all; None: it can
    out: tuple[tuple[Record, str], ...] = ()  # runs with the row's settings that do not count, and why in a word or two

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
    for label, options in added.items():
        check_row(label, shlex.split(options), shared)
    rows = {**table.rows, **added, **table.controls}
    return counted([
        fill_row(label, label in table.controls, shlex.join([*shlex.split(options), *shared]), records,
                 table.reported.get(label, {}))
        for label, options in rows.items()
    ])  # fmt: skip


def check_row(label: str, line: Sequence[str], shared: Sequence[str]) -> None:
    """Raise ValueError for a user's row that cannot be run, or whose options are not those of an experiment."""
    try:
        options = read_line(line)
    except ValueError as error:
        raise ValueError(f"--row {label}: {error}: a row takes {', '.join(ROW_OPTIONS)}") from None
    if options.seed or options.trials > 1:
        raise ValueError(f"--row {label}: a row is over all seeds and trials: leave --seed and --trials out")
    build(read_line([*line, *shared]))


def fill_row(label: str, control: bool, options: str, records: Sequence[Record], reported: dict[str, float]) -> Row:
    """Return a row with the finished runs whose recorded settings are those of its options, whatever their seed."""
    try:
        experiment = parse(shlex.split(options))
    except ValueError as error:
        return Row(label, control, options, reported, (), missing=str(error).split(": ")[0])
    wanted = without_seed(recorded_form(experiment))
    matching = [record for record in records if without_seed(record.settings) == wanted and "seed" in record.settings]
    faults = [(record, fault(record, experiment.benchmark.score_range)) for record in matching]
    runs = tuple(record for record, reason in faults if reason is None)
    out = tuple((record, reason) for record, reason in faults if reason is not None)
    return Row(label, control, options, reported, runs, None, out)


def fault(record: Record, score_range: tuple[float, float] | None) -> str | None:
    """Return why a record alone cannot count; None if it can."""
    if not record.scores:
        return "not finished"
    if not record.named:
        return "name not of its settings"
    low, high = score_range or (-math.inf, math.inf)
    return None if all(low <= score <= high for score in record.scores.values()) else "score out of range"


def trial_of(record: Record) -> tuple[int, int]:
    """Return the pre-training seed and the fine-tuning trial; two records of a row that share both are the same run."""
    return record.settings["seed"], record.settings["trial"]


def counted(rows: list[Row]) -> list[Row]:
    """Return rows with the runs that may enter one mean: of the same data and code, and each seed and trial once."""
    for part in DATA:
        rows = without_odd(rows, "other data", partial(data_of, part))
    rows = without_odd(rows, "other code", benchmark_of)
    rows = [keep(row, largest(row.runs), "other code") for row in rows]
    first = {row.label: {trial_of(run): run for run in reversed(row.runs)} for row in rows}
    return [keep(row, [*first[row.label].values()], "same seed and trial") for row in rows]


def without_odd(rows: list[Row], reason: str, kind: Callable[[Record], tuple[object, object]]) -> list[Row]:
    """Return rows without the runs of another kind than most: kind is (what may differ, what may not).

    Fingerprints are compared where both are known.
    """
    kinds = Counter(kind(run) for row in rows for run in row.runs)
    best: dict[object, object] = {}
    for (group, value), _ in kinds.most_common():
        if value is not None:
            best.setdefault(group, value)
    kept = [[run for run in row.runs if kind(run)[1] in (None, best.get(kind(run)[0]))] for row in rows]
    return [keep(row, runs, reason) for row, runs in zip(rows, kept, strict=True)]


def data_of(part: str, run: Record) -> tuple[object, object]:
    """Return the data that a run asks for in one part of it, and their fingerprint."""
    return run.settings.get(part), run.fingerprint(part)


def benchmark_of(run: Record) -> tuple[object, object]:
    """Return a run's benchmark, and by which code of it the run was scored."""
    name = run.settings.get("benchmark", {}).get("name", "")
    code = identity.recorded(run.provenance)
    return name, code and (code.benchmark, code.files.get(f"{name.replace('.', '/')}.py"))


def largest(runs: Sequence[Record]) -> list[Record]:
    """Return the largest group of runs of the same code, of equally large ones the newest; unknown code is a group."""
    groups: list[tuple[identity.Code | None, list[Record]]] = []
    for run in runs:
        code = identity.recorded(run.provenance)
        same = (group for known, group in groups if same_code(known, code))
        group = next(same, None)
        if group is None:
            groups.append((code, group := []))
        group.append(run)
    newest = [(len(group), max(run.ended or "" for run in group), known is not None) for known, group in groups]
    return groups[newest.index(max(newest))][1] if groups else []


def same_code(first: identity.Code | None, second: identity.Code | None) -> bool:
    """Return whether two codes are the same, as far as it is known; what is not known is like nothing that is."""
    return first is second is None or not (first is None or second is None or first.differences(second))


def keep(row: Row, runs: Sequence[Record], reason: str) -> Row:
    """Return a row with these of its runs; the others are left out for this reason."""
    kept = {run.folder for run in runs}
    out = tuple((run, reason) for run in row.runs if run.folder not in kept)
    return replace(row, runs=tuple(run for run in row.runs if run.folder in kept), out=(*row.out, *out))


def left_out_line(rows: Sequence[Row]) -> list[str]:
    """Return one line on how many runs have a row's settings and do not count, and why; none where all count."""
    reasons = Counter({run.folder: reason for row in rows for run, reason in row.out}.values())
    if not reasons:
        return []
    count = reasons.total()
    listed = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
    return [f"{count} run{'s' if count > 1 else ''} left out ({listed}): --why"]


def left_out(rows: Sequence[Row], records: Sequence[Record]) -> list[str]:
    """Return one line for every run that fills no row: how it differs from the row that it is nearest to."""
    counted = {run.folder for row in rows for run in row.runs}
    settings = {row.label: without_seed(settings_of(row.options)) for row in rows if not row.missing}
    strategies = {row.get("strategy", {}).get("name") for row in settings.values()}
    lines = []
    for record in records:
        if record.folder not in counted:
            if record.strategy not in (None, *strategies):
                lines.append(f"{record.id}: no row has strategy {record.strategy}: --row adds one")
                continue
            distances = {label: differences(without_seed(record.settings), row) for label, row in settings.items()}
            label, nearest = min(distances.items(), key=lambda option: len(option[1]))
            reasons = [f"{field}={mine}, not {wanted}" for field, (mine, wanted) in nearest.items()]
            lines.append(f"{record.id} is no {label}: {'; '.join(reasons) or reason_left_out(record, rows)}")
    return lines or ["Every run counts."]


def reason_left_out(record: Record, rows: Sequence[Row]) -> str:
    """Return why a run does not count though it has the settings of a row."""
    reason = {run.folder: reason for row in rows for run, reason in row.out}.get(record.folder, "")
    if reason == "other data":
        known = {
            part: {run.fingerprint(part) for row in rows for run in row.runs} for part in ("data", "benchmark_data")
        }
        odd = [part for part, fingerprints in known.items() if record.fingerprint(part) not in fingerprints]
        return "; ".join(f"its {part} is not that of most runs here ({record.fingerprint(part)})" for part in odd)
    return {
        "not finished": f"it is {record.status}, not finished",
        "name not of its settings": "its name is not the one that its settings give: it was copied or edited",
        "score out of range": f"a score is out of the benchmark's range: {record.scores}",
        "other code": f"its code is not that of most runs here ({code_text(record)})",
    }.get(reason, f"another record here is of its seed {trial_of(record)[0]} and trial {trial_of(record)[1]}")


def code_text(record: Record) -> str:
    """Return by which code a run was made."""
    code, commit = identity.recorded(record.provenance), record.provenance.get("code", {}).get("commit")
    known = "not recorded" if code is None else f"benchmark {code.benchmark}, reference steps {code.reference[:1]}"
    return f"{known}, commit {str(commit)[:8]}"


def settings_of(options: str) -> dict[str, Any]:
    """Return the settings that a run with these options records; ValueError where the options do not parse."""
    return recorded_form(parse(shlex.split(options)))


def recorded_form(experiment: Experiment) -> dict[str, Any]:
    """Return an experiment's settings as a record has them."""
    settings: dict[str, Any] = json.loads(json.dumps(experiment.settings))
    return settings


def without_seed(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without seed and trial, in which the runs of one row differ."""
    return {name: value for name, value in settings.items() if name not in ("seed", "trial")}
