"""Say how many seeds each claim of a table needs, and their cost.

Example: harness plan A1 --power 0.8
"""

from __future__ import annotations

import argparse

from harness.evidence import power
from harness.evidence.render import place_of
from harness.experiment import Options, add_settings, parse
from harness.settings import read_options
from harness.terminal import say
from harness.verbs import options
from harness.verbs.options import MachineOptions


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the table, the score, the power and the machine that is measured where no run tells the cost."""
    options.add_table(parser)
    options.add_score(parser)
    parser.add_argument("--power", metavar="P", type=float, default=0.8, help="chance to decide a claim (0.8)")
    options.add_results(parser)
    add_settings(parser)
    options.add_machine(parser)


def main(args: argparse.Namespace) -> None:
    """Print what deciding costs: at the time of the recorded runs, or as `location` takes here."""
    asked = read_options(Options, args)
    evidence, _ = options.evidence_for(args, asked)
    cost = power.recorded_cost(evidence.rows) or estimated_cost(asked, read_options(MachineOptions, args))
    say(power.render_plan(evidence, args.power, cost, place_of(args.results)))


def estimated_cost(asked: Options, options: MachineOptions) -> power.Cost:
    """Return the cost of one run of `location` here, measured on a few small steps."""
    from harness.engine.estimate import hours

    machine = options.machine()
    unit = "CPU-hours" if machine.device == "cpu" else "GPU-hours"
    experiment = parse(["--strategy", "location", *asked.shared])
    return power.Cost(hours(experiment, machine), unit, "estimated from small steps here, good to a factor of two")
