"""Options that several verbs share; each group is read into a frozen dataclass, so that argparse ends at the verbs.

The options that define an experiment are in harness/experiment.py, since a row of a table is a line of them.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RESULTS, ROOT, experiment, records
from harness.evidence.compare import flat
from harness.evidence.render import place_of
from harness.experiment import Options
from harness.records import Record
from harness.settings import write_options
from harness.terminal import Listing, shown, visible

if TYPE_CHECKING:
    from harness.engine.machine import Machine
    from harness.engine.observers import Watch
    from harness.evidence.claims import Evidence

SEEDS = 1000  # at most, in one command
CACHE = ROOT / ".cache"  # where the embedded data is composed


@dataclass(frozen=True)
class MachineOptions:
    """Where a run computes; none of it is a setting of the experiment."""

    device: str | None = None
    workers: int = 1
    augment: str | None = None
    cache: float = 0.0
    reduced: bool = False
    compile: bool = False
    fused: bool | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a device or a number of workers that no machine has."""
        from harness.engine.machine import refuse

        refuse(self.device, self.workers)

    def machine(self) -> Machine:
        """Return the machine of this process; ValueError for a device that is not there."""
        from harness.engine.machine import machine

        return machine(self.device, self.workers, self.augment, self.cache, self.reduced, self.compile, self.fused)


@dataclass(frozen=True)
class ProcessOptions:
    """How many processes make a run; not a setting either."""

    processes: int = 1
    gpus: int | None = None

    def count(self, device: str | None) -> int:
        """Return the number of processes; ValueError for none, or for more GPUs than there are."""
        from harness.engine.machine import processes

        return processes(self.processes, self.gpus, device)


@dataclass(frozen=True)
class WatchOptions:
    """Who watches a run beside its folder; not a setting either."""

    observer: tuple[str, ...] = ()
    tensorboard: bool = False

    def watch(self) -> Watch:
        """Return who watches a run; ValueError or OSError where an observer is not ready."""
        from harness.engine import observers, tensorboard

        if self.tensorboard:
            tensorboard.require()
        return observers.Watch(tuple(map(observers.extra_observer, self.observer)), self.tensorboard)


@dataclass(frozen=True)
class CheckOptions:
    """What is checked before a run, and what it is allowed that it is otherwise refused; no settings."""

    allow_test_images: bool = False
    check_images: bool = False


def passed_on(
    machine: MachineOptions, processes: ProcessOptions, watch: WatchOptions, checks: CheckOptions, results: Path
) -> list[str]:
    """Return the options of a run's own command that are not in its row's line, as they are typed."""
    own = [option for part in (machine, processes, watch, checks) for option in write_options(part)]
    return [*own, *shlex.split(place_of(results))]


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the options of MachineOptions."""
    add = parser.add_argument_group("machine", argument_default=argparse.SUPPRESS).add_argument
    add("--device", metavar="NAME", help="cpu, cuda or cuda:N (a GPU where there is one)")
    add("--workers", metavar="N", type=int, help="processes that load images (1)")
    add("--augment", choices=("device", "workers"),
        help="where colours are changed, with the same result (workers on a CPU)")  # fmt: skip
    add("--cache", metavar="GIB", type=float, help="keep decoded images, in TMPDIR (0)")
    add("--reduced", action="store_true", help="decode large JPEGs at a reduced scale; changes pixels a little")
    add("--compile", action="store_true", help="torch.compile encoder and colours; changes the order of sums")
    add("--fused", action=argparse.BooleanOptionalAction, help="one kernel for the optimizer's step (on a GPU)")


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add the options of ProcessOptions."""
    title = "processes that train one run together (torchrun sets its own)"
    group = parser.add_argument_group(title, argument_default=argparse.SUPPRESS)
    add = group.add_mutually_exclusive_group().add_argument
    add("--processes", metavar="N", type=int, help="on this machine, each with a GPU or sharing the CPU (1)")
    add("--gpus", metavar="N", type=int, help="N processes, each with a GPU of its own")


