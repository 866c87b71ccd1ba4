"""Records: written under sacred's eyes, read with json, never counted before they are finished."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.resuming import files
from harness import records
from harness.engine import observers
from harness.engine.known import all_finished
from harness.experiment import parse
from harness.settings import upgrade
from tests.runs import observed, recorded

SETTINGS = {"strategy": {"name": "location"}, "seed": 0, "recipe": {"lr": 0.1}}
DEMO = Path(__file__).resolve().parents[1] / "results" / "demo"


def test_a_finished_run_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    observed(folder, SETTINGS, lambda: {"AP": 1.5})
    found = records.read(folder)
    assert found.settings["recipe"] == {"width": 64, "lr": 0.1}
    assert (found.scores, found.status) == ({"AP": 1.5}, "COMPLETED")
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
        observed(folder, SETTINGS, fail)
    assert (records.read(folder).status, records.read(folder).scores) == (status, None)
    observed(folder, SETTINGS, lambda: {"AP": float((folder / "checkpoint.pth").exists())})
    assert records.read(folder).scores == {"AP": 1.0}
    assert not [file for file in folder.iterdir() if file.name.endswith(".part")]


def test_a_broken_record_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        recorded(tmp_path / "runs" / name, SETTINGS, {"AP": 1.0})
    (tmp_path / "runs" / "bad" / "scores.json").write_text('{"AP": 1')
    found, broken = records.read_all(tmp_path)
    assert [record.id for record in found] == ["good"]
    assert len(broken) == 1
    assert "bad/scores.json: not a readable record" in broken[0]


def test_a_run_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    for name in ("location-s0-aa", "location-s1-bb"):
        recorded(tmp_path / "runs" / name, SETTINGS, {"AP": 1.0})
    assert records.find(tmp_path, "location-s1").id == "location-s1-bb"
    with pytest.raises(ValueError, match="may be any of location-s0-aa, location-s1-bb"):
        records.find(tmp_path, "location")
    with pytest.raises(ValueError, match=r"no run 'simsiam'.*choose from location-s0-aa"):
        records.find(tmp_path, "simsiam")


def test_settings_of_an_older_record_are_read_as_what_they_meant() -> None:
    old = {
        "strategy": "location",
        "match": {"border": True, "sampler": {"name": "regular"}},
        "recipe": {"depth": 18, "lr": 0.1},
        "benchmark": {"name": "scenes", "depth": 18},
        "seed": 1,
    }
    assert upgrade(old) == {
        "strategy": {"name": "location", "border": True, "sampler": {"name": "regular"}},
        "recipe": {"encoder": "resnet18", "width": 64, "lr": 0.1},
        "benchmark": {"name": "scenes", "encoder": "resnet18"},
        "seed": 1,
    }
    assert upgrade(upgrade(old)) == upgrade(old)


def test_a_field_that_came_later_has_the_value_that_was_so_before_and_only_where_it_belongs() -> None:
    old: dict[str, Any] = {"benchmark": {"name": "scenes", "layout": {"size": 96}}}
    assert upgrade(old)["benchmark"]["layout"] == {"recolour": 0.0, "size": 96}
    assert old["benchmark"]["layout"] == {"size": 96}
    for settings in ({"benchmark": {"layout": {"recolour": 0.5}}}, {"benchmark": {"name": "coco-fpn"}}, {}):
        assert upgrade(settings) == settings


def test_an_older_detector_left_the_norms_as_they_were_stored() -> None:
    assert upgrade({"benchmark": {"name": "mine.detector", "precise_bn": 0}})["benchmark"]["calibrate"] == 0
    assert "calibrate" not in upgrade({"benchmark": {"name": "mine.linear"}})["benchmark"]


def test_an_older_pre_training_was_of_torchvision_s_width() -> None:
    assert upgrade({"recipe": {"lr": 0.1}})["recipe"] == {"width": 64, "lr": 0.1}
    assert upgrade({"recipe": {"width": 16}})["recipe"] == {"width": 16}


def test_settings_of_today_are_read_as_they_stand() -> None:
    for line in ("--strategy location_region", "--strategy random --preset paper"):
        settings = parse(line.split()).settings
        assert upgrade(settings) == settings


def test_a_run_of_an_older_version_counts_as_run() -> None:
    for line in ("--strategy location", "--strategy location --set match.sampler=uniform", "--strategy random"):
        experiment = parse([*line.split(), "--seed", "2"])
        assert not (DEMO / "runs" / experiment.run_id).exists()
        (found,) = all_finished(experiment, DEMO)
        assert (found.strategy, found.settings) == (line.split()[1], json.loads(json.dumps(experiment.settings)))
    assert all_finished(parse(["--strategy", "location", "--seed", "99"]), DEMO) == []


def test_a_later_try_replaces_what_an_earlier_one_noted_but_adds_to_its_backbone_and_durations(tmp_path: Path) -> None:
    records.begin(tmp_path, SETTINGS, machine={"device": "CPU", "threads": 2}, backbone={"key": "a"}, seconds={})
    records.note(tmp_path, backbone={"taken_over_from": "another"}, seconds={"pretrain": 1.5})
    records.begin(tmp_path, SETTINGS, machine={"device": "GPU"}, backbone={"key": "a"}, seconds={})
    assert records.read_provenance(tmp_path) == {
        "machine": {"device": "GPU"},
        "backbone": {"key": "a", "taken_over_from": "another"},
        "seconds": {"pretrain": 1.5},
    }


def test_a_run_that_was_killed_before_sacred_s_first_word_is_read_as_running(tmp_path: Path) -> None:
    records.begin(tmp_path / "runs" / "one", SETTINGS)
    (record,), broken = records.read_all(tmp_path)
    assert (record.status, record.scores, record.started, broken) == ("RUNNING", None, None, [])


def test_sacred_writes_the_status_of_a_run_and_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    observers.observe(folder, SETTINGS, lambda: {"AP": 1.0})
    assert [file.name for file in folder.iterdir()] == ["run.json"]


def test_a_reused_backbone_is_noted_before_it_is_there_and_is_there_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    donor, run = (tmp_path / name for name in ("donor", "run"))
    for folder in (donor, run):
        records.begin(folder, SETTINGS, backbone={"key": "a"})
    records.append_point(donor, {"step": 1})
    records.write_weights(donor, {"weight": torch.ones(1)}, {"bias": torch.ones(1)})
    link, linked = files.link, []

    def watched(source: Path, target: Path) -> None:
        linked.append((target.name, records.read_provenance(run)["backbone"].get("taken_over_from")))
        link(source, target)

    monkeypatch.setattr(files, "link", watched)
    records.reuse_backbone(donor, run)
    assert linked == [(name, "donor") for name in ("curve.jsonl", "heads.pth", "backbone.pth")]
    assert (run / "backbone.pth").read_bytes() == (donor / "backbone.pth").read_bytes()
