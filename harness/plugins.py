"""Registries of what is chosen by name: strategies, samplers, similarities, benchmarks; none imports torch."""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol, cast

import benchmarks
import methods.strategies
from benchmarks import AnyBenchmark, Benchmark
from harness import ROOT
from harness.terminal import Listing, Traced, shown
from methods.boxes import BOXES
from methods.correspondence import Strategy
from methods.sampling import SAMPLERS
from methods.similarity import SIMILARITIES


class UnknownName(Listing):
    """Name that stands for nothing; the message says which there are."""


class Misfit(ValueError):
    """Class of the user's that does not keep its contract; the message says in what."""


class Contract(NamedTuple):
    """Contract that a class of the user's must keep, checked before the class is used."""

    kind: str
    base: type  # that it inherits from
    members: tuple[str, ...]  # that it defines
    fields: tuple[str, ...] = ()


class Verb(Protocol):
    """A file of harness/verbs, whose docstring is a summary line and an example."""

    __doc__: str | None

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's options to its parser."""

    def main(self, args: argparse.Namespace) -> None:
        """Do what the parsed options ask for; args.line holds the whole command line."""


def unknown(kind: str, name: str, known: Iterable[str], owner: str = "") -> UnknownName:
    """Return the error for a name that is not among the known ones; owner is what was typed before the name."""
    names = list(known)
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f"did you mean {owner + folded[near[0]]!r}? " if near else ""
    return UnknownName(f"no {kind} {owner + name!r}: {hint}choose from", names)


def strategy_files() -> dict[str, Path]:
    """Return name → file of every strategy in methods/strategies."""
    folder = Path(methods.strategies.__path__[0])
    return {file.stem: file for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_")}


def verb_files() -> dict[str, Path]:
    """Return name → file of every verb in harness/verbs; options.py holds what several of them share."""
    files = sorted((ROOT / "harness" / "verbs").glob("*.py"))
    return {file.stem: file for file in files if file.stem not in ("__init__", "options")}


def verb(name: str) -> Verb:
    """Return the module of a verb."""
    return cast("Verb", importlib.import_module(f"harness.verbs.{name}"))


def strategy(name: str) -> type[Strategy]:
    """Return the strategy class of a name, or of a dotted path outside the checkout such as mine.corners."""
    modules = {one: f"methods.strategies.{one}" for one in strategy_files()}
    found: type[Strategy] = chosen(name, modules, Contract("strategy", Strategy, ("__call__",)))
    return found


def benchmark_modules() -> dict[str, str]:
    """Return name → module of every file and package in benchmarks/ that sets BENCHMARK."""
    folders = [Path(folder) for folder in benchmarks.__path__]
    files = sorted(file for folder in folders for kind in ("*.py", "*/__init__.py") for file in folder.glob(kind))
    named = {benchmark_name(file.read_text(encoding="utf-8")): file for file in files}
    stems = {name: file.parent.name if file.stem == "__init__" else file.stem for name, file in named.items() if name}
    return {name: f"benchmarks.{stem}" for name, stem in stems.items()}


@cache
def benchmark_name(text: str) -> str | None:
    """Return the `name` of the class that a text sets BENCHMARK to, read without running it; None if it sets none."""
    if "\nBENCHMARK = " not in text:
        return None
    lines = ast.parse(text).body
    classes = {line.name: line.body for line in lines if isinstance(line, ast.ClassDef)}
    for line in lines:
        match line:
            case ast.Assign(targets=[ast.Name(id="BENCHMARK")], value=ast.Name(id=exported)):
                for member in classes.get(exported, []):
                    match member:
                        case ast.AnnAssign(target=ast.Name(id="name"), value=ast.Constant(value=str(name))):
                            return name
    return None


def benchmark(name: str) -> type[AnyBenchmark]:
    """Return the benchmark class of a name, or of a dotted path outside the checkout such as mine.linear."""
    contract = Contract("benchmark", Benchmark, ("name", "prepare", "evaluate"), ("encoder",))
    return cast("type[AnyBenchmark]", chosen(name, benchmark_modules(), contract))


def chosen(name: str, modules: Mapping[str, str], contract: Contract) -> Any:
    """Return the class that a module of ours exports, or one of the user's, which must keep the contract."""
    attribute = contract.kind.upper()
    if name.endswith(".py"):
        raise UnknownName(f"no {contract.kind} {name!r}: {file_hint(name)}")
    if dotted(name):
        found = exported(name, attribute, contract.kind)
        if reason := misfit(found, name, contract):
            raise Misfit(f"no {contract.kind} in {name!r}: {attribute} {reason}")
        return found
    if name not in modules:
        raise unknown(contract.kind, name, modules)
    return exported(modules[name], attribute, contract.kind)


def file_hint(name: str) -> str:
    """Return how the file of a user's is named: as Python imports it from the working folder."""
    path = Path(name)
    inside = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    module = ".".join(inside.with_suffix("").parts)
    if dotted(module):
        return f"did you mean {module!r}?"
    return "a file of yours is named as Python imports it from the working folder: mine/corners.py is mine.corners"


def misfit(found: object, path: str, contract: Contract) -> str | None:
    """Return in what a class of that path breaks the contract; None where it keeps it."""
    if not isinstance(found, type):
        return "is not a class"
    if contract.base not in found.__mro__:
        return f"does not inherit from {contract.base.__module__}.{contract.base.__name__}"
    if "__dataclass_fields__" not in vars(found):
        return "is not a dataclass: @dataclass(frozen=True) is missing"
    known = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(found)}
    if bare := [field for field, needed in known.items() if needed]:
        return f"has fields without a default: {', '.join(bare)}"
    if taken := [one for one in known if one == "name" or hasattr(contract.base, one)]:
        return f"has a setting {', '.join(taken)}, a name of harness's own: rename it, or annotate it as ClassVar"
    if missing := [one for one in contract.members if getattr(found, one, None) is getattr(contract.base, one, None)]:
        return f"does not define {', '.join(missing)}"
    if missing := [one for one in contract.fields if one not in known]:
        return f"has no field {', '.join(missing)}"
    if "name" in contract.members and (called := getattr(found, "name", None)) != path:
        return f"is named {called!r} and would not be found again: name: ClassVar[str] = __name__"
    return None


