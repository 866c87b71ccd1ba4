"""What can be chosen by name: strategies, samplers, similarities and benchmarks; finds them without importing torch."""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol, cast

import benchmarks
import harness.verbs
import methods.strategies
from benchmarks import AnyBenchmark, Benchmark
from methods.boxes import BOXES
from methods.correspondence import Strategy
from methods.sampling import SAMPLERS
from methods.similarity import SIMILARITIES


class UnknownName(ValueError):
    """A name that stands for nothing; the message says what there is."""


class Misfit(ValueError):
    """A class from outside that does not keep its contract; the message says in what."""


class Contract(NamedTuple):
    """What a class from outside must be, checked before it is used."""

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


def verb_files() -> dict[str, Path]:
    """Return name → file of every verb in harness/verbs; options.py holds what several of them share."""
    found = (file for folder in harness.verbs.__path__ for file in Path(folder).glob("*.py"))
    return {file.stem: file for file in sorted(found) if file.stem not in ("__init__", "options")}


def verb(name: str) -> Verb:
    """Return the module of a verb."""
    return cast("Verb", importlib.import_module(f"harness.verbs.{name}"))


def strategy(name: str) -> Any:
    """The strategy class of a name, or of a dotted path outside the checkout such as mine.corners."""
    modules = {one: f"methods.strategies.{one}" for one in strategy_files()}
    return chosen(name, modules, Contract("strategy", Strategy, ("__call__",)))


def benchmark_modules() -> dict[str, str]:
    """Return name → module of every file and package in benchmarks/ that sets BENCHMARK."""
    folders = [Path(folder) for folder in benchmarks.__path__]
    files = sorted(file for folder in folders for kind in ("*.py", "*/__init__.py") for file in folder.glob(kind))
    named = {benchmark_name(file): file.parent.name if file.stem == "__init__" else file.stem for file in files}
    return {name: f"benchmarks.{module}" for name, module in named.items() if name}


def benchmark_name(file: Path) -> str | None:
    """Return the `name` of the class that a file sets BENCHMARK to, read without running it; None if it sets none."""
    text = file.read_text(encoding="utf-8")
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
    """The benchmark class of a name, or of a dotted path outside the checkout such as mine.linear."""
    contract = Contract("benchmark", Benchmark, ("name", "prepare", "evaluate"), ("encoder",))
    return cast("type[AnyBenchmark]", chosen(name, benchmark_modules(), contract))


def chosen(name: str, modules: Mapping[str, str], contract: Contract) -> Any:
    """The class that one of our modules exports, or one from outside, which must keep the contract."""
    attribute = contract.kind.upper()
    if dotted(name):
        found = exported(name, attribute, contract.kind)
        if reason := misfit(found, name, contract):
            raise Misfit(f"no {contract.kind} in {name!r}: {attribute} {reason}")
        return found
    if name not in modules:
        raise unknown(contract.kind, name, modules)
    return exported(modules[name], attribute, contract.kind)


def misfit(found: Any, path: str, contract: Contract) -> str | None:
    """What keeps a class of that path from keeping a contract; None where nothing does."""
    if not isinstance(found, type):
        return "is not a class"
    if contract.base not in found.__mro__:
        return f"does not inherit from {contract.base.__module__}.{contract.base.__name__}"
    if "__dataclass_fields__" not in vars(found):
        return "is not a dataclass: @dataclass(frozen=True) is missing"
    known = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(found)}
    if bare := [field for field, needed in known.items() if needed]:
        return f"has fields without a default: {', '.join(bare)}"
    if missing := [one for one in contract.members if getattr(found, one, None) is getattr(contract.base, one, None)]:
        return f"does not define {', '.join(missing)}"
    if missing := [one for one in contract.fields if one not in known]:
        return f"has no field {', '.join(missing)}"
    if "name" in contract.members and (called := getattr(found, "name", None)) != path:
        return f"is named {called!r} and would not be found again: name: ClassVar[str] = __name__"
    return None


def dotted(name: str) -> bool:
    """Whether a name is a path to a module of the user's own, such as mine.corners."""
    return re.fullmatch(r"\w+(\.\w+)+", name) is not None


def exported(path: str, attribute: str, kind: str) -> Any:
    """What a module exports."""
    module = imported(path, kind)
    if not hasattr(module, attribute):
        raise UnknownName(f"no {kind} in {path!r}: the module does not set {attribute}")
    return getattr(module, attribute)


def imported(path: str, kind: str) -> ModuleType:
    """A module, also of the folder where the user stands; its own broken import is not reported as an unknown name."""
    sys.path[:0] = [""] if "" not in sys.path else []
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(f"{error.name}.")):
            raise UnknownName(f"no {kind} {path!r}: Python finds no module {error.name!r}") from error
        raise


def summaries() -> dict[str, dict[str, str]]:
    """Kind → name → one line, of everything that can be chosen here."""
    return {
        "strategies": {name: first_line(docstring(file)) for name, file in strategy_files().items()},
        "samplers": {name: first_line(inspect.getdoc(found)) for name, found in SAMPLERS.items()},
        "boxes": {name: first_line(inspect.getdoc(found)) for name, found in BOXES.items()},
        "similarities": {name: first_line(inspect.getdoc(found)) for name, found in SIMILARITIES.items()},
        "benchmarks": {name: first_line(inspect.getdoc(benchmark(name))) for name in benchmark_modules()},
    }


def docstring(file: Path) -> str | None:
    """A module's docstring, read without running it."""
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


def first_line(text: str | None) -> str:
    """The first line of a docstring."""
    return text.splitlines()[0] if text else ""
