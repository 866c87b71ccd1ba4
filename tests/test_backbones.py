"""A backbone is trained once, found again by content, and the same for all strategies where it begins."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import plugins, records
from harness.cli import main
from harness.engine import backbones, pretrain, reference
from harness.engine.machine import Machine
from harness.experiment import BackboneFile, parse
from methods.pixsim import PixSim
from methods.recipe import Heads, Recipe
from methods.views import Order, TwoViews, View, normalise
from tests.pictures import photos
from tests.runs import recorded

TRAIN = [
    "--strategy", "location", "--set", "epochs=1", "--set", "batch=2", "--set", "size=32", "--set", "width=8",
    "--set", "heads.out=8",
    "--set", "heads.hidden=8",
]  # fmt: skip
JUDGE = [
    "--workers", "0", "--device", "cpu", "--set", "benchmark.batch=1", "--set", "benchmark.train=6",
    "--set", "benchmark.test=3", "--set", "benchmark.layout.size=48", "--set", "benchmark.sizes=48",
    "--set", "benchmark.iterations=2",
]  # fmt: skip
RUN = ["run", *TRAIN, *JUDGE]
RECIPE = Recipe(encoder="resnet18", width=8, size=64, batch=4, heads=Heads(8, 8, 8))
every_strategy = pytest.mark.parametrize("name", plugins.strategy_files())


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders in which a backbone was trained."""
    folders: list[Path] = []
    original = pretrain.pretrain

    def noted(*given: object) -> Path:
        folders.append(given[3])  # type: ignore[arg-type]
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(pretrain, "pretrain", noted)
    return folders


def test_trials_and_benchmarks_share_a_backbone_by_its_content(tmp_path: Path, trained: list[Path]) -> None:
    results = ["--results", str(tmp_path)]
    assert main([*RUN, *results, "--trials", "2"]) == 0
    (first,) = trained
    first.rename(first.with_name("any-name"))
    assert main([*RUN[:-1], "benchmark.iterations=3", *results]) == 0
    assert len(trained) == 1
    found = {record.id: record for record in records.read_all(tmp_path)[0]}
    assert len(found) == 3
    donor, *others = [found.pop("any-name"), *found.values()]
    told = {one.id: one.provenance["backbone"] for one in others}
    assert told.pop(f"{first.name}-t1")["taken_over_from"] == first.name
    assert [one["taken_over_from"] for one in told.values()] == ["any-name"]
    for other in others:
        assert other.provenance["backbone"]["key"] == donor.provenance["backbone"]["key"]
        assert (other.folder / "backbone.pth").read_bytes() == (donor.folder / "backbone.pth").read_bytes()
        assert other.curve == donor.curve
    (trial,) = [other for other in others if other.settings["trial"] == 1]
    assert {**donor.settings, "trial": 1} == trial.settings
    losses = [(one.folder / "detection.jsonl").read_text(encoding="utf-8") for one in (donor, trial)]
    assert losses[0] != losses[1]


