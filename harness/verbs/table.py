"""Print a table of the paper's numbers beside those of our runs.

Example: harness table A1 --format md
"""

from __future__ import annotations

import argparse

from harness.evidence.left_out import left_out
from harness.evidence.render import render
from harness.evidence.rows import fill_rows
from harness.experiment import Options, add_settings
from harness.settings import read_options
from harness.terminal import fold, say
from harness.verbs import options

FORMATS = ("text", "md", "latex", "csv", "json")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the table and how it is printed."""
    options.add_table(parser)
    options.add_rows(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="(text)")
    parser.add_argument("--why", action="store_true", help="say of every run that does not count what differs")
    options.add_results(parser)
    add_settings(parser)


def main(args: argparse.Namespace) -> None:
    """Print the table, and with --why the runs that are left out of it."""
    asked = read_options(Options, args)
    known = options.read_records(args.name, args.results)
    rows = fill_rows(args.name, asked.shared, known, args.row)
    say(render(args.name, rows, asked.preset, asked.changed, args.format, args.results))
    if args.why:
        print()
        for line in left_out(rows, known):
            say(fold(line))
