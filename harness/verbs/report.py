"""Write one HTML page of verdicts, tables, plots and runs.

Example: harness report --results results/demo --out report.html
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.evidence import destinations
from harness.experiment import Options, add_settings
from harness.settings import read_options
from harness.terminal import shown
from harness.verbs import options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the tables, the page and its figures."""
    options.add_table(parser, "*")
    options.add_rows(parser)
    parser.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="the page, an .html file that is replaced"
    )
    parser.add_argument("--figures", metavar="DIR", type=Path, help="where `harness figure` drew (RESULTS/figures)")
    options.add_results(parser)
    add_settings(parser)


def main(args: argparse.Namespace) -> None:
    """Write the page and name it."""
    from harness.evidence.report import page, source

    destinations.page(args.out)
    options.existing(args.results)
    asked = read_options(Options, args)
    known = source.read(args.names, asked.shared, args.row, asked.preset, asked.changed, args.results)
    page.write(known, args.figures or args.results / "figures", args.out)
    print(f"report: {shown(args.out)}")
