"""Show what differs between two runs.

Example: harness compare location-s0 location-s1
"""

from __future__ import annotations

import argparse

from harness.evidence.compare import compare
from harness.terminal import say
from harness.verbs import options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the two runs."""
    parser.add_argument("runs", metavar="RUN", nargs=2, help="a run's name, or how it begins")
    options.add_results(parser)


def main(args: argparse.Namespace) -> None:
    """Print two runs side by side."""
    first, second = (options.find_run(args.results, name) for name in args.runs)
    say(compare(first, second))
