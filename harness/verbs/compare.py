"""Show what differs between two runs.

Example: harness compare location-s0 location-s1
"""

from __future__ import annotations

import argparse

from harness.evidence.compare import compare
from harness.evidence.render import place_of
from harness.terminal import say
from harness.verbs import options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the two runs."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="two runs, by name or how it begins")
    options.add_results(parser)


def main(args: argparse.Namespace) -> None:
    """Print two runs side by side."""
    if len(args.runs) != 2:
        raise ValueError(
            f"compare {' '.join(args.runs)}: two runs were expected, `harness runs{place_of(args.results)}` lists them"
        )
    first, second = (options.find_run(args.results, name) for name in args.runs)
    say(compare(first, second))
