"""Show a run: its settings, provenance, scores and files.

Example: harness show location-s0
"""

from __future__ import annotations

import argparse
import json

from harness import records
from harness.terminal import say, shown
from harness.verbs import options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the run."""
    options.add_run(parser)
    options.add_results(parser)


def main(args: argparse.Namespace) -> None:
    """Print a run's record."""
    record = records.find(args.results, args.run)
    parts = {
        "settings": record.settings,
        "provenance": record.provenance or None,
        "gauges": record.gauges(),
        "scores": record.scores,
    }
    say(f"run {record.id}: {record.status}\n{shown(record.folder)}")
    for name, content in parts.items():
        say(f"\n{name}:\n{json.dumps(content, indent=2, ensure_ascii=False)}")
    print("\nfiles:")
    for file in sorted(record.folder.iterdir()):
        say(f"  {file.stat().st_size:>11,} {file.name}")
