"""Every verb that makes runs decides in the same way which have been made; several seeds are one command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from harness import records
from harness.cli import main
from harness.engine.jobs import TimeLeft
from harness.experiment import Experiment, parse
from harness.records import Record
from harness.verbs.options import seed_list
from tests.runs import recorded

SMALL = ["--set", "benchmark.train=6", "--set", "benchmark.test=3", "--set", "benchmark.layout.size=48"]
RANDOM = ["--strategy", "random", *SMALL]
TABLE = """
from harness.tables import Table
TABLE = Table("a control", {"random": "--strategy random"})
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results beside a table of one row, `alone.one`."""
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "one.py").write_text(TABLE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "results"


def made(results: Path, seed: int, reference: float) -> str:
    """Record a run of `random` by code whose reference number is this, and return its name."""
    experiment = parse([*RANDOM, "--seed", str(seed)])
    code = {"reference": [reference], "benchmark": "b", "files": {}}
    recorded(results / "runs" / experiment.run_id, experiment.settings, {"AP": 1.0}, code=code)
    return experiment.run_id


VERBS = [
    ["run", *RANDOM],
    ["run", *RANDOM, "--seeds", "0-1"],
    ["reproduce", "alone.one", *SMALL],
    ["reproduce", "alone.one", *SMALL, "--jobs", "2"],
    ["reproduce", "alone.one", *SMALL, "--dry-run"],
    ["submit", "alone.one", *SMALL, "--dry-run"],
    ["submit", *RANDOM],
]


@pytest.mark.parametrize("line", VERBS, ids=lambda line: " ".join(word for word in line if word not in SMALL))
def test_every_verb_refuses_a_run_of_other_code_in_the_same_words(
    line: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(place, 0, 1.0)
    assert main([*line, "--device", "cpu", "--results", str(place)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"harness: {run} has these settings, but was made by other code or data: what its pre-")
    assert told.err.endswith("--again makes a new record beside it, --keep-old shows the old one\n")
    assert [folder.name for folder in (place / "runs").iterdir()] == [run]


def test_again_and_keep_old_are_the_same_for_every_verb(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made(place, 0, 1.0)
    for words, again, old in (
        (["reproduce", "alone.one"], "missing", "run already"),
        (["submit", "alone.one"], "jobs to submit: 1,", "jobs to submit: 0,"),
        (["submit", "--strategy", "random"], "jobs to submit: 1,", "jobs to submit: 0,"),
    ):
        for option, said in (("--again", again), ("--keep-old", old)):
            assert main([*words, *SMALL, "--dry-run", option, "--device", "cpu", "--results", str(place)]) == 0
            assert capsys.readouterr().out.startswith(said)
    assert main(["run", *RANDOM, "--keep-old", "--device", "cpu", "--results", str(place)]) == 0
    assert f"this has been run: {run}" in capsys.readouterr().out


def test_several_runs_of_other_code_are_all_named_before_anything_is_made(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [made(place, seed, 1.0) for seed in (1, 2)]
    assert main(["run", *RANDOM, "--seeds", "0-2", "--device", "cpu", "--results", str(place)]) == 2
    first, *runs = capsys.readouterr().err.splitlines()
    assert first.startswith("harness: 2 runs; of each, --again makes a new record beside it")
    assert [line.split()[0] for line in runs if line.startswith("  random")] == names


def test_seeds_are_run_one_after_another_and_go_on_where_they_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds: list[int] = []

    def fake(experiment: Experiment, machine: Any, watch: Any, results: Path, *rest: object, **more: object) -> Record:
        if len(seeds) == 2:
            raise KeyboardInterrupt
        seeds.append(experiment.seed)
        return recorded(results / "runs" / experiment.run_id, experiment.settings, {"AP": 1.0})

    monkeypatch.setattr("harness.verbs.run.run", fake)
    line = ["run", *RANDOM, "--seeds", "0,2-4", "--device", "cpu", "--results", str(tmp_path)]
    assert main(line) == 130
    assert seeds == [0, 2]
    seeds.clear()
    assert main(line) == 0
    assert seeds == [3, 4]
    assert capsys.readouterr().out.splitlines()[-1] == "4 runs: 2 made now, 2 made before"
    assert main(line) == 0
    assert seeds == [3, 4]


def test_several_benchmarks_judge_one_backbone_each_in_a_record_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["run", *RANDOM, "--set", "width=8", "--benchmark", "matching,linear", "--device", "cpu",
            "--results", str(tmp_path)]  # fmt: skip
    assert main([*line, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert [planned.count(f"benchmark {name}:") for name in ("matching", "linear")] == [1, 1]
    assert main(line) == 0
    runs = [records.read(folder) for folder in records.folders(tmp_path)]
    assert {run.settings["benchmark"]["name"] for run in runs} == {"matching", "linear"}
    backbones = {(run.folder / records.BACKBONE).read_bytes() for run in runs}
    assert len(backbones) == 1
    capsys.readouterr()
    assert main(line) == 0
    assert "2 runs: 0 made now, 2 made before" in capsys.readouterr().out
    assert main([*line[:-6], "--benchmark", "linear,linear"]) == 2
    assert "named twice" in capsys.readouterr().err
    assert main([*line[:-6], "--benchmark", "linear,linaer"]) == 2
    assert "did you mean 'linear'" in capsys.readouterr().err


def test_a_list_of_seeds_is_read_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert seed_list("0-9") == [*range(10)]
    assert seed_list("0, 3,5-7,3") == [0, 3, 5, 6, 7]
    for wrong in ("", "a", "3-1", "-1", "1-", "0-1000", "0-99999999999"):
        with pytest.raises(argparse.ArgumentTypeError):
            seed_list(wrong)
    assert main(["reproduce", "A1", "--seed", "1", "--seeds", "0-2", "--dry-run"]) == 2
    assert "--seed and --seeds: only one of the two was expected" in capsys.readouterr().err


def test_the_time_left_is_that_of_the_runs_made_so_far(tmp_path: Path) -> None:
    record = recorded(
        tmp_path / "runs" / "one", {"seed": 0}, {"AP": 1.0}, seconds={"pretrain": 60.0, "benchmark": 30.0}
    )
    assert TimeLeft([]).text(3) == ""
    assert TimeLeft([record]).text(0) == ""
    assert TimeLeft([record]).text(4) == ", all about 6 min 00 s more"
    assert TimeLeft([record], at_once=2).text(4) == ", all about 3 min 00 s more"
    left = TimeLeft([record])
    left.seconds.append(7110.0)
    assert left.text(2) == ", all about 2 h 00 min more"
