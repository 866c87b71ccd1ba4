"""The code that a class is made of, read without running it: its files and those that they import.

For code of the checkout only what it computes counts, so that a comment or the name of a local variable changes no key.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ("benchmarks", "harness", "methods")  # packages of this checkout
UNREAD = ("returns", "type_comment", "type_ignores", "type_params", "kind")  # of a syntax tree: compute nothing


def own_files(*classes: type) -> dict[str, Path]:
    """Return name → file of the modules outside this checkout's packages that define classes, or that these import.

    Of what they import, only modules of the same package count.
    """
    found: dict[str, Path] = {}
    own = [chosen for chosen in classes if package(chosen) not in HOUSE]
    modules = [base.__module__ for chosen in own for base in chosen.__mro__ if package(base) == package(chosen)]
    for module in dict.fromkeys(modules):
        file = file_of(module)
        if file and "." in module:
            root = file.resolve().parents[module.count(".") + (file.name == "__init__.py")]
            found |= {str(each.relative_to(root)): each for each in reachable(module, root)}
    return dict(sorted(found.items()))


def hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Return name → 16 hexadecimal digits of the content of files."""
    return {name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for name, file in files.items()}


def benchmark_code(benchmark: type) -> str:
    """Return 16 hexadecimal digits over the code in benchmarks/ that a benchmark's class is made of or imports.

    Comments, docstrings, annotations, the layout of the text and the names of local variables do not count. A detector
    is not known by reference numbers, as a pre-training is: its proposals are chosen by comparing scores, which
    rounding decides, and a step of it takes longer than such a check may.
    """
    modules = [base.__module__ for base in benchmark.__mro__]
    own = [name for file in own_files(benchmark).values() for name in imports(file, "")]
    named = [name for name in (*modules, *own) if name.partition(".")[0] == "benchmarks"]
    files = sorted({file for name in named for file in reachable(name, ROOT)})
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(ROOT).as_posix()}\n{essence(file.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()[:16]


def package(chosen: type) -> str:
    """Return the top-level package of a class."""
    return chosen.__module__.partition(".")[0]


def file_of(module: str) -> Path | None:
    """Return the file of a module that has been imported, if it has one."""
    name = getattr(sys.modules.get(module), "__file__", None)
    return Path(name) if name else None


def reachable(module: str, root: Path) -> list[Path]:
    """Return the files below root of a module, and of all that it imports of its own top-level package."""
    waiting, found = [module], dict[str, Path]()
    while waiting:
        name = waiting.pop()
        file = next((each for each in candidates(name, root) if each.is_file()), None)
        if file and name not in found:
            found[name] = file
            parent = name if file.name == "__init__.py" else name.rpartition(".")[0]
            waiting += [each for each in imports(file, parent) if each.partition(".")[0] == module.partition(".")[0]]
    return sorted(set(found.values()))


def candidates(module: str, root: Path) -> tuple[Path, Path]:
    """Return where the file of a module may lie."""
    place = root.joinpath(*module.split("."))
    return place.with_name(f"{place.name}.py"), place / "__init__.py"


def imports(file: Path, parent: str) -> Iterator[str]:
    """Yield the modules that a file imports anywhere, and the names from them, which may be modules."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parent.split(".")[: len(parent.split(".")) - node.level + 1] if node.level else []
            name = ".".join([*above, *([node.module] if node.module else [])])
            yield from (name, *(f"{name}.{alias.name}" for alias in node.names))


def essence(text: str) -> str:
    """Return what a module's text computes: no comments, docstrings, annotations, or names of local variables."""
    return repr(plain(ast.parse(text), {}))


def plain(node: object, names: Mapping[str, str]) -> object:
    """Return a syntax tree as tuples, with a function's local variables numbered in the order of their appearance."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        names = {**names, **{name: f"local {count}" for count, name in enumerate(locals_of(node))}}
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id), type(node.ctx).__name__
    if isinstance(node, list):
        return tuple(plain(item, names) for item in node if not is_text(item))
    if isinstance(node, ast.AST):
        unread = (*UNREAD, "annotation") if isinstance(node, ast.arg) else UNREAD
        parts = [(name, part) for name, part in ast.iter_fields(node) if name not in unread and part not in (None, [])]
        return type(node).__name__, *((name, plain(part, names)) for name, part in parts)
    return repr(node)


def is_text(node: object) -> bool:
    """Return whether a statement is a docstring, or does nothing else."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def locals_of(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[str]:
    """Return the names that a function assigns and that are no parameters, global or shared with another function."""
    inner = list(ast.walk(function))
    shared = {name for node in inner if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    taken = {node.arg for node in inner if isinstance(node, ast.arg)}
    bound = (node.id for node in inner if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return [name for name in dict.fromkeys(bound) if name not in shared | taken]
