"""Keeps the outputs that README.md and docs/ quote equal to what the commands print: python -m docs.outputs.

A block of the language `console` begins with `$ harness …`, and the output follows.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```console\n\$ harness (.*)\n((?:.*\n)*?)```$", re.MULTILINE)
VERB = re.compile(r"^ {2,4}([a-z]+)(?: +|\n +)\S", re.MULTILINE)  # in the help text
PART = re.compile(r"^ {4}(\w+) +\S", re.MULTILINE)  # of a verb that has several


class Quote(NamedTuple):
    """A command and the output that a page quotes."""

    command: str  # without `harness`
    output: str


def quotes(page: Path) -> Iterator[Quote]:
    """Yield what a page quotes."""
    for command, output in BLOCK.findall(page.read_text(encoding="utf-8")):
        yield Quote(command, output)


def printed(command: str) -> str:
    """Return what `harness` prints in the checkout's folder, in a terminal of 80 columns."""
    from harness.cli import main

    os.environ["COLUMNS"] = "80"
    with chdir(ROOT), redirect_stdout(io.StringIO()) as out:
        code = main(shlex.split(command))
    if code:
        raise ValueError(f"harness {command}: exit code {code}")
    return out.getvalue().rstrip() + "\n"


def help_text(*verb: str) -> str:
    """Return what `harness VERB --help` prints."""
    from harness.cli import main

    os.environ["COLUMNS"] = "80"
    with redirect_stdout(io.StringIO()) as out, suppress(SystemExit):
        main([*verb, "--help"])
    return out.getvalue()


def verbs() -> list[str]:
    """Return the verbs that `harness --help` lists, with the figures that can be drawn and the parts of `data`."""
    parts = [f"{verb} {part}" for verb in ("figure", "data") for part in PART.findall(help_text(verb))]
    return VERB.findall(help_text()) + parts


def rewrite(page: Path) -> None:
    """Write a page with the outputs of today."""

    def renew(block: re.Match[str]) -> str:
        return f"```console\n$ harness {block[1]}\n{printed(block[1])}```"

    text = page.read_text(encoding="utf-8")
    page.write_text(BLOCK.sub(renew, text), encoding="utf-8")


if __name__ == "__main__":
    for page in PAGES:
        rewrite(page)
