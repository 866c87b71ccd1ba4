"""What a report is made from: the names of the tables, the records, and the options that choose among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import records
from harness.evidence.render import place_of
from harness.evidence.rows import Row, fill_rows, trial_of
from harness.records import Record
from harness.tables import named
from harness.terminal import shown

ALWAYS = ("A1", "A2", "gauges")  # where no table is asked for


@dataclass(frozen=True)
class Source:
    """The records, and the options that choose among them."""

    names: tuple[str, ...]  # of the tables
    options: tuple[str, ...]  # for all rows
    own: tuple[str, ...]  # rows of the user's own, each LABEL=OPTIONS
    preset: str
    changed: bool  # whether settings differ from the preset's
    results: Path
    runs: tuple[Record, ...]
    broken: tuple[str, ...]  # a line for each folder that is no record

    @property
    def comparable(self) -> bool:
        """Whether our numbers may be compared with the paper's."""
        return self.preset == "paper" and not self.changed

    @property
    def place(self) -> str:
        """Return the option that lets a command read or write the records; a page names no folder of the machine."""
        return place_of(self.results, brief(self.results))

    def rows(self, name: str) -> list[Row]:
        """Return the filled rows of a table."""
        return fill_rows(name, self.options, self.runs, self.own)


def brief(path: Path) -> str:
    """Return a path from the current folder, or …/NAME for one outside it."""
    near = shown(path)
    return f"…/{path.name}" if near.is_absolute() or ".." in near.parts else str(near)


def read(
    names: Sequence[str], options: Sequence[str], own: Sequence[str], preset: str, changed: bool, results: Path
) -> Source:
    """Return what a report of these tables is made from.

    Where no table is asked for, the table `coco` is added to the usual ones if any run fills a row of it.
    """
    for name in names:
        named(name)
    found, broken = records.read_all(results)
    faults = {run.id: fault(run) for run in found}
    lines = [*broken, *(f"{run.id}: {faults[run.id]}" for run in found if faults[run.id])]
    sound = tuple(run for run in found if not faults[run.id])
    shown = tuple(line.replace(f"{results}/", "") for line in lines)
    source = Source(tuple(names) or ALWAYS, tuple(options), tuple(own), preset, changed, results, sound, shown)
    if not names and any(row.n for row in source.rows("coco")):
        return replace(source, names=("A1", "A2", "coco", "gauges"))
    return source


def fault(run: Record) -> str | None:
    """Return what is wrong with a record; None if nothing is."""
    try:
        steps = [point["step"] for point in run.curve]
        numbers = [*(run.scores or {}).values(), *run.gauges().values(), *steps]
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers):
            return "not a readable record (a score, gauge or step is no finite number)"
        if not all(isinstance(value, int) for value in trial_of(run)[1:]):
            return "not a readable record (its seed or trial is no whole number)"
        hash((run.fingerprint("data"), run.fingerprint("benchmark_data")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).replace(f"{run.folder}/", "")
        return reason if isinstance(error, ValueError) else f"not a readable record ({type(error).__name__}: {reason})"
    return None
