"""`harness check`: what it says of strategies, benchmarks and tables that keep their contract, and that do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import ROOT
from harness.cli import main
from methods import properties
from methods.correspondence import FeatureMap
from methods.similarity import Similarity
from methods.strategies.location import Location
from tests.test_extending import mine  # noqa: F401


def checks(name: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Exit code and lines of a check."""
    try:
        code = main(["check", name])
    except SystemExit as stop:
        code = int(str(stop.code))
    return code, capsys.readouterr().out.splitlines()


class Wrong(Location):
    """`location` with one thing that is wrong in it."""

    def __init__(self, wrong: str) -> None:
        super().__init__()
        object.__setattr__(self, "wrong", wrong)

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Any:
        found = super().__call__(query, key, similarity)
        match self.wrong:  # type: ignore[attr-defined]
            case "rows":
                return found._replace(query=found.query * 2)
            case "negative":
                return found._replace(weight=-found.weight)
            case "random":
                return found._replace(weight=found.weight * torch.rand(()))
            case "directed":
                return found._replace(key=found.key.roll(1, dims=2))
            case "apart":
                weight = found.weight.new_full(found.weight.shape, torch.inf if found.weight.sum() == 0 else 1.0)
                return found._replace(weight=weight)
            case "raises":
                raise IndexError("no such cell")
        return found


@pytest.mark.parametrize(
    ("wrong", "broken", "says"),
    [
        ("rows", properties.has_shapes, "query: rows that sum to 1 were expected, one sums to 2"),
        ("negative", properties.has_shapes, "weight has -1: numbers ≥ 0 were expected"),
        ("random", properties.repeats, "random numbers of query.seed were expected"),
        ("directed", properties.is_symmetric, "the same loss was expected"),
        ("apart", properties.survives_disjoint, "weight has inf: finite numbers were expected"),
        ("raises", properties.repeats, "IndexError: no such cell"),
    ],
)
def test_what_a_strategy_does_not_keep_is_said(
    wrong: str, broken: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(properties, "PROPERTIES", {"this": broken})
    assert dict(properties.violations(Location())) == {"this": None}
    ((sentence, said),) = properties.violations(Wrong(wrong))
    assert (sentence, says in (said or "")) == ("this", True), said


def test_the_examples_keep_their_contracts(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    for name, count in (("mine.linear", 3), ("mine.widths", 8)):
        for module in [module for module in sys.modules if module == "mine" or module.startswith("mine.")]:
            del sys.modules[module]
        code, lines = checks(name, capsys)
        rest = [line for line in lines if "no torch" not in line]  # the tests have imported it
        assert all(line.startswith("holds  ") for line in rest), lines
        assert len(lines) == count
        assert code == 1
    assert main(["check", "A1"]) == main(["check", "scenes"]) == 0


def test_the_documented_check_holds(mine: Path) -> None:  # noqa: F811
    command = [sys.executable, "-m", "harness", "check", "mine.corners"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=mine, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {line[:5] for line in done.stdout.splitlines()} == {"holds"}


def test_a_wrong_row_and_a_claim_of_no_row_are_said(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    file = mine / "mine" / "wrong.py"
    file.write_text(
        "from harness.tables import Claim, Column, Table\n"
        "TABLE = Table('x', rows={'a': '--strategy locaton', 'b': '--strategy location'},\n"
        "              columns=(Column('AP', 'AP'), Column('AP', 'AP')), claims=(Claim('b', 'c'),), target='AQ')\n",
        encoding="utf-8",
    )
    code, lines = checks("mine.wrong", capsys)
    assert code == 1
    failed = [line for line in lines if line.startswith("FAILS") and "torch" not in line]
    assert failed[0].startswith("FAILS  row 'a' is an experiment: no strategy 'locaton': did you mean 'location'?")
    assert failed[1:] == [
        "FAILS  every column has a name of its own: AP stands there twice",
        "FAILS  claims names rows of the table: no row 'c'",
        "FAILS  deciding and target name columns: no column 'AQ'",
    ]


def test_a_module_that_exports_nothing_is_named(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    (mine / "mine" / "empty.py").touch()
    assert main(["check", "mine.empty"]) == 2
    assert capsys.readouterr().err == "harness: mine.empty: the module sets none of STRATEGY, BENCHMARK, TABLE\n"
    assert main(["check", "locaton"]) == 2
    assert "did you mean 'location'?" in capsys.readouterr().err
