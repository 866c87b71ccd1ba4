"""Say what the runs can decide: intervals, comparisons and verdicts.

Example: harness claims A1 --baseline SimSiam
"""

from __future__ import annotations

import argparse

from harness.evidence import claims, findings
from harness.evidence.claims import judged_with
from harness.evidence.prediction import predictions
from harness.evidence.rows import fill_rows
from harness.experiment import Options, add_settings
from harness.settings import read_options
from harness.terminal import say
from harness.verbs import options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the table, the score, the baseline and how it is printed."""
    options.add_table(parser)
    options.add_rows(parser)
    options.add_score(parser)
    parser.add_argument("--baseline", metavar="ROW", help="the row that all are compared with (the table's first)")
    parser.add_argument("--format", choices=("text", "md", "json"), default="text", help="(text)")
    options.add_results(parser)
    add_settings(parser)


def main(args: argparse.Namespace) -> None:
    """Print what the evidence can decide."""
    asked = read_options(Options, args)
    known = options.read_records(args.name, args.results)
    rows = fill_rows(args.name, asked.shared, known, args.row)
    beside = {name: fill_rows(name, asked.shared, known) for name in judged_with(args.name)}
    evidence = claims.evidence(args.name, args.score, rows, asked.preset, asked.changed, beside)
    predicted = predictions(args.name, rows, known)
    say(findings.render_claims(evidence, args.baseline, args.format, predicted))
