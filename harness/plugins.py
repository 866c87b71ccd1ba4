"""What can be chosen by name: strategies, samplers, similarities and benchmarks; finds them without importing torch."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import methods.strategies
from methods.boxes import BOXES
from methods.sampling import SAMPLERS
from methods.similarity import SIMILARITIES

BENCHMARKS = {  # name on the command line: module, whose BENCHMARK it is
    "scenes": "benchmarks.scenes",
    "voc-folder": "benchmarks.voc_folder",
    "voc07+12": "benchmarks.voc07_12",
    "coco-fpn": "benchmarks.coco_fpn",
    "coco-c4": "benchmarks.coco_c4",
}


class UnknownName(ValueError):
    """A name that stands for nothing; the message says what there is."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for a name that is not among the known ones."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UnknownName(f"no {kind} {name!r}: {hint}choose from {', '.join(names)}")


def strategy_files() -> dict[str, Path]:
    """Name → file of every strategy in methods/strategies."""
    folder = Path(methods.strategies.__path__[0])
    return {file.stem: file for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_")}


def strategy(name: str) -> Any:
    """The strategy class of a name, or of a dotted path outside the checkout such as mine.mutual."""
    if dotted(name):
        return exported(name, "STRATEGY", "strategy")
    if name not in strategy_files():
        raise unknown("strategy", name, strategy_files())
    return exported(f"methods.strategies.{name}", "STRATEGY", "strategy")


def benchmark(name: str) -> Any:
    """The benchmark class of a name."""
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    return exported(BENCHMARKS[name], "BENCHMARK", "benchmark")


def dotted(name: str) -> bool:
    """Whether a name is a path to a module of the user's own, such as mine.mutual."""
    return "." in name and re.fullmatch(r"[\w.]+", name) is not None


def exported(path: str, attribute: str, kind: str) -> Any:
    """What a module exports; a module's own broken import is not reported as an unknown name."""
    sys.path[:0] = [""] if "" not in sys.path else []  # the folder where the user stands
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(f"{error.name}.")):
            raise UnknownName(f"no {kind} {path!r}: Python finds no module {error.name!r}") from error
        raise
    if not hasattr(module, attribute):
        raise UnknownName(f"no {kind} in {path!r}: the module does not set {attribute}")
    return getattr(module, attribute)


def summaries() -> dict[str, dict[str, str]]:
    """Kind → name → one line, of everything that can be chosen here."""
    return {
        "strategies": {name: first_line(docstring(file)) for name, file in strategy_files().items()},
        "samplers": {name: first_line(inspect.getdoc(found)) for name, found in SAMPLERS.items()},
        "boxes": {name: first_line(inspect.getdoc(found)) for name, found in BOXES.items()},
        "similarities": {name: first_line(inspect.getdoc(found)) for name, found in SIMILARITIES.items()},
        "benchmarks": {name: first_line(inspect.getdoc(benchmark(name))) for name in BENCHMARKS},
    }


def docstring(file: Path) -> str | None:
    """A module's docstring, read without running it."""
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


def first_line(text: str | None) -> str:
    """The first line of a docstring."""
    return text.splitlines()[0] if text else ""