def add_watching(parser: argparse.ArgumentParser) -> None:
    """Add the options of WatchOptions."""
    add = parser.add_argument_group("watching", argument_default=argparse.SUPPRESS).add_argument
    kinds = "file:DIR, tinydb:DIR or mongodb://HOST/DATABASE"
    add("--observer", metavar="KIND:WHERE", action="append", help=f"an observer of sacred's, repeatable: {kinds}")
    add("--tensorboard", action="store_true", help="write curves and scores for TensorBoard into the run's folder")


def add_old(parser: argparse.ArgumentParser) -> None:
    """Add what happens where a run of these settings was made by other code or on other data."""
    old = parser.add_mutually_exclusive_group()
    old.add_argument("--again", action="store_true", help="make it anew if other code or data made it; both are kept")
    old.add_argument("--keep-old", action="store_true", help="take it as it is, whatever code and data made it")


def written_old(args: argparse.Namespace) -> list[str]:
    """Return what happens to a run by other code or on other data, as it is typed."""
    return [option for option, asked in (("--again", args.again), ("--keep-old", args.keep_old)) if asked]


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """Add the options that make runs of equal settings differ, several seeds at once among them."""
    group = parser.add_argument_group("seeds")
    experiment.add_seeds(group)
    group.add_argument("--seeds", metavar="LIST", type=seed_list, help="a run of each of these: 0-9, or 0,3,5-7")


def seed_list(text: str) -> list[int]:
    """Return the seeds that a text such as 0,3,5-7 lists; ArgumentTypeError for one that lists none, or too many."""
    parts = [re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part.strip()) for part in text.split(",")]
    ends = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
    if len(ends) < len(parts) or any(first > last for first, last in ends):
        raise argparse.ArgumentTypeError(f"{text}: seeds such as 0-9 or 0,3,5-7 were expected")
    if sum(last - first + 1 for first, last in ends) > SEEDS:
        raise argparse.ArgumentTypeError(f"{text}: at most {SEEDS} seeds were expected")
    return list(dict.fromkeys(seed for first, last in ends for seed in range(first, last + 1)))


def seeds_of(args: argparse.Namespace) -> list[int]:
    """Return the seeds that are asked for, one or several; ValueError where both options are there."""
    if args.seeds is None:
        return [getattr(args, "seed", 0)]
    if hasattr(args, "seed"):
        raise ValueError("--seed and --seeds: only one of the two was expected")
    return list(args.seeds)


def one_by_one(asked: Options, seeds: Sequence[int]) -> list[Options]:
    """Return the options of each run of several seeds and benchmarks (`--benchmark matching,linear`), seed by seed."""
    names = asked.benchmark.split(",") if asked.benchmark else [None]
    if len(set(names)) < len(names):
        raise ValueError(f"--benchmark {asked.benchmark}: a benchmark is named twice")
    return [replace(asked, seed=seed, benchmark=name) for seed in seeds for name in names]


def add_checks(parser: argparse.ArgumentParser) -> None:
    """Add the options of CheckOptions."""
    add = parser.add_argument_group("checks", argument_default=argparse.SUPPRESS).add_argument
    add("--allow-test-images", action="store_true",
        help="pre-train although some of the images are test images of the benchmark; recorded")  # fmt: skip
    add("--check-images", action="store_true", help="decode every image before anything is trained; remembered")


