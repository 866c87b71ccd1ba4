"""Which runs fill the rows of a table: those whose recorded settings equal the row's, on the same data."""

from __future__ import annotations

import json
import math
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from harness.engine import identity
from harness.experiment import Experiment, Pretraining, build, parse, read_line
from harness.records import Record
from harness.settings import Json
from harness.tables import CONTROLS, Column, Table, named

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
    benchmarks: tuple[str, ...] = ()  # that score each backbone of the row; none: the one of its options

    @property
    def command(self) -> str:
        """Return the command that makes a run of the row; DIR stands for a folder that only the user can name."""
        scored = f" --benchmark {','.join(self.benchmarks)}" if self.benchmarks else ""
        return f"harness run {self.options}{scored}{'' if self.missing else folders_of(map(parse, self.lines))}"

    @property
    def lines(self) -> list[list[str]]:
        """Return the options of the row's runs: one line for each benchmark."""
        line = shlex.split(self.options)
        return [[*line, "--benchmark", name] for name in self.benchmarks] or [line]

    @property
    def settings(self) -> list[Json]:
        """Return what the row's runs record, seed and trial left out; ValueError where its options do not parse."""
        return [without_seed(recorded_form(parse(line))) for line in self.lines]

    @property
    def trials(self) -> list[Counter[int]]:
        """Return, for each benchmark that scores the row, pre-training seed → number of its trials that count."""
        names = self.benchmarks or (None,)
        return [Counter(run.settings["seed"] for run in self.runs if name in (None, benchmark_name(run)))
                for name in names]  # fmt: skip

    @property
    def n(self) -> int:
        """Return the number of pre-training seeds that count, by the benchmark that has the fewest."""
        return min(map(len, self.trials))

    def seeds(self, column: Column) -> dict[int, list[float]]:
        """Return the values of a column: pre-training seed → one value for each of its trials that has it."""
        values: dict[int, list[float]] = {}
        for run in self.runs:
            source = run.gauges() if column.gauge else run.scores or {}
            if column.name in source and column.benchmark in ("", benchmark_name(run)):
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
        seeds, trials = [*map(len, self.trials)], [count for seeds in self.trials for count in seeds.values()] or [0]
        return f"{span(seeds)}×{span(trials)}" if max(trials) > 1 else span(seeds)


def folders_of(experiments: Iterable[Experiment]) -> str:
    """Return the options of folders that experiments need and that theirs do not name."""
    options = []
    for one in experiments:
        training = one.backbone if isinstance(one.backbone, Pretraining) and one.backbone.strategy.trains else None
        options += [" --data DIR"] if training and training.embedded is None and training.data is None else []
        options += [" --benchmark-data DIR"] if one.benchmark.needs_data and one.benchmark_data is None else []
    return "".join(dict.fromkeys(options))


def span(counts: Sequence[int]) -> str:
    """Return the fewest–most of some counts, and one number where all are equal."""
    fewest, most = min(counts), max(counts)
    return f"{fewest}–{most}" if fewest < most else f"{fewest}"


def benchmark_name(record: Record) -> str:
    """Return the name of the benchmark that scored a run."""
    name: str = record.settings.get("benchmark", {}).get("name", "")
    return name


def fill_rows(name: str, shared: Sequence[str], records: Sequence[Record], own: Sequence[str] = ()) -> list[Row]:
    """Return the rows of a table, with rows of the user's own, each LABEL=OPTIONS, before the controls.

    The shared options, such as --preset study, are added to those of every row. Raises ValueError where they mean
    nothing to `location`, which is in every table, and for a row of the user's own that cannot be run.
    """
    parse(["--strategy", "location", *shared])
    table = named(name)
    if table.benchmarks and "--benchmark" in shared:
        raise ValueError(f"--benchmark: the columns of table {name} name theirs: {', '.join(table.benchmarks)}")
    added = own_rows(table, own)
    for label, options in added.items():
        check_row(label, shlex.split(options), shared)
    rows = {**table.rows, **added, **table.controls}
    return counted([
        fill_row(label, label in table.controls, shlex.join([*shlex.split(options), *shared]), records,
                 table.reported.get(label, {}), table.benchmarks)
        for label, options in rows.items()
    ])  # fmt: skip