def test_other_data_or_code_have_another_backbone(
    tmp_path: Path, trained: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = [*RUN, "--data", str(tmp_path / "photos"), "--results", str(tmp_path)]
    photos(tmp_path / "photos", 4)
    assert main(line) == 0
    photos(tmp_path / "photos", 5)
    assert main([*line, "--trials", "2", "--keep-old"]) == 0
    monkeypatch.setattr(reference, "reference", lambda strategy, recipe: (1.0,))
    assert main([*line, "--trials", "3", "--keep-old"]) == 0
    assert [folder.name[-3:] for folder in trained][1:] == ["-t1", "-t2"]


def test_a_finished_run_of_other_code_or_data_is_not_taken_unasked(
    tmp_path: Path, trained: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*RUN, "--strategy", "own_of_b.mine", "--data", str(tmp_path / "photos"), "--results", str(tmp_path)]
    photos(tmp_path / "photos", 4)
    own = tmp_path / "own_of_b" / "mine.py"
    own.parent.mkdir()
    text = plugins.strategy_files()["location"].read_text(encoding="utf-8")
    own.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(line) == 0
    (old,) = records.read_all(tmp_path)[0]
    assert (old.folder / "code" / "own_of_b" / "mine.py").read_text(encoding="utf-8") == text
    capsys.readouterr()
    assert main(["show", old.id, "--results", str(tmp_path)]) == 0
    assert (
        f"own code  own_of_b/mine.py {old.provenance['code']['files']['own_of_b/mine.py']}" in capsys.readouterr().out
    )
    assert main(line) == 0
    assert f"this has been run: {old.id}" in capsys.readouterr().out
    own.write_text(f"{text}\n# edited\n", encoding="utf-8")
    assert main(line) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert f"{old.id} has these settings, but was made by other code or data: own_of_b/mine.py (" in told.err
    assert "--again makes a new record beside it, --keep-old shows the old one" in told.err
    assert main([*line, "--keep-old"]) == 0
    assert f"this has been run: {old.id}" in capsys.readouterr().out
    assert main([*line, "--again"]) == main([*line, "--again"]) == 0
    assert f"this has been run: {old.id}-again1" in capsys.readouterr().out
    assert len(trained) == 2
    assert main(["compare", old.id, f"{old.id}-again1", "--results", str(tmp_path)]) == 0
    assert "code.files.own_of_b/mine.py" in capsys.readouterr().out


def test_a_run_that_names_no_code_is_found_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = parse(["--strategy", "location"])
    recorded(tmp_path / "runs" / experiment.run_id, experiment.settings, {"AP": 4.0}, code={"commit": "0123456789"})
    assert main(["run", "--strategy", "location", "--results", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert f"{experiment.run_id} does not say by which code it was made (commit 01234567)" in told
    assert f"this has been run: {experiment.run_id}\nAP 4.00" in told


def test_an_unfinished_run_of_other_code_starts_again(
    tmp_path: Path, trained: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*RUN, "--results", str(tmp_path)]) == 0
    (trained[0] / "scores.json").unlink()
    assert main([*RUN, "--results", str(tmp_path)]) == 0
    assert len(trained) == 1
    assert "starts again" not in capsys.readouterr().out
    (trained[0] / "scores.json").unlink()
    monkeypatch.setattr(reference, "reference", lambda strategy, recipe: (1.0,))
    assert main([*RUN, "--results", str(tmp_path)]) == 0
    assert len(trained) == 2
    assert "its pre-training starts again" in capsys.readouterr().out


@every_strategy
def test_at_one_seed_all_begin_with_the_same_weights(name: str) -> None:
    states = []
    for strategy in (plugins.strategy("simsiam")(), plugins.strategy(name)()):
        torch.manual_seed(3)
        states.append(PixSim(strategy, RECIPE).encoder.state_dict())
    assert all(torch.equal(one, states[1][key]) for key, one in states[0].items())


@every_strategy
def test_a_strategy_draws_nothing_from_the_shared_generators(name: str, tmp_path: Path) -> None:
    strategy, images = plugins.strategy(name)(), photos(tmp_path, 4, (90, 80))
    model = PixSim(strategy, RECIPE)
    views = TwoViews(images, RECIPE, 0)
    batches = torch.utils.data.DataLoader(views, batch_sampler=Order(4, RECIPE, 0, 0))
    first, second = (normalise(View(*view), torch.device("cpu")) for view in next(iter(batches)))
    random.seed(1)
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    if strategy.trains:
        model(first, second, 0).value.backward()
    after = torch.get_rng_state(), np.random.get_state(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert all(np.array_equal(one, other) for one, other in zip(before[1], after[1], strict=True))
    assert before[2] == after[2]


def test_the_fine_tuning_s_seed_is_the_run_s_and_each_trial_s_own() -> None:
    def seeds(strategy: str, seed: int) -> list[int]:
        one = parse(["--strategy", strategy, "--seed", str(seed)])
        return [trial.tuning_seed for trial in one.trials(5)]

    assert seeds("location", 4) == seeds("simsiam", 4)
    assert seeds("location", 4)[0] == 4
    assert len({one for seed in range(20) for one in seeds("random", seed)}) == 100
    assert all(0 <= one < 2**32 for one in seeds("location", 4))


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A ResNet-18 with a classifier, as torchvision saves it, of an own seed."""
    from torchvision.models import resnet18

    torch.manual_seed(5)
    state = {f"module.{name}": one for name, one in resnet18().state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "m.pth")
    return tmp_path / "m.pth"


def test_a_given_backbone_is_judged_and_known_by_its_content(
    given: Path, tmp_path: Path, trained: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["run", *JUDGE, "--results", str(tmp_path), "--backbone"]
    assert main([*line, str(given)]) == 0
    (record,) = records.read_all(tmp_path)[0]
    told = record.provenance["backbone"]
    assert (told["file"], told["prefix"], told["left_out"]) == ("m.pth", "module.", ["fc (2)"])
    assert record.settings["backbone"] == hashlib.sha256(given.read_bytes()).hexdigest()
    judged = torch.load(record.folder / "backbone.pth", weights_only=True)
    source = torch.load(given, weights_only=True)["state_dict"]
    assert all(torch.equal(one, source[f"module.{name}"]) for name, one in judged.items())
    given.rename(tmp_path / "renamed.pth")
    capsys.readouterr()
    assert main([*line, str(tmp_path / "renamed.pth")]) == 0
    assert "this has been run" in capsys.readouterr().out
    assert trained == []


def test_a_narrow_backbone_goes_through_pre_training_detector_export_and_back(tmp_path: Path) -> None:
    results, file = ["--results", str(tmp_path / "results")], str(tmp_path / "narrow.safetensors")
    assert main([*RUN, "--set", "width=8", *results]) == 0
    assert main(["export", "location", "--to", "safetensors", "--out", file, *results]) == 0
    assert main(["run", *JUDGE, "--backbone", file, *results]) == 0
    given, made = sorted(records.read_all(tmp_path / "results")[0], key=lambda record: "strategy" in record.settings)
    assert made.settings["recipe"]["width"] == 8
    assert given.scores == made.scores


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--strategy", "location"], "nothing is pre-trained, so --strategy means nothing"),
        (["--set", "epochs=3", "--data", "x"], "so --data, --set epochs means nothing"),
        (["--trials", "0"], "--trials 0: 1 to 1000 were expected"),
        (["--set", "encoder=resnet50"], "resnet18, not resnet50"),
        (["--set", "width=16"], "m.pth: checkpoint of width 64, not 16: --set width=64"),
        (["--set", "width=0"], "width=0: must be at least 1"),
    ],
)
def test_what_a_given_backbone_excludes(
    more: list[str], says: str, given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *JUDGE, "--backbone", str(given), *more, "--results", str(tmp_path / "r")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_no_such_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--backbone", "nowhere.pth"]) == 2
    assert "--backbone nowhere.pth: no such file" in capsys.readouterr().err


def test_the_settings_of_a_given_backbone_are_json(given: Path) -> None:
    one = parse(["--backbone", str(given)])
    assert json.loads(json.dumps(one.settings))["backbone"] == one.settings["backbone"]
    assert one.run_id.startswith(f"backbone_{one.settings['backbone'][:8]}-s0-")


def test_a_key_is_a_setting_and_what_was_chosen_is_told_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision.models import resnet18

    states = {
        name: {f"backbone.{key}": one for key, one in resnet18().state_dict().items()}
        for name in ("student", "teacher")
    }
    file = tmp_path / "dino.pth"
    torch.save(states, file)
    plain, keyed = (parse(["--backbone", str(file), *more]) for more in ([], ["--backbone-key", "student"]))
    assert plain.settings["backbone"] == keyed.settings["backbone"]
    assert "backbone_key" not in plain.settings
    assert keyed.settings["backbone_key"] == "student"
    assert plain.run_id != keyed.run_id
    keys = set()
    for experiment, name, rest in ((plain, "teacher", "student"), (keyed, "student", "teacher")):
        assert isinstance(experiment.backbone, BackboneFile)
        source = backbones.file_source(experiment.backbone)
        facts = source.write(tmp_path)
        assert (facts["within"], facts["prefix"], f"{rest} (122)" in facts["left_out"]) == (name, "backbone.", True)
        told = f"backbone: {name}.backbone in {file}; --backbone-key chooses another: {rest}.backbone"
        assert told in capsys.readouterr().out
        written = torch.load(tmp_path / "backbone.pth", weights_only=True)
        assert torch.equal(written["conv1.weight"], states[name]["backbone.conv1.weight"])
        keys.add(source.key)
    assert len(keys) == 2
    assert main(["run", "--strategy", "location", "--backbone-key", "student"]) == 2
    assert "--backbone-key student: means nothing without --backbone" in capsys.readouterr().err
    file.write_text("<!DOCTYPE html><html>")
    assert main(["run", "--backbone", str(file), "--dry-run"]) == 2
    assert "a web page, not a download" in capsys.readouterr().err


def test_a_strategy_that_trains_nothing_reads_no_image(tmp_path: Path) -> None:
    line = ["--preset", "paper", "--benchmark", "coco-fpn", "--benchmark-data", "coco"]
    source = backbones.source(parse(["--strategy", "random", *line]).backbone, 0, tmp_path, tmp_path, Machine())
    assert (source.trained, source.images, source.facts) == (False, [], {})
    with pytest.raises(ValueError, match="--data DIR"):
        backbones.source(parse(["--strategy", "location", *line]).backbone, 0, tmp_path, tmp_path, Machine())
