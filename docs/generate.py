"""Writes the pages that are made from the code and from texts outside docs/."""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from docs import outputs
from harness import ROOT, plugins

COPIED = ("methods/METHODS.md", "benchmarks/scenes/CREDITS.md", "CHANGELOG.md", "CONTRIBUTING.md",
          "results/*.md", "results/speed/*.md")  # fmt: skip
# texts of the repository that a page links to; docs/ links to them as it finds them, generated/ has them below itself
LINK = re.compile(r"\]\(\.\./((?:methods|benchmarks|results|CHANGELOG|CONTRIBUTING)[\w./-]*\.md)")
SECTION = re.compile(r"^(#+) (\d+(?:\.\d+)?)\.? ", re.MULTILINE)  # of METHODS.md
CITED = re.compile(r"METHODS (\d+(?:\.\d+)?)")
ADDRESS = re.compile(r"https://[\w./-]*\w")
FIELD = re.compile(r"^    (\w+): (.+?) = (.+?)(?:  # (.*))?$")


def write(folder: Path) -> None:
    """Write all generated pages into a folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in pages():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every generated page."""
    for pattern in COPIED:
        for file in sorted(ROOT.glob(pattern)):
            yield file.relative_to(ROOT).as_posix(), copied(file)
    for name in plugins.strategy_files():
        yield f"strategies/{name}.md", strategy_page(name)
    yield "commands.md", commands_page()


def copied(file: Path) -> str:
    """Return a text of the repository with a title; the sections of METHODS.md become targets such as methods-4.1."""
    text = file.read_text(encoding="utf-8")
    if not text.startswith("# "):
        text = f"# {file.stem}\n\n{text}"
    return SECTION.sub(r"(methods-\2)=\n\n\1 \2 ", text) if file.name == "METHODS.md" else text


def relink(text: str) -> str:
    """Return a page of docs/ with its links to texts of the repository led to their generated copies."""
    return LINK.sub(r"](/generated/\1", text)


def cite(text: str) -> str:
    """Return Markdown in which every `METHODS n` links to that section, and every address to its page."""
    return ADDRESS.sub(r"<\g<0>>", CITED.sub(r"[METHODS \1](#methods-\1)", text))


def strategy_page(name: str) -> str:
    """Return a strategy's page: its docstrings, its settings and its code."""
    found = plugins.strategy(name)
    module = inspect.getmodule(found)
    assert module is not None
    settings = [
        f"| `{field}` | `{default}` | {cite(comment or '')} |" for field, default, comment in fields_of(found, set())
    ]
    table = ["| `--set strategy.…` | default | meaning |", "|---|---|---|", *settings]
    return "\n".join([
        f"# {name}\n", cite(inspect.getdoc(module) or ""), "", cite(inspect.getdoc(found) or ""), "",
        f"```\nharness run --strategy {name}\n```", "",
        *(["## Settings\n", *table] if settings else ["It has no settings of its own."]), "",
        "## Q, K and W\n", cite(inspect.getdoc(found.__call__) or ""), "",
        "## Code\n", f"`methods/strategies/{name}.py`:\n",
        f"```{{literalinclude}} ../../../methods/strategies/{name}.py\n:language: python\n```", "",
    ])  # fmt: skip


def fields_of(found: type, seen: set[str]) -> Iterator[tuple[str, str, str | None]]:
    """Yield name, default and comment of a dataclass's fields as its source has them, inherited ones included."""
    names = {field.name for field in fields(found)}
    for owner in found.__mro__:
        if owner.__module__.startswith("methods.") and "__dataclass_fields__" in vars(owner):
            for line in inspect.getsource(owner).splitlines():
                if (match := FIELD.match(line)) and match[1] in names - seen:
                    seen.add(match[1])
                    yield match[1], match[3], match[4]


def commands_page() -> str:
    """Return the help text of every verb as a terminal of 80 columns shows it."""
    parts = ["# Commands\n", "What `harness VERB --help` prints.\n"]
    for verb in outputs.verbs():
        parts += [f"## {verb}\n", f"```text\n{outputs.help_text(*verb.split()).rstrip()}\n```\n"]
    return "\n".join(parts)
