"""The arrows between the folders (harness → methods, harness → benchmarks, nothing else) and what imports torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ROOT

ALLOWED = {
    "methods": {"methods", "torch", "torchvision", "numpy", "PIL"},
    "benchmarks": {"benchmarks", "torch", "torchvision", "numpy", "PIL", "detectron2", "fvcore", "safetensors", "tqdm"},
}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_they_may(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        assert set(imported(file)) - set(sys.stdlib_module_names) <= ALLOWED[package], file


def test_detectron2_lives_in_benchmarks_and_is_examined_by_doctor() -> None:
    users = {file.relative_to(ROOT).as_posix() for folder in ("harness", "methods")
             for file in (ROOT / folder).rglob("*.py") if "detectron2" in set(imported(file))}  # fmt: skip
    assert users == {"harness/doctor.py"}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["report", "--help"],
        ["list"],
        ["table", "A1"],
        ["claims", "A1"],
        ["run", "--help"],
        ["run", "--strategy", "x"],
    ],
)
def test_quick_verbs_do_not_import_torch(words: list[str]) -> None:
    code = f"import sys; sys.argv[1:] = {words}\ntry:\n    import harness.__main__\nexcept SystemExit: pass\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_a_table_does_not_wait_for_the_statistics() -> None:
    code = "import sys, harness.tables; print({'scipy', 'statsmodels', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