def own_rows(table: Table, texts: Sequence[str]) -> dict[str, str]:
    """Return label → options of the rows that a user adds to a table, each written LABEL=OPTIONS.

    Raises ValueError for a text without a label or options, and for a label that the table has already.
    """
    rows: dict[str, str] = {}
    for text in texts:
        label, _, options = text.partition("=")
        if not label or not options.strip():
            raise ValueError(f"--row {text}: LABEL=OPTIONS was expected, such as 'mine=--strategy mine.corners'")
        if label in {**table.rows, **table.controls, **CONTROLS, **rows}:
            raise ValueError(f"--row {text}: there is a row {label!r} already")
        rows[label] = options
    return rows


def check_row(label: str, line: Sequence[str], shared: Sequence[str]) -> None:
    """Raise ValueError for a user's row that cannot be run, or whose options are not those of an experiment."""
    try:
        options = read_line(line)
    except ValueError as error:
        raise ValueError(f"--row {label}: {error}: a row takes {', '.join(ROW_OPTIONS)}") from None
    if options.seed or options.trials > 1:
        raise ValueError(f"--row {label}: a row is over all seeds and trials: leave --seed and --trials out")
    build(read_line([*line, *shared]))


def fill_row(
    label: str, control: bool, options: str, records: Sequence[Record], reported: dict[str, float],
    benchmarks: tuple[str, ...] = (),
) -> Row:  # fmt: skip
    """Return a row with the finished runs whose recorded settings are those of its options, whatever their seed.

    With names of benchmarks these score the row, whatever benchmark the options name.
    """
    row = Row(label, control, options, reported, (), None, (), benchmarks)
    try:
        experiments = [parse(line) for line in row.lines]
    except ValueError as error:
        return replace(row, missing=str(error).split(": ")[0])
    wanted = [without_seed(recorded_form(experiment)) for experiment in experiments]
    ranges = {experiment.benchmark.name: experiment.benchmark.score_range for experiment in experiments}
    matching = [record for record in records if without_seed(record.settings) in wanted and "seed" in record.settings]
    faults = [(record, fault(record, ranges[benchmark_name(record)])) for record in matching]
    runs = tuple(record for record, reason in faults if reason is None)
    out = tuple((record, reason) for record, reason in faults if reason is not None)
    return replace(row, runs=runs, out=out)


def fault(record: Record, score_range: tuple[float, float] | None) -> str | None:
    """Return why a record alone cannot count; None if it can."""
    if not record.scores:
        return "not finished"
    if not record.named:
        return "name not of its settings"
    low, high = score_range or (-math.inf, math.inf)
    return None if all(low <= score <= high for score in record.scores.values()) else "score out of range"


def trial_of(record: Record) -> tuple[str, int, int]:
    """Return the benchmark, the pre-training seed and the trial; two records of a row that share them are one run."""
    return benchmark_name(record), record.settings["seed"], record.settings["trial"]


def counted(rows: list[Row]) -> list[Row]:
    """Return rows with the runs that may enter one mean: of the same data and code, and each seed and trial once."""
    for part in DATA:
        rows = without_odd(rows, "other data", partial(data_of, part))
    rows = without_odd(rows, "other code", benchmark_of)
    rows = [keep(row, [run for runs in by_benchmark(row.runs) for run in largest(runs)], "other code") for row in rows]
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
    name, code = benchmark_name(run), identity.recorded(run.provenance)
    return name, code and (code.benchmark, code.files.get(f"{name.replace('.', '/')}.py"))


def by_benchmark(runs: Sequence[Record]) -> list[list[Record]]:
    """Return runs in groups, one for each benchmark that scored them."""
    names = dict.fromkeys(map(benchmark_name, runs))
    return [[run for run in runs if benchmark_name(run) == name] for name in names]


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


def recorded_form(experiment: Experiment) -> Json:
    """Return an experiment's settings as a record has them."""
    settings: Json = json.loads(json.dumps(experiment.settings))
    return settings


def without_seed(settings: Json) -> Json:
    """Return settings without seed and trial, in which the runs of one row differ."""
    return {name: value for name, value in settings.items() if name not in ("seed", "trial")}
