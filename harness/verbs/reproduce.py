"""Run all experiments of tables that have not been run yet.

Example: harness reproduce A1 A2
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.resuming import signals
from harness.engine import distributed
from harness.engine.run import finished, run
from harness.experiment import Experiment, Options, add_seeds, add_settings, parse
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
    options.add_results(parser)
    add_settings(parser)
    add_seeds(parser)
    options.add_machine(parser)
    options.add_processes(parser)
    options.add_watching(parser)
    options.add_checks(parser)


def main(args: argparse.Namespace) -> None:
    """Run what is missing, one after the other or several at once; SIGTERM and SIGUSR1 stop it as cleanly as Ctrl-C."""
    signals.requeue_on_signals()
    asked = read_options(Options, args)
    experiments = plan(args.names, asked.shared, asked.seed, asked.trials)
    if args.dry_run:
        for line, trials in experiments.items():
            missing = any(not finished(trial, args.results) for trial in trials)
            print(f"{'missing' if missing else 'run already':<11}  harness run {line}")
        return
    if args.jobs < 1:
        raise ValueError(f"--jobs {args.jobs}: at least 1 was expected")
    if distributed.world().size > 1:
        raise ValueError("reproduce starts its processes itself: --processes N instead of torchrun")
    machine, watch = read_options(MachineOptions, args), read_options(WatchOptions, args)
    processes, checks = read_options(ProcessOptions, args), read_options(CheckOptions, args)
    share(experiments, args.jobs, machine, processes, watch, checks, args.results)


def share(
    experiments: dict[str, list[Experiment]], jobs: int, machine: MachineOptions, processes: ProcessOptions,
    watch: WatchOptions, checks: CheckOptions, results: Path,
) -> None:  # fmt: skip
    """Run in this process where one run at a time has one process, else in processes of their own."""
    from harness.engine import machine as machines

    each, here, watching = processes.count(machine.device), machine.machine(), watch.watch()  # refuse what runs would
    machines.afford(each, processes.gpus, machine.device)
    if jobs == each == 1:
        return reproduce(experiments, here, watching, results, options.CACHE, checks.allow_test_images)
    from harness.engine.jobs import spread

    line = passed_on(machine, processes, watch, checks, results)
    if spread(experiments, line, jobs, machines.gpus(machine.device), each, results):
        raise SystemExit(1)


def plan(names: Sequence[str], extra: Sequence[str], seed: int, trials: int) -> dict[str, list[Experiment]]:
    """Return options of `harness run` → its trials for every row of the tables; UnknownName for an unknown table."""
    more = [*extra, *(["--seed", str(seed)] if seed else []), *(["--trials", str(trials)] if trials != 1 else [])]
    experiments: dict[str, list[Experiment]] = {}
    for name in names:
        for line in (*named(name).rows.values(), *named(name).controls.values()):
            full = shlex.join([*shlex.split(line), *more])
            experiments[full] = parse(shlex.split(full)).trials(trials)
    return experiments


def reproduce(
    experiments: dict[str, list[Experiment]], machine: Machine, watch: Watch, results: Path, cache: Path,
    allow_test_images: bool = False,
) -> None:  # fmt: skip
    """Run the experiments that have no record yet, and say after each how long the others will take."""
    every = [(line, trial) for line, trials in experiments.items() for trial in trials]
    missing = [(line, trial) for line, trial in every if not finished(trial, results)]
    done, took = len(every) - len(missing), 0.0
    print(f"{len(every)} runs, {done} of them run already", flush=True)
    for number, (line, experiment) in enumerate(missing, start=1):
        trial = f", trial {experiment.trial}" if experiment.trial else ""
        print(f"\n[{done + number}/{len(every)}] harness run {line}{trial}", flush=True)
        start = time.monotonic()
        record = run(experiment, machine, watch, results, cache, allow_test_images)
        took += time.monotonic() - start
        left = took / number * (len(missing) - number)
        print("  ".join(f"{name} {score:.2f}" for name, score in (record.scores or {}).items()))
        print(f"{record.id}: {minutes(time.monotonic() - start)}, all about {minutes(left)} more", flush=True)


def minutes(seconds: float) -> str:
    """Return a time in minutes and seconds."""
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
