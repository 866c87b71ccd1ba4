"""List everything that can be chosen by name.

Example: harness list
"""

from __future__ import annotations

import argparse
from textwrap import wrap

from harness import plugins
from harness.presets import PRESETS
from harness.tables import TABLES

COLUMNS = 80


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the list has no options."""


def main(args: argparse.Namespace) -> None:
    """Print every kind of thing that has a name, each with a line on it."""
    kinds = {
        **plugins.summaries(),
        "presets": {name: preset.summary for name, preset in PRESETS.items()},
        "tables": {name: table.summary for name, table in TABLES.items()},
    }
    for kind, lines in kinds.items():
        print(f"{kind}:")
        for name, line in lines.items():
            print("\n".join(wrap(f"  {name:<18} {line}", COLUMNS, subsequent_indent=" " * 21)))
