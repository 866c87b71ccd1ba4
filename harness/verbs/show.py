"""Show a run: scores, changed settings, gauges, where it was made.

Example: harness show location-s0
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from typing import Any

from benchmarks import CLASSES
from benchmarks.resuming.strict_json import read_object
from harness.evidence.compare import from_preset, shown_gauges
from harness.evidence.render import place_of
from harness.records import Record
from harness.terminal import fold, say, shown
from harness.verbs import options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the run."""
    options.add_run(parser)
    parser.add_argument("--json", action="store_true", help="print the whole record, every setting included, as JSON")
    options.add_results(parser)


def main(args: argparse.Namespace) -> None:
    """Print what matters of a run's record, or all of it."""
    record = options.find_run(args.results, args.run)
    if args.json:
        print(json.dumps(whole(record), indent=2, ensure_ascii=False))
        return
    for line in summary(record, place_of(args.results)):
        say(fold(line))


def whole(record: Record) -> dict[str, Any]:
    """Return all that is recorded of a run."""
    return {
        "run": record.id,
        "status": record.status,
        "folder": str(record.folder),
        "scores": record.scores,
        "classes": class_scores(record),
        "gauges": record.gauges(),
        "settings": record.settings,
        "provenance": record.provenance,
        "files": {file.name: file.stat().st_size for file in sorted(record.folder.iterdir())},
    }


def summary(record: Record, place: str = "") -> list[str]:
    """Return the lines that matter: scores, settings that differ from the preset's, gauges, machine and files."""
    preset, fields = from_preset(record.settings)
    gauges = [f"{name}: {value:.3g}" for name, value in shown_gauges(record.gauges()).items()]
    files = sorted(record.folder.iterdir())
    size = sum(file.stat().st_size for file in files) / 2**20
    scores = [f"{name} {score:.2f}" for name, score in (record.scores or {}).items()]
    return [
        f"run       {record.id}, {record.status.lower()}",
        f"scores    {'  '.join(scores) or 'none, since it is not finished'}",
        *class_lines(class_scores(record)),
        f"settings  {options.described(preset, fields)}",
        *([f"gauges    {'; '.join(gauges)} (means of the last epoch)"] if gauges else []),
        *made(record.provenance),
        f"files     {shown(record.folder)}: {len(files)} files, {size:.1f} MiB",
        f"all of it harness show {record.id} --json{place}",
    ]


def class_scores(record: Record) -> dict[str, dict[str, float]]:
    """Return class → score → value; empty where the benchmark has left none."""
    file = record.folder / CLASSES
    return read_object(file, {...: {...: (int, float)}}) if record.scores and file.exists() else {}


def class_lines(classes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a line with the AP of each class, and one with that of its masks where there are masks."""
    names = ("AP", "mask_AP")
    values = {name: [f"{label} {of[name]:.2f}" for label, of in classes.items() if name in of] for name in names}
    return [f"classes   {name}: {', '.join(scores)}" for name, scores in values.items() if scores]


def made(provenance: Mapping[str, Any]) -> list[str]:
    """Return the lines about how, where and by which code a run was made, as far as it is recorded."""
    machine, code, seconds = (provenance.get(part) or {} for part in ("machine", "code", "seconds"))
    place = [str(machine[name]) for name in ("device",) if name in machine]
    took = [f"{part} {value:.0f} s" for part, value in seconds.items()]
    changed = " with changes" if code.get("dirty") else ""
    commit = [f"commit {str(code['commit'])[:8]}{changed}"] if code.get("commit") else []
    files = [f"{name} {digest}" for name, digest in (code.get("files") or {}).items()]
    command = [str(word) for word in provenance.get("command", [])]
    return [
        *([f"made on   {'; '.join([*place, *took, *commit])}"] if place or took or commit else []),
        *([f"own code  {', '.join(files)} (text in code/)"] if files else []),
        *([f"command   {shlex.join(command)}"] if command else []),
    ]
