"""What a report is made from: the tables' names, the records and the options that choose among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import records
from harness.evidence.rows import Row, fill_rows, trial_of
from harness.records import Record
from harness.tables import named

ALWAYS = ("A1", "A2", "gauges")  # where no table is named


@dataclass(frozen=True)
class Known:
    """The records and the words that choose among them."""

    names: tuple[str, ...]
    extra: tuple[str, ...]  # for all rows
    own: tuple[str, ...]  # rows of the user's own, each LABEL=OPTIONS
    preset: str
    changed: bool
    runs: tuple[Record, ...]
    broken: tuple[str, ...]  # a line for each folder that is no record

    def rows(self, name: str) -> list[Row]:
        """Of a table."""
        return fill_rows(name, self.extra, self.runs, self.own)


def read(
    names: Sequence[str], extra: Sequence[str], own: Sequence[str], preset: str, changed: bool, results: Path
) -> Known:
    """What a report is made from; a coco table that any run fills is added where no table is named."""
    for name in names:
        named(name)
    found, broken = records.read_all(results)
    faults = {run.id: fault(run) for run in found}
    lines = [*broken, *(f"{run.id}: {faults[run.id]}" for run in found if faults[run.id])]
    shown = tuple(line.replace(f"{results}/", "") for line in lines)
    sound = tuple(run for run in found if not faults[run.id])
    known = Known(tuple(names) or ALWAYS, tuple(extra), tuple(own), preset, changed, sound, shown)
    if not names and any(row.n for row in known.rows("coco")):
        return replace(known, names=("A1", "A2", "coco", "gauges"))
    return known


def fault(run: Record) -> str | None:
    """What keeps a record from being read as a run's; None where nothing does."""
    try:
        steps = [point["step"] for point in run.curve]
        numbers = [*(run.scores or {}).values(), *run.gauges().values(), *steps]
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers):
            return "not a readable record (a score, gauge or step is no finite number)"
        if not all(isinstance(value, int) for value in trial_of(run)):
            return "not a readable record (its seed or trial is no whole number)"
        hash((run.fingerprint("data"), run.fingerprint("benchmark_data")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = str(error).replace(f"{run.folder}/", "")
        return said if isinstance(error, ValueError) else f"not a readable record ({type(error).__name__}: {said})"
    return None
