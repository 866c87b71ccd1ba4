"""What `harness show` prints of a run, and how a run is named."""

import json
import re
import shutil
from pathlib import Path

import pytest

from harness import ROOT
from harness.cli import main
from harness.evidence.compare import from_preset
from harness.experiment import parse

DEMO = str(ROOT / "results" / "demo")


def test_show_is_short_and_begins_with_the_scores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "location-s0-3ea", "--results", DEMO]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "run       location-s0-3ea0b8ea, completed"
    assert lines[1] == "scores    AP 3.71  AP50 14.71  AP75 0.48"
    assert lines[2].startswith("settings  preset demo, strategy.sampler=uniform")
    assert "made on   NVIDIA H100 80GB HBM3; benchmark 152 s; pretrain 12 s; commit dbd0eb05" in lines
    gauges = "std of ẑ·√C: 0.979; effective rank of ẑ: 32.4; images with a pair, %: 100; pairs per image: 49;"
    assert gauges in " ".join(line.strip() for line in lines)
    assert len(lines) < 14
    assert max(map(len, lines)) <= 80


def test_show_prints_the_ap_of_each_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs" / "location-s0-3ea0b8ea"
    shutil.copytree(Path(DEMO, "runs", folder.name), folder)
    classes = {"cat": {"AP": 41.25, "AP50": 60, "mask_AP": 30.5}, "dog": {"AP": 2.0, "AP50": 3}}
    (folder / "classes.json").write_text(json.dumps(classes))
    assert main(["show", "location", "--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == ["classes   AP: cat 41.25, dog 2.00", "classes   mask_AP: cat 30.50"]
    assert main(["show", "location", "--results", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == classes
    (folder / "classes.json").write_text('{"cat": 1}')
    assert main(["show", "location", "--results", str(tmp_path)]) == 2
    assert "classes.json" in capsys.readouterr().err


def test_compare_prints_gauges_as_a_table_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "simsiam-s0", "location-s0-3ea", "--results", DEMO]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.match(r"images with a pair, % +100 ", line) for line in lines)
    assert any(line.startswith("std of ẑ·√C ") for line in lines)
    assert not any("matched" in line or "collapse" in line for line in lines)


def test_show_prints_all_of_a_record_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "location-s0-3ea", "--results", DEMO, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["settings"]["recipe"]["epochs"] == 4
    assert record["provenance"]["code"]["dirty"] is False
    assert record["scores"].keys() == {"AP", "AP50", "AP75"}
    assert "config.json" in record["files"]


def test_an_unfinished_run_is_shown_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs" / "simsiam-s1-3c6ee06e"
    shutil.copytree(Path(DEMO, "runs", folder.name), folder)
    for name in ("scores.json", "provenance.json", "curve.jsonl"):
        (folder / name).unlink()
    assert main(["show", "simsiam", "--results", str(tmp_path)]) == 0
    assert "scores    none, since it is not finished\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "verb", [["show"], ["compare", "simsiam-s0"], ["export", "--to", "timm"], ["figure", "A1", "--run"]]
)
def test_an_ambiguous_name_says_what_tells_the_runs_apart(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "location-s0", "--results", DEMO]) == 2
    text = capsys.readouterr().err
    assert "\n  location-s0-3ea0b8ea (strategy.sampler.name=uniform" in text
    assert "\n  location-s0-dc913913 (strategy.sampler.name=biased" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("line", "preset", "fields"),
    [
        ("--strategy location", "demo", {}),
        ("--strategy location --seed 3 --preset study", "study", {}),
        ("--strategy location --set epochs=9 --set strategy.sampler.side=5", "demo",
         {"strategy.sampler.side": "5", "epochs": "9"}),
        ("--strategy simsiam --preset paper --set lr=0.1 --data photos", "paper", {"lr": "0.1", "data": "photos"}),
        ("--strategy simsiam --benchmark voc-folder", "demo", {"benchmark": "voc-folder"}),
    ],
)  # fmt: skip
def test_the_settings_of_a_run_are_told_by_their_preset(line: str, preset: str, fields: dict[str, str]) -> None:
    settings = json.loads(json.dumps(parse(line.split()).settings))
    assert from_preset(settings) == (preset, fields)