def dotted(name: str) -> bool:
    """Return whether a name is a path to a module of the user's, such as mine.corners."""
    return re.fullmatch(r"\w+(\.\w+)+", name) is not None


def exported(path: str, attribute: str, kind: str) -> Any:
    """Return what a module exports under a name; UnknownName where it exports none."""
    module = imported(path, kind)
    if not hasattr(module, attribute):
        raise UnknownName(f"no {kind} in {path!r}: the module does not set {attribute}")
    return getattr(module, attribute)


def imported(path: str, kind: str) -> ModuleType:
    """Import a module, also of the current folder; Traced names what is wrong in the module itself, and where."""
    sys.path[:0] = [""] if "" not in sys.path else []
    try:
        return importlib.import_module(path)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and (path == absent or path.startswith(f"{absent}.")):
            raise UnknownName(f"no {kind} {path!r}: Python finds no module {absent!r}") from error
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        message = f"{kind} {path!r} cannot be imported: {type(error).__name__}: {reason}"
        raise Traced(message, frames_of(error)) from error


def frames_of(error: BaseException | None) -> list[str]:
    """Return file, line and text of the frames of an error that are the user's: of no library and not of harness.

    The first frame is that of the call here. Of an error in a strategy of this checkout, its frames are returned.
    """
    libraries = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    ours = tuple(f"{ROOT / name}/" for name in ("harness", "methods", "benchmarks"))
    called = traceback.extract_tb(error.__traceback__)[1:] if error else []
    frames = [(frame.filename, frame.lineno, frame.line) for frame in called]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno, error.text))
    frames = [frame for frame in frames if not frame[0].startswith(("<frozen", *libraries))]
    own = [frame for frame in frames if not frame[0].startswith(ours)]
    return [f"{shown(Path(file))}, line {number}: {(text or '').strip()}" for file, number, text in own or frames]


def summaries() -> dict[str, dict[str, str]]:
    """Return kind → name → one line, of everything that can be chosen by name."""
    return {
        "strategies": {name: first_line(docstring(file)) for name, file in strategy_files().items()},
        "samplers": {name: first_line(inspect.getdoc(found)) for name, found in SAMPLERS.items()},
        "boxes": {name: first_line(inspect.getdoc(found)) for name, found in BOXES.items()},
        "similarities": {name: first_line(inspect.getdoc(found)) for name, found in SIMILARITIES.items()},
        "benchmarks": {name: first_line(inspect.getdoc(benchmark(name))) for name in benchmark_modules()},
    }


def docstring(file: Path) -> str | None:
    """Return a module's docstring, read without running it."""
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


def first_line(text: str | None) -> str:
    """Return the first line of a docstring."""
    return text.splitlines()[0] if text else ""
