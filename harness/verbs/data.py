"""Check a folder of images, or compose the embedded data.

Example: harness data check my-voc
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from harness.terminal import say, visible


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be done with data, each with its options."""
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    summary = "compose the embedded data as a Pascal VOC folder"
    example = "Example: harness data scenes --images 100 --size 128 --out scenes"
    scenes = kinds.add_parser("scenes", help=summary, description=summary, epilog=example)
    scenes.set_defaults(do=compose)
    add = scenes.add_argument
    add("--images", metavar="N", type=int, default=1000, help="train images; a fifth as many to test (1000)")
    add("--size", metavar="S", type=int, default=128, help="pixels of a side (128)")
    add("--seed", metavar="N", type=int, default=0, help="seed of the scenes (0)")
    add("--out", metavar="DIR", required=True, help="a folder that does not exist yet, or is empty")
    add("--sheet", metavar="FILE", type=Path, help="also draw eight scenes with their boxes, as .png or .jpg")
    summary = "name all flaws of a Pascal VOC, a COCO or a pre-training folder; count its images, classes and sizes"
    check = kinds.add_parser("check", help=summary, description=summary, epilog="Example: harness data check my-voc")
    check.set_defaults(do=check_folder)
    add = check.add_argument
    add("folder", metavar="DIR", type=Path, help="as --data or --benchmark-data take it")
    add("--strict", action="store_true", help="mend nothing, as --set benchmark.strict=true")
    add("--sheet", metavar="FILE", type=Path, help="also draw eight images with their boxes, as .png or .jpg")


def main(args: argparse.Namespace) -> None:
    """Do what was asked for."""
    args.do(args)


def check_folder(args: argparse.Namespace) -> None:
    """Print what is in a folder; ValueError counts the flaws, which are printed before, a line each."""
    from benchmarks.data import checking
    from benchmarks.resuming import files
    from benchmarks.scenes.sheet import check
    from harness.engine.images import existing_folder, find_images

    if args.sheet:
        check(args.sheet)
    notes: list[str] = []
    report = checking.check_annotated(existing_folder(str(args.folder)), args.strict)
    if report is None:
        images, notes = find_images(args.folder)
        report = checking.check_images(images)
    say("\n".join(map(visible, [*report.lines, *notes, *report.flaws])))
    if args.sheet and report.samples:
        kind = "png" if args.sheet.suffix.lower() == ".png" else "jpeg"
        files.write(args.sheet, partial(checking.sheet(report.samples).save, format=kind))
        print(f"drawn: {args.sheet}")
    if report.flaws:
        raise ValueError(f"{args.folder}: {len(report.flaws):,} flaws, named above")
    print("no flaw")


def compose(args: argparse.Namespace) -> None:
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
