"""What `harness runs` lists and removes."""

import fcntl
import json
import shutil
from pathlib import Path

import pytest

from harness import ROOT
from harness.cli import main

DEMO = ROOT / "results" / "demo"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three runs of the demo: finished, failed, and cut off by a kill."""
    for name in ("simsiam-s0-20bca14a", "simsiam-s1-3c6ee06e", "location-s0-3ea0b8ea"):
        shutil.copytree(DEMO / "runs" / name, tmp_path / "runs" / name)
    for name, status in (("simsiam-s1-3c6ee06e", "FAILED"), ("location-s0-3ea0b8ea", "RUNNING")):
        (tmp_path / "runs" / name / "scores.json").unlink()
        file = tmp_path / "runs" / name / "run.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "status": status}))
    return tmp_path


def left(results: Path) -> list[str]:
    """The seeds and strategies of the runs that are there."""
    return sorted(folder.name.rpartition("-")[0] for folder in (results / "runs").iterdir())


def test_runs_are_listed_by_their_settings_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--results", str(DEMO)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "seed", "state", "date", "AP", "AP50", "AP75"]
    place = lines.index("location, preset demo")
    assert lines[place + 1].split() == ["location-s0-70933313", "0", "finished", "2026-11-23", "3.35", "13.90", "0.54"]
    assert sum("finished" in line for line in lines) == 33
    assert max(map(len, lines)) <= 80


def test_the_state_of_a_run_is_told(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--results", str(results)]) == 0
    states = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if "-s" in line}
    assert "  finished  " in states["simsiam-s0-20bca14a"]
    assert "  failed    2026" in states["simsiam-s1-3c6ee06e"]
    assert "  cut off   2026" in states["location-s0-3ea0b8ea"]
    with open(results / "runs" / "location-s0-3ea0b8ea" / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["runs", "--results", str(results)]) == 0
        assert "location-s0-3ea0b8ea     0  running   2026" in capsys.readouterr().out
    assert main(["runs", "--failed", "--results", str(results)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["simsiam,", "simsiam-s1-3c6ee06e"]


def test_runs_are_named_and_removed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "rm", "simsiam-s0", "--results", str(results)]) == 0
    assert capsys.readouterr().out == f"removed {results}/runs/simsiam-s0-20bca14a (finished)\n"
    assert left(results) == ["location-s0", "simsiam-s1"]
    assert main(["runs", "rm", "--failed", "--results", str(results)]) == 0
    assert capsys.readouterr().out == f"removed {results}/runs/simsiam-s1-3c6ee06e (failed)\n"
    assert left(results) == ["location-s0"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["simsiam-s0", "location"], "run location-s0-3ea0b8ea is being made by another process: nothing was removed"),
        (["simsiam"], "run 'simsiam' may be any of\n  simsiam-s0-20bca14a (seed=0)\n  simsiam-s1-3c6ee06e (seed=1)"),
        (["simsiam-s0", "random"], "no run 'random'"),
        ([], "RUN, or --failed for all that failed, was expected"),
    ],
)
def test_nothing_is_removed_where_a_run_is_made_or_a_name_is_wrong(
    names: list[str], says: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = left(results)
    with open(results / "runs" / "location-s0-3ea0b8ea" / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["runs", "rm", *names, "--results", str(results)]) == 2
    assert says in capsys.readouterr().err
    assert left(results) == before


def test_an_empty_folder_of_results_has_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--results", str(tmp_path)]) == 0
    assert main(["runs", "--failed", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no run in {tmp_path}\nno run that failed in {tmp_path}\n"
