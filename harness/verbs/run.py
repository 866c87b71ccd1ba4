"""Pre-train a backbone, fine-tune a detector and record the scores.

Example: harness run --strategy location
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.resuming import signals
from harness import ROOT
from harness.engine import distributed, launch
from harness.engine.run import OtherCode, beside, finished, known_run, run, worker_loop
from harness.evidence.compare import from_preset
from harness.experiment import Experiment, Options, Pretraining, add_backbone, add_seeds, add_settings, build
from harness.plugins import dotted
from harness.records import Record
from harness.settings import read_options, split_change, write_options
from harness.terminal import fold, shown, suggest
from harness.verbs import options
from harness.verbs.options import CheckOptions, MachineOptions, ProcessOptions, WatchOptions


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what to run, and where."""
    add_backbone(parser)
    parser.add_argument("--dry-run", action="store_true", help="print steps, costs and changed settings; do nothing")
    parser.add_argument("--json", action="store_true", help="with --dry-run: print all settings, as JSON")
    add_old(parser)
    options.add_results(parser)
    add_settings(parser)
    add_seeds(parser)
    options.add_machine(parser)
    options.add_processes(parser)
    options.add_watching(parser)
    options.add_checks(parser)


def add_old(parser: argparse.ArgumentParser) -> None:
    """Add what happens where a run of these settings was made by other code or on other data."""
    old = parser.add_mutually_exclusive_group()
    old.add_argument("--again", action="store_true", help="make it anew if other code or data made it; both are kept")
    old.add_argument("--keep-old", action="store_true", help="take it as it is, whatever code and data made it")


def main(args: argparse.Namespace) -> None:
    """Run the experiment unless it has been run; SIGTERM and SIGUSR1 stop it as cleanly as Ctrl-C."""
    signals.requeue_on_signals()
    asked, machine = read_options(Options, args), read_options(MachineOptions, args)
    experiment = build(asked)
    if args.json and not args.dry_run:
        raise ValueError("--json: means nothing without --dry-run")
    if args.dry_run:
        from harness.engine.estimate import estimate

        summary = estimate(experiment.trials(asked.trials), machine.machine())
        print(settings_json(experiment) if args.json else f"{summary}\n{fold(changed_settings(asked, experiment))}")
        return
    launch.die_with_parent()
    count = read_options(ProcessOptions, args).count(machine.device)
    experiment.divide(max(count, distributed.world().size))
    if launch.to_launch(count):
        raise SystemExit(launch.launch(args.line, count))
    measure_reference(experiment)
    with distributed.process_group():
        if not distributed.world().leads:
            return worker_loop(experiment, machine.machine(), args.results, options.CACHE)
        watch, checks = read_options(WatchOptions, args), read_options(CheckOptions, args)
        find = partial(known, machine=machine, results=args.results, again=args.again, keep_old=args.keep_old)
        done = record(experiment.trials(asked.trials), machine, watch, checks, args.results, find)
        distributed.broadcast_job()
    suggest(*next_steps(asked, done[0].id, args.results))


def measure_reference(experiment: Experiment) -> None:
    """Compute the reference numbers, which are then known: each rank its own, before the ranks share their sums."""
    from harness.engine.reference import reference

    if isinstance(experiment.backbone, Pretraining):
        reference(experiment.backbone.strategy, experiment.backbone.recipe)


def known(experiment: Experiment, machine: MachineOptions, results: Path, again: bool, keep_old: bool) -> Record | None:
    """Return the run of an experiment that need not be made; OtherCode if the user must choose."""
    if keep_old:
        return finished(experiment, results)
    try:
        return known_run(experiment, machine.machine(), results, options.CACHE)
    except OtherCode:
        if not again:
            raise
        return None


def settings_json(experiment: Experiment) -> str:
    """Return the name of an experiment's run and all settings, as JSON."""
    return json.dumps({"run": experiment.run_id, "settings": experiment.settings}, indent=2, ensure_ascii=False)


def changed_settings(asked: Options, experiment: Experiment) -> str:
    """Return a line on the preset and the settings that differ from it, those of a user's own strategy included."""
    preset, fields = from_preset(json.loads(json.dumps(experiment.settings)))
    own = {f"strategy.{field}": value for part, field, value in map(split_change, asked.set) if part == "strategy"}
    return f"settings: {options.described(preset, {**own, **fields})} (all of them: --json)"


def record(
    experiments: Sequence[Experiment], machine: MachineOptions, watch: WatchOptions, checks: CheckOptions,
    results: Path, find: Callable[[Experiment], Record | None],
) -> list[Record]:  # fmt: skip
    """Return the runs of the experiments, of which those that are not found are made, and print all scores."""
    done = []
    for experiment in experiments:
        if made := find(experiment):
            print(f"this has been run: {made.id}")
        else:
            new = beside(experiment, results)
            print(f"run {new.run_id}", flush=True)
            allowed = checks.allow_test_images
            made = run(new, machine.machine(), watch.watch(), results, options.CACHE, allowed)
        print("  ".join(f"{name} {score:.2f}" for name, score in (made.scores or {}).items()))
        print(f"record: {shown(made.folder)}")
        done.append(made)
    return done


def next_steps(asked: Options, run: str, results: Path) -> list[str]:
    """Return the commands that follow a run: its record, the table that it counts in, and the next seed."""
    place = [] if results == ROOT / "results" else ["--results", str(shown(results))]
    own = asked.strategy is not None and dotted(asked.strategy)
    row = ["--row", f"{asked.strategy}=--strategy {asked.strategy}"] if own else []
    seed = write_options(replace(asked, seed=asked.seed + 1))
    lines = [["show", run, *place], ["table", "A1", *row, *asked.shared, *place], ["run", *seed, *place]]
    return [shlex.join(["harness", *line]) for line in lines if asked.strategy or line[0] != "table"]
