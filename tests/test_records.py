"""Records: written under sacred's eyes, read with json, never counted before they are finished."""

import json
from pathlib import Path

import pytest

from harness import records
from harness.engine import observers

SETTINGS = {"strategy": "location", "seed": 0, "recipe": {"lr": 0.1}}


def test_a_finished_run_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    observers.observe(folder, SETTINGS, lambda: {"AP": 1.5})
    found = records.read(folder)
    assert (found.settings["recipe"], found.scores, found.status) == ({"lr": 0.1}, {"AP": 1.5}, "COMPLETED")
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert any(line.startswith("torch==") for line in run["experiment"]["dependencies"])
    assert "hostname" not in run["host"]
    assert str(tmp_path) not in (folder / "run.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "INTERRUPTED"), (ValueError, "FAILED")])
def test_an_unfinished_run_goes_on_in_its_folder(tmp_path: Path, error: type[BaseException], status: str) -> None:
    folder = tmp_path / "runs" / "one"

    def fail() -> dict[str, float]:
        (folder / "checkpoint.pth").write_text("half way")
        raise error

    with pytest.raises(error):
        observers.observe(folder, SETTINGS, fail)
    assert (records.read(folder).status, records.read(folder).scores) == (status, None)
    observers.observe(folder, SETTINGS, lambda: {"AP": float((folder / "checkpoint.pth").exists())})
    assert records.read(folder).scores == {"AP": 1.0}
    assert not [file for file in folder.iterdir() if file.name.endswith(".part")]


def test_a_broken_record_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        observers.observe(tmp_path / "runs" / name, SETTINGS, lambda: {"AP": 1.0})
    (tmp_path / "runs" / "bad" / "scores.json").write_text('{"AP": 1')
    found, broken = records.read_all(tmp_path)
    assert [record.id for record in found] == ["good"]
    assert len(broken) == 1
    assert "bad/scores.json: not a readable record" in broken[0]


def test_a_run_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    for name in ("location-s0-aa", "location-s1-bb"):
        observers.observe(tmp_path / "runs" / name, SETTINGS, lambda: {"AP": 1.0})
    assert records.find(tmp_path, "location-s1").id == "location-s1-bb"
    with pytest.raises(ValueError, match="may be any of location-s0-aa, location-s1-bb"):
        records.find(tmp_path, "location")
    with pytest.raises(ValueError, match=r"no run 'simsiam'.*choose from location-s0-aa"):
        records.find(tmp_path, "simsiam")
