"""TensorBoard shows the curve, the fine-tuning and the scores, each point once, and changes nothing of the run."""

import importlib.util
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.detection import CURVE
from benchmarks.resuming.strict_json import read_lines
from harness import records
from harness.cli import main
from harness.engine import pretrain as module
from harness.engine import tensorboard
from harness.engine.machine import Machine
from harness.engine.pretrain import pretrain
from methods.strategies.location import Location
from tests.pictures import photos
from tests.test_cli import SMALL, refused
from tests.test_pretrain import TINY


def shown(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows of a folder: tag → step → value; fails where a step is shown twice."""
    events = EventAccumulator(str(folder)).Reload()
    found = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert all(len(dict(points)) == len(points) for points in found.values())
    return {tag: dict(points) for tag, points in found.items()}


def expected(points: list[dict[str, Any]], step: str) -> dict[str, Any]:
    """The same of the lines of a curve."""
    names = {name for point in points for name in point} - {step}
    found = {name: {one[step]: one[name] for one in points if one.get(name) is not None} for name in names}
    return {name: pytest.approx(values, rel=1e-6) for name, values in found.items() if values}


def train(folder: Path, files: list[Path], drawn: bool) -> None:
    folder.mkdir(exist_ok=True)
    pretrain(Location(), TINY, files, folder, 0, Machine("cpu", 0), drawn)


@pytest.mark.parametrize("first_drawn", [True, False])
def test_a_stopped_run_is_shown_as_its_curve_is(
    first_drawn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, calls, optimizer_step = photos(tmp_path / "photos", 8), [], module.optimizer_step

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return optimizer_step(*arguments)

    train(tmp_path / "plain", files, drawn=False)
    monkeypatch.setattr(module, "optimizer_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", files, first_drawn)
    assert (tmp_path / "cut" / tensorboard.PRETRAIN).exists() == first_drawn
    with tensorboard.live(tmp_path / "cut", first_drawn) as draw:
        draw({"step": 3, "epoch": 1, "lr": 9.0, "loss": 9.0})  # as a kill leaves it: drawn, and not in the checkpoint
    train(tmp_path / "cut", files, drawn=True)
    found = records.read_curve(tmp_path / "cut")
    assert shown(tmp_path / "cut" / tensorboard.PRETRAIN) == expected(found, "step")
    assert len(found) == 4
    for name in ("curve.jsonl", "backbone.pth"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_a_point_is_shown_while_the_run_goes_on(tmp_path: Path) -> None:
    with tensorboard.live(tmp_path, wanted=True) as draw:
        draw({"step": 5, "loss": 0.5, "error": None})
        assert shown(tmp_path / tensorboard.PRETRAIN) == {"loss": {5: 0.5}}


def test_a_whole_run_is_drawn_from_the_command_line(tmp_path: Path) -> None:
    line = ["run", "--strategy", "location", *SMALL, "--results", str(tmp_path)]
    assert main([*line, "--tensorboard"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert shown(folder / tensorboard.PRETRAIN) == expected(records.read_curve(folder), "step")
    tuning, scores = read_lines(folder / CURVE), json.loads((folder / "scores.json").read_text())
    assert shown(folder / tensorboard.BENCHMARK) == {
        **expected(tuning, "iteration"),
        **{f"score/{name}": {tuning[-1]["iteration"]: pytest.approx(score)} for name, score in scores.items()},
    }
    assert len(tuning) > 1
    assert "tensorboard" not in (folder / "config.json").read_text(encoding="utf-8")


def test_what_others_trained_is_drawn_at_the_end_and_once(tmp_path: Path) -> None:
    (tmp_path / "curve.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    for _ in range(2):
        tensorboard.finish(tmp_path, {"accuracy": 75.0}, curve=None)
    assert shown(tmp_path / tensorboard.PRETRAIN) == {"loss": {1: 2.0, 2: 1.0}}
    assert shown(tmp_path / tensorboard.BENCHMARK) == {"score/accuracy": {0: 75.0}}


def test_a_missing_tensorboard_is_told_of_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    line = ["run", "--strategy", "location", *SMALL, "--results", str(tmp_path / "results"), "--tensorboard"]
    assert "--tensorboard: Python finds no 'tensorboard': pip install tensorboard" in refused(capsys, *line)
    assert not (tmp_path / "results").exists()
