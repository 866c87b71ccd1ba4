"""Compose the embedded data as a Pascal VOC folder.

Example: harness data scenes --images 100 --size 128 --out scenes
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the data, how much of it, and where it is written."""
    add = parser.add_argument
    add("name", metavar="NAME", choices=["scenes"], help="scenes")
    add("--images", metavar="N", type=int, default=1000, help="train images; a fifth as many to test (1000)")
    add("--size", metavar="S", type=int, default=128, help="pixels of a side (128)")
    add("--seed", metavar="N", type=int, default=0, help="seed of the scenes (0)")
    add("--out", metavar="DIR", required=True, help="a folder that does not exist yet, or is empty")
    add("--sheet", metavar="FILE", type=Path, help="also draw eight scenes with their boxes, as .png or .jpg")


def main(args: argparse.Namespace) -> None:
    """Compose scenes into a folder and say how they are used."""
    from benchmarks.scenes import sheet
    from benchmarks.scenes.folder import write
    from benchmarks.scenes.layout import Layout

    if args.images < 1:
        raise ValueError(f"--images {args.images}: at least 1 was expected")
    counts = {"trainval": args.images, "test": max(1, args.images // 5)}
    layout = Layout(size=args.size)
    if args.sheet:
        sheet.check(args.sheet)
    write(args.out, layout, counts, args.seed, progress=True)
    if args.sheet:
        sheet.write(args.sheet, layout, args.seed)
    print(f"{sum(counts.values())} scenes in {args.out}: try --benchmark voc-folder --benchmark-data {args.out}")
