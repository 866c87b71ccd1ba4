"""Draw Fig. A1, or what the strategies pair.

Example: harness figure matches
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness import plugins
from harness.evidence import destinations
from harness.terminal import shown
from harness.verbs import options

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the figures, each with its options."""
    figures = parser.add_subparsers(metavar="FIGURE", required=True)
    summary = "a run's pseudo categories in two views of its images"
    figure = figures.add_parser("A1", help=summary, description=summary, epilog="Example: harness figure A1 --run RUN")
    figure.set_defaults(draw=draw_categories, stem="A1-categories")
    add = figure.add_argument
    add("--run", metavar="RUN", required=True, help="a run whose weights are here")
    add("--code", metavar="MODULE", action="append", default=[], help="the run's strategy or benchmark, if yours")
    add("--images", metavar="N", type=int, default=6, help="images of the run's (6)")
    add_picture(figure)
    summary = "the places that each strategy pairs in two views of an image"
    example = "Example: harness figure matches --strategy pixel_distance"
    figure = figures.add_parser("matches", help=summary, description=summary, epilog=example)
    figure.set_defaults(draw=draw_matches, stem="matches")
    add = figure.add_argument
    add("--run", metavar="RUN", help="the run whose recipe and weights are used (the demo's, random)")
    add("--strategy", metavar="NAME", help="one strategy (all that train)")
    add("--image", metavar="FILE", type=Path, help="an image (an embedded scene)")
    add("--seed", metavar="N", type=int, default=0, help="seed of the views and of random weights (0)")
    add("--set", metavar="FIELD=VALUE", action="append", default=[], help="of the recipe, or strategy.FIELD")
    add_picture(figure)


def add_picture(parser: argparse.ArgumentParser) -> None:
    """Add the size of a view and the files."""
    parser.add_argument("--size", metavar="PX", type=int, default=224, help="pixels of a side of a view (224)")
    out = "a folder, FILE.png, FILE.pdf, or without ending both (in results/figures)"
    parser.add_argument("--out", metavar="FILE", help=out)
    options.add_results(parser)


def main(args: argparse.Namespace) -> None:
    """Draw a figure and name its files."""
    from harness.evidence.style import save

    out = destinations.picture(args.out, args.results / "figures" / args.stem)
    for file in save(args.draw(args), out):
        print(f"figure: {shown(file)}")


def draw_categories(args: argparse.Namespace) -> Figure:
    """Draw the channel of z that is largest at each place (Fig. A1)."""
    from harness.evidence.figures.categories import categories

    for path in args.code:
        plugins.imported(path, "module")
    return categories(options.find_run(args.results, args.run), options.CACHE, args.images, args.size)


def draw_matches(args: argparse.Namespace) -> Figure:
    """Draw the places that the strategies pair."""
    from harness.evidence.figures.matches import matches

    record = options.find_run(args.results, args.run) if args.run is not None else None
    return matches(args.strategy, record, args.image, args.seed, args.size, args.set)
