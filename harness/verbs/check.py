"""Check that your strategy, benchmark or table keeps its contract.

Example: harness check mine.corners
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator

from benchmarks import AnyBenchmark, Cost
from harness import plugins
from harness.experiment import build, read_line
from harness.settings import describe, restore
from harness.tables import TABLES, Table, named
from harness.terminal import say

KINDS = ("strategy", "benchmark", "table")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is checked."""
    parser.add_argument("name", metavar="NAME", help="a dotted path such as mine.corners, or a name of `harness list`")


def main(args: argparse.Namespace) -> None:
    """Print a line for each property; exit code 1 if one does not hold."""
    failed = 0
    for sentence, wrong in properties(args.name):
        say(f"{'holds' if wrong is None else 'FAILS'}  {sentence}" + (f": {wrong}" if wrong else ""))
        failed += wrong is not None
    if failed:
        raise SystemExit(1)


def properties(name: str) -> Iterator[tuple[str, str | None]]:
    """Yield the properties of all that a module exports, each a sentence with what is wrong, or None if it holds."""
    kinds = kinds_of(name)
    if plugins.dotted(name):
        wrong = "it is imported: import it inside the functions that compute" if "torch" in sys.modules else None
        yield "the file imports no torch at its top", wrong
    if "table" in kinds:
        yield from of_table(named(name))
    if "benchmark" in kinds:
        yield from of_benchmark(plugins.benchmark(name)())
    if "strategy" in kinds:
        chosen = plugins.strategy(name)()
        yield "its settings are recorded and read back", None if restore(chosen, describe(chosen)) == chosen else "no"
        from methods.properties import violations

        yield from violations(chosen)


def kinds_of(name: str) -> list[str]:
    """Return which of KINDS a name stands for; UnknownName where it is none."""
    if plugins.dotted(name):
        module = plugins.imported(name, "module")
        kinds = [kind for kind in KINDS if hasattr(module, kind.upper())]
        if not kinds:
            raise plugins.UnknownName(f"{name}: the module sets none of", [kind.upper() for kind in KINDS])
        return kinds
    every = ([*plugins.strategy_files()], [*plugins.benchmark_modules()], [*TABLES])
    known = dict(zip(KINDS, every, strict=True))
    kinds = [kind for kind, names in known.items() if name in names]
    if not kinds:
        raise plugins.unknown("strategy, benchmark or table", name, [one for names in known.values() for one in names])
    return kinds


def of_benchmark(benchmark: AnyBenchmark) -> Iterator[tuple[str, str | None]]:
    """Yield what holds of a benchmark before it has data."""
    same = restore(benchmark, describe(benchmark)) == benchmark
    yield "its settings are recorded and read back", None if same else "other settings came back"
    cost = benchmark.cost()
    wrong = None if cost is None or isinstance(cost, Cost) else f"a benchmarks.Cost was expected, it is {cost!r}"
    yield "cost() is a Cost, or None where nothing is known", wrong


def of_table(table: Table) -> Iterator[tuple[str, str | None]]:
    """Yield what holds of a table before it has runs."""
    lines, keys = {**table.rows, **table.controls}, [column.key for column in table.columns]
    for label, line in lines.items():
        yield f"row {label!r} is an experiment", refusal(line)
    twice = sorted({key for key in keys if keys.count(key) > 1})
    yield "every column has a name of its own", f"{', '.join(twice)} stands there twice" if twice else None
    wanted = {"reported": table.reported, "claims": [row for claim in table.claims for row in (claim.more, claim.less)]}
    for name, rows in wanted.items():
        absent = [row for row in rows if row not in lines]
        yield f"{name} names rows of the table", f"no row {absent[0]!r}" if absent else None
    absent = [key for key in (*table.deciding, *filter(None, [table.target])) if key not in keys]
    yield "deciding and target name columns", f"no column {absent[0]!r}" if absent else None


def refusal(line: str) -> str | None:
    """Return why the options of a row are no experiment; None if they are one."""
    try:
        build(read_line(shlex.split(line)))
    except ValueError as error:
        return str(error)
    return None
