"""Run all experiments of tables that have not been run yet.

Example: harness reproduce A1 A2 --seeds 0-4
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.resuming import signals
from harness.engine import distributed
from harness.engine.images import existing_folder
from harness.engine.jobs import TimeLeft, minutes
from harness.engine.known import Known, look_up
from harness.engine.run import run
from harness.evidence.render import place_of
from harness.experiment import Experiment, Options, add_settings, parse
from harness.settings import read_options
from harness.tables import named
from harness.verbs import options
from harness.verbs.options import CheckOptions, MachineOptions, ProcessOptions, WatchOptions, passed_on

if TYPE_CHECKING:
    from harness.engine.machine import Machine
    from harness.engine.observers import Watch


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the tables, how many runs are made at once, and where."""
    options.add_table(parser, "+")
    jobs = "runs at once, each with a log in RESULTS/logs (1)"
    parser.add_argument("--jobs", metavar="K", type=int, default=1, help=jobs)
    parser.add_argument("--dry-run", action="store_true", help="only say what has been run and what has not")
    options.add_old(parser)
    options.add_results(parser)
    add_settings(parser)
    options.add_seeds(parser)
    options.add_machine(parser)
    options.add_processes(parser)
    options.add_watching(parser)
    options.add_checks(parser)


def main(args: argparse.Namespace) -> None:
    """Run what is missing, one after the other or several at once; SIGTERM and SIGUSR1 stop it as cleanly as Ctrl-C."""
    signals.requeue_on_signals()
    asked, machine = read_options(Options, args), read_options(MachineOptions, args)
    experiments = plan(args.names, asked.shared, options.seeds_of(args), asked.trials)
    if args.jobs < 1:
        raise ValueError(f"--jobs {args.jobs}: at least 1 was expected")
    for folder in filter(None, (asked.data, asked.benchmark_data)):
        existing_folder(folder)
    each = read_options(ProcessOptions, args).count(machine.device)
    for trials in experiments.values():
        trials[0].divide(each)
    if distributed.world().size > 1:
        raise ValueError("reproduce starts its processes itself: --processes N instead of torchrun")
    if not args.dry_run:
        ready(machine, read_options(ProcessOptions, args))
    known = look_up_lines(experiments, machine, args)
    if args.dry_run:
        for line, runs in known.items():
            print(f"{'missing' if is_missing(runs) else 'run already':<11}  harness run {line}{place_of(args.results)}")
        return
    share(known, args)


def ready(machine: MachineOptions, processes: ProcessOptions) -> None:
    """Raise ValueError for a machine or processes that the runs would be refused for."""
    from harness.engine import machine as machines

    machine.machine()
    machines.afford(processes.count(machine.device), processes.gpus, machine.device)


def look_up_lines(
    lines: Mapping[str, Sequence[Experiment]], machine: MachineOptions, args: argparse.Namespace
) -> dict[str, list[Known]]:
    """Return options of `harness run` → what is known of its runs, as `harness run` decides; OtherCode as there."""
    every = [trial for trials in lines.values() for trial in trials]
    known = iter(look_up(every, machine.machine, args.results, options.CACHE, args.again, args.keep_old))
    return {line: [next(known) for _ in trials] for line, trials in lines.items()}


def is_missing(runs: Sequence[Known]) -> bool:
    """Return whether a run of these is to be made."""
    return any(run.record is None for run in runs)


def share(known: dict[str, list[Known]], args: argparse.Namespace) -> None:
    """Run in this process where one run at a time has one process, else in processes of their own."""
    from harness.engine import machine as machines
    from harness.engine.jobs import spread

    machine, processes = read_options(MachineOptions, args), read_options(ProcessOptions, args)
    watch, checks = read_options(WatchOptions, args), read_options(CheckOptions, args)
    each, watching = processes.count(machine.device), watch.watch()
    if args.jobs == each == 1:
        return reproduce(known, machine.machine(), watching, args.results, options.CACHE, checks)
    line = [*passed_on(machine, processes, watch, checks, args.results), *options.written_old(args)]
    if spread(known, line, args.jobs, machines.gpus(machine.device), each, args.results):
        raise SystemExit(1)


def plan(names: Sequence[str], extra: Sequence[str], seeds: Sequence[int], trials: int) -> dict[str, list[Experiment]]:
    """Return options of `harness run` → its trials for every row of the tables and every seed, a seed after the other.

    UnknownName for an unknown table.
    """
    rows = [line for name in names for line in (*named(name).rows.values(), *named(name).controls.values())]
    experiments: dict[str, list[Experiment]] = {}
    for seed in seeds:
        more = [*extra, *(["--seed", str(seed)] if seed else []), *(["--trials", str(trials)] if trials != 1 else [])]
        for line in rows:
            full = shlex.join([*shlex.split(line), *more])
            experiments[full] = parse(shlex.split(full)).trials(trials)
    return experiments


def reproduce(
    known: Mapping[str, Sequence[Known]], machine: Machine, watch: Watch, results: Path, cache: Path,
    checks: CheckOptions,
) -> None:  # fmt: skip
    """Make the runs that have no record yet, and say how long all of them will take, as long as those made so far."""
    every = [(line, run) for line, runs in known.items() for run in runs]
    missing = [(line, run.experiment) for line, run in every if run.record is None]
    done = len(every) - len(missing)
    left = TimeLeft([run.record for _, run in every if run.record])
    print(f"{len(every)} runs, {done} of them run already{left.text(len(missing))}", flush=True)
    for number, (line, experiment) in enumerate(missing, start=1):
        trial = f", trial {experiment.trial}" if experiment.trial else ""
        print(f"\n[{done + number}/{len(every)}] harness run {line}{place_of(results)}{trial}", flush=True)
        start = time.monotonic()
        record = run(experiment, machine, watch, results, cache, checks.allow_test_images, checks.check_images)
        left.seconds.append(took := time.monotonic() - start)
        print("  ".join(f"{name} {score:.2f}" for name, score in (record.scores or {}).items()))
        print(f"{record.id}: {minutes(took)}{left.text(len(missing) - number)}", flush=True)
