"""Draw a table from the records, as PNG and PDF.

Example: harness plot A1 --results results/demo
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from harness.evidence import destinations
from harness.evidence.render import place_of
from harness.evidence.rows import Row, fill_rows
from harness.experiment import Options, add_settings
from harness.settings import read_options
from harness.tables import Column
from harness.terminal import shown
from harness.verbs import options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the table, the score, what it is drawn over, and the file."""
    options.add_table(parser)
    options.add_rows(parser)
    against = "draw a score over `steps` or `gauges` of the pre-training, or minus that of a row (ROW)"
    parser.add_argument("--against", metavar="WHAT", help=against)
    parser.add_argument("--no-title", action="store_true", help="leave out the title, for a paper with a caption")
    parser.add_argument("--score", metavar="NAME", help="this score alone (all; with --against the table's first)")
    default = "RESULTS/plots/TABLE, TABLE-steps, TABLE-gauges or TABLE-against-ROW"
    out = f"a folder, FILE.png, FILE.pdf, or without ending both ({default})"
    parser.add_argument("--out", metavar="FILE", help=out)
    options.add_results(parser)
    add_settings(parser)


def main(args: argparse.Namespace) -> None:
    """Draw the plot and name its files; ValueError where there is nothing to draw."""
    asked = read_options(Options, args)
    known = options.read_records(args.name, args.results)
    rows = fill_rows(args.name, asked.shared, known, args.row)
    score = score_to_draw(args.name, args.against, args.score, rows, asked)
    from harness.evidence import plots  # half a second, which a refused score need not wait for
    from harness.evidence.plots import steps

    lengths = steps.lengths(args.name, asked.shared, known, args.row) if args.against == "steps" else [rows]
    if not any(row.n for rows in lengths for row in rows):
        line = shlex.join(["harness", "reproduce", args.name, *asked.shared]) + place_of(args.results)
        raise ValueError(f"no run in {args.results} fills a row of table {args.name}: {line}")
    stem = destinations.picture(args.out, args.results / "plots" / plots.stem_of(args.name, args.against))
    if args.against and score:
        drawn = plots.write_against(args.name, args.against, lengths, score, note(asked), stem, title=not args.no_title)
    else:
        drawn = plots.write(args.name, rows, note(asked), stem, [score] if score else None, title=not args.no_title)
    for path in drawn:
        print(shown(path))


def note(asked: Options) -> str:
    """Return the line under a plot that says whether its numbers may be compared with the paper's."""
    ours = f"ours: preset {asked.preset}" + (", settings changed" if asked.changed else "")
    return ours if asked.preset == "paper" and not asked.changed else f"{ours}, not comparable with the paper's numbers"


def score_to_draw(
    name: str, against: str | None, score: str | None, rows: Sequence[Row], asked: Options
) -> Column | None:
    """Return the score that is asked for; None for all that the table has."""
    from harness.evidence import claims

    if against is None and score is None:
        return None
    return claims.evidence(name, score, rows, asked.preset, asked.changed).score
