"""List the runs with their settings and scores, or remove some.

Example: harness runs --failed
         harness runs rm location-s0-3ea0b8ea
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness import records
from harness.evidence.compare import from_preset
from harness.records import Record
from harness.terminal import fold, say, shown
from harness.verbs import options

STATES = {"COMPLETED": "finished", "FAILED": "failed", "INTERRUPTED": "stopped"}
SCORES = 3  # columns of scores at most, so that a line has room for them


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is done with which runs."""
    parser.add_argument("action", metavar="rm", nargs="?", help="remove the folders of these runs (list all runs)")
    parser.add_argument("runs", metavar="RUN", nargs="*", help="a run's name, or how it begins")
    parser.add_argument("--failed", action="store_true", help="only runs that ended with an error")
    options.add_results(parser)


def main(args: argparse.Namespace) -> None:
    """List runs, or remove some."""
    if args.action not in (None, "rm"):
        raise ValueError(f"runs {args.action}: only `rm` was expected, which removes runs; without it, all are listed")
    if args.action:
        remove(args.runs, args.failed, args.results)
        return
    known = options.read_all(args.results)
    chosen = [record for record in known if not args.failed or record.status == "FAILED"]
    if chosen:
        say("\n".join(listing(chosen)))
    else:
        print(f"no run{' that failed' if args.failed else ''} in {shown(args.results)}")


def remove(names: Sequence[str], failed: bool, results: Path) -> None:
    """Remove the folders of runs and name each; ValueError where a run is being made, or none is named."""
    chosen = [options.find_run(results, name) for name in names]
    if failed:
        chosen += [record for record in options.read_all(results) if record.status == "FAILED"]
    if not names and not failed:
        raise ValueError("rm: RUN, or --failed for all that failed, was expected")
    for record in chosen:
        if record.is_being_made:
            raise ValueError(f"run {record.id} is being made by another process: nothing was removed")
    for record in chosen:
        say(f"removed {shown(record.folder)} ({state(record)})")
        records.remove(record)


def listing(chosen: Sequence[Record]) -> list[str]:
    """Return a table of runs, in groups of equal settings, each with the settings that differ from its preset."""
    groups: dict[str, list[Record]] = {}
    for record in chosen:
        title = options.described(*from_preset(record.settings))
        groups.setdefault(f"{record.strategy or 'a backbone file'}, {title}", []).append(record)
    names = list(dict.fromkeys(name for record in chosen for name in record.scores or {}))[:SCORES]
    cells = {record.id: cells_of(record, names) for record in chosen}
    head = ["run", "seed", "state", "date", *names]
    widths = [max(map(len, column)) for column in zip(head, *cells.values(), strict=True)]
    lines = [aligned(head, widths)]
    for title, its in groups.items():
        lines += [fold(title), *(aligned(cells[record.id], widths) for record in its)]
    return lines


def aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return a line of cells: the name left, as are state and date, and the numbers right."""
    padded = [
        cell.rjust(width) if column == 1 or column > 3 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"  {'  '.join(padded)}".rstrip()


def cells_of(record: Record, names: Sequence[str]) -> list[str]:
    """Return the cells of one run."""
    scores = record.scores or {}
    numbers = [f"{scores[name]:.2f}" if name in scores else "" for name in names]
    return [record.id, str(record.settings.get("seed", "")), state(record), record.started or "", *numbers]


def state(record: Record) -> str:
    """Return whether a run is finished, failed, stopped by a signal, running now, or was cut off without a word."""
    return STATES.get(record.status, "running" if record.is_being_made else "cut off")
