"""Pre-train a backbone, fine-tune a detector and record the scores.

Example: harness run --strategy location
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.resuming import signals
from harness.engine import distributed, launch
from harness.engine.known import Known, look_up
from harness.engine.run import check_alone, refuse_folders, run, worker_loop
from harness.evidence.compare import from_preset
from harness.evidence.render import place_of
from harness.experiment import Experiment, Options, Pretraining, add_backbone, add_settings, build
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
    options.add_old(parser)
    options.add_results(parser)
    add_settings(parser)
    options.add_seeds(parser)
    options.add_machine(parser)
    options.add_processes(parser)
    options.add_watching(parser)
    options.add_checks(parser)


def main(args: argparse.Namespace) -> None:
    """Make the runs unless they have been made; SIGTERM and SIGUSR1 stop them as cleanly as Ctrl-C."""
    signals.requeue_on_signals()
    asked, machine = read_options(Options, args), read_options(MachineOptions, args)
    seeds = options.seeds_of(args)
    each_asked = options.one_by_one(asked, seeds)
    experiments = [build(one) for one in each_asked]
    kinds = experiments[: len(each_asked) // len(seeds)]  # of the first seed, one a benchmark
    if args.json and not args.dry_run:
        raise ValueError("--json: means nothing without --dry-run")
    count = read_options(ProcessOptions, args).count(machine.device)
    for each in kinds:
        each.divide(max(count, distributed.world().size))
        if not args.keep_old:
            refuse_folders(each, options.CACHE, planned=args.dry_run)
    if args.dry_run:
        from harness.engine.estimate import estimate

        if args.json:
            print(*map(settings_json, kinds), sep="\n")
            return
        checks = read_options(CheckOptions, args)
        for each in kinds if checks.check_images else ():
            print(*check_alone(each, machine.machine(), options.CACHE, checks.allow_test_images), sep="\n")
        print(estimate([trial for each in kinds for trial in each.trials(asked.trials)], machine.machine()))
        if len(seeds) > 1:
            print(f"and all of it again for the other {len(seeds) - 1} of {len(seeds)} seeds")
        print(*(fold(changed_settings(*both)) for both in zip(each_asked, kinds, strict=False)), sep="\n")
        return
    launch.die_with_parent()
    if launch.to_launch(count):
        raise SystemExit(launch.launch(args.line, count))
    measure_reference(experiments[0])
    with distributed.process_group():
        if not distributed.world().leads:
            for each in experiments:
                worker_loop(each, machine.machine(), args.results, options.CACHE)
            return
        watch, checks = read_options(WatchOptions, args), read_options(CheckOptions, args)
        every = [trial for each in experiments for trial in each.trials(asked.trials)]
        known = look_up(every, machine.machine, args.results, options.CACHE, args.again, args.keep_old)
        made = []
        for start in range(0, len(known), asked.trials):  # the trials of a seed and a benchmark
            made += record(known[start : start + asked.trials], machine, watch, checks, args.results)
            distributed.broadcast_job()
    if len(experiments) > 1:
        done = sum(one.record is not None for one in known)
        print(f"{len(known)} runs: {len(known) - done} made now, {done} made before")
    suggest(*next_steps(replace(asked, seed=seeds[-1]), made[0].id, args.results))


def measure_reference(experiment: Experiment) -> None:
    """Compute the reference numbers, which are then known: each rank its own, before the ranks share their sums."""
    from harness.engine.reference import reference

    if isinstance(experiment.backbone, Pretraining):
        reference(experiment.backbone.strategy, experiment.backbone.recipe)


def settings_json(experiment: Experiment) -> str:
    """Return the name of an experiment's run and all settings, as JSON."""
    return json.dumps({"run": experiment.run_id, "settings": experiment.settings}, indent=2, ensure_ascii=False)


def changed_settings(asked: Options, experiment: Experiment) -> str:
    """Return a line on the preset and the settings that differ from it, those of a user's own strategy included."""
    preset, fields = from_preset(json.loads(json.dumps(experiment.settings)))
    own = {f"strategy.{field}": value for part, field, value in map(split_change, asked.set) if part == "strategy"}
    return f"settings: {options.described(preset, {**own, **fields})} (all of them: --json)"


def record(
    runs: Sequence[Known], machine: MachineOptions, watch: WatchOptions, checks: CheckOptions, results: Path
) -> list[Record]:
    """Return the records of runs, of which those that have none are made, and print all scores."""
    done = []
    for experiment, made in runs:
        if made:
            print(f"this has been run: {made.id}")
        else:
            print(f"run {experiment.run_id}", flush=True)
            made = run(experiment, machine.machine(), watch.watch(), results, options.CACHE, **vars(checks))
        print("  ".join(f"{name} {score:.2f}" for name, score in (made.scores or {}).items()))
        print(f"record: {shown(made.folder)}", flush=True)
        done.append(made)
    return done


def next_steps(asked: Options, run: str, results: Path) -> list[str]:
    """Return the commands that follow a run: its record, the table that it counts in, and the next seed."""
    place = shlex.split(place_of(results, str(shown(results))))
    own = asked.strategy is not None and dotted(asked.strategy)
    row = ["--row", f"{asked.strategy}=--strategy {asked.strategy}"] if own else []
    seed = write_options(replace(asked, seed=asked.seed + 1))
    one = replace(asked, benchmark=asked.benchmark and asked.benchmark.partition(",")[0])
    lines = [["show", run, *place], ["table", "A1", *row, *one.shared, *place], ["run", *seed, *place]]
    return [shlex.join(["harness", *line]) for line in lines if asked.strategy or line[0] != "table"]
