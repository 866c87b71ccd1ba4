"""Say what the runs can decide: intervals, comparisons and verdicts.

Example: harness claims A1 --baseline SimSiam
"""

from __future__ import annotations

import argparse

from harness.evidence import findings
from harness.evidence.prediction import predictions
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
    evidence, known = options.evidence_for(args, asked, args.row)
    predicted = predictions(args.name, evidence.rows, known)
    say(findings.render_claims(evidence, args.baseline, args.format, predicted))