def add_table(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """Add the table that a verb is about, as `name`; with nargs several, as `names`."""
    if nargs is None:
        parser.add_argument("name", metavar="TABLE", help="A1, A2, coco, gauges, or a dotted path")
    else:
        parser.add_argument("names", metavar="TABLE", nargs=nargs, help="A1, A2, coco, gauges, or a dotted path")


def add_rows(parser: argparse.ArgumentParser) -> None:
    """Add the rows of the user's own."""
    row = "also a row of your own, repeatable: 'mine=--strategy mine.corners'"
    parser.add_argument("--row", metavar="LABEL=OPTIONS", action="append", default=[], help=row)


def add_score(parser: argparse.ArgumentParser) -> None:
    """Add the score of a table that makes claims."""
    parser.add_argument("--score", metavar="NAME", help="AP, AP50 or AP75 (the table's first)")


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add the folder of the records."""
    about = "folder of the records (results)"
    parser.add_argument("--results", metavar="DIR", type=no_file, default=RESULTS, help=about)


def no_file(text: str) -> Path:
    """Return the path of a folder, which need not exist; NotADirectoryError for what is no folder or lies in a file."""
    path = Path(text)
    if not next(place for place in (path.absolute(), *path.absolute().parents) if place.exists()).is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", f"--results {text}")
    return path


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the run that a verb is about."""
    parser.add_argument("run", metavar="RUN", help="the run's name, or how it begins")


def existing(results: Path) -> Path:
    """Return the folder of the records if it is one; ValueError says what it is instead, and which may be meant.

    The usual folder may lack runs, or be absent where nothing has been run yet.
    """
    if results == RESULTS or (results / records.RUNS).is_dir():
        return results
    inside = (results / records.CONFIG).exists() or any(results.glob(f"*/{records.CONFIG}"))
    if results.is_dir() and not inside:
        return results
    wrong = "a folder within the records" if inside else "not a folder" if results.exists() else "no such folder"
    beside = {folder.parent.name: folder.parent for folder in results.parent.glob(f"*/{records.RUNS}")}
    near = [beside[name] for name in difflib.get_close_matches(results.name, beside, n=1)]
    places = [results.parent, results.parent.parent, RESULTS / results.name, *near]
    known = [place for place in places if (place / records.RUNS).is_dir()]
    meant = next((place for place in known if inside or place != RESULTS), None)
    raise ValueError(f"--results {results}: {wrong}" + (f": did you mean '{shown(meant)}'?" if meant else ""))


def find_run(results: Path, name: str) -> Record:
    """Return the run of a name, or of how it begins; ValueError says what differs between several, or which exist."""
    existing(results)
    runs = {record.id: record for record in records.read_all(results, name)[0]} if name else {}
    if name in runs or len(runs) < 2:
        return records.find(results, name)
    settings = {run: flat(record.settings) for run, record in runs.items()}
    fields = {field: {its.get(field) for its in settings.values()} for its in settings.values() for field in its}
    differing = sorted((field for field in fields if len(fields[field]) > 1), key=lambda field: -len(fields[field]))
    texts = dict.fromkeys(runs, "the same settings")
    for count in range(1, len(differing) + 1):  # the fewest fields by which all can be told apart
        texts = {run: ", ".join(f"{field}={its[field]}" for field in differing[:count] if field in its)
                 for run, its in settings.items()}  # fmt: skip
        if len({*texts.values()}) == len(runs):
            break
    raise Listing(f"run {name!r} may be any of", [f"{run} ({text})" for run, text in texts.items()])


def described(preset: str, fields: Mapping[str, str]) -> str:
    """Return the settings of a run as its preset and what differs from it, as --set takes it."""
    return ", ".join([f"preset {preset}", *(f"{field}={value}" for field, value in fields.items())])


def read_records(table: str, results: Path) -> list[Record]:
    """Return the records for a table, which must exist; folders that are no records are named on stderr."""
    from harness import tables

    tables.named(table)
    return read_all(results)


def evidence_for(args: argparse.Namespace, asked: Options, own: Sequence[str] = ()) -> tuple[Evidence, list[Record]]:
    """Return one score of the table that is asked for, with rows of the user's own, and all records."""
    from harness.evidence.claims import evidence, judged_with
    from harness.evidence.rows import fill_rows

    known = read_records(args.name, args.results)
    rows = fill_rows(args.name, asked.shared, known, own)
    beside = {name: fill_rows(name, asked.shared, known) for name in judged_with(args.name)}
    return evidence(args.name, args.score, rows, asked.preset, asked.changed, beside), known


def read_all(results: Path) -> list[Record]:
    """Return all records; folders that are no records are named on stderr."""
    known, broken = records.read_all(existing(results))
    for line in broken:
        print(f"harness: left out: {visible(line)}", file=sys.stderr)
    return known
