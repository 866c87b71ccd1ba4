"""Nothing is lost: exact resuming in both phases, signals, full disks, damaged files, locks and readers."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.data.voc import Voc, read
from benchmarks.detection import evaluation, tuning
from benchmarks.detection.config import DetectionError
from benchmarks.detection.detector import Detector
from benchmarks.resuming import checkpoints, files, signals
from benchmarks.resuming.checkpoints import Checkpoint
from benchmarks.resuming.signals import Requeued
from benchmarks.resuming.training import Training
from harness import ROOT, plugins, records
from harness.cli import main
from harness.engine import distributed, observers, pretrain
from harness.engine.machine import Machine
from harness.engine.pretrain import NotFinite
from harness.engine.reference import reference
from harness.experiment import Pretraining, parse
from methods import pixsim
from methods.encoder import build_encoder
from methods.recipe import Heads, Recipe
from tests.forks import on_ranks, place
from tests.pictures import Objects, photos, voc_folder
from tests.runs import observed
from tests.test_cli import SMALL, refused


@pytest.fixture(scope="module", autouse=True)
def reference_steps_made() -> None:
    """Make the reference steps of `location` before any test counts the steps of a training."""
    trained = parse(["--strategy", "location", *SMALL[: SMALL.index("--workers")]]).backbone
    assert isinstance(trained, Pretraining)
    reference(trained.strategy, trained.recipe)


TINY = Recipe(encoder="resnet18", width=8, size=32, epochs=2, batch=4, heads=Heads(8, 8, 8))
SLIM = Detector(sizes=(64,), iterations=4, batch=2, warmup=1, rois=8, proposals=(100, 20, 100, 10), precise_bn=1)


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it and nothing is saved."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return photos(tmp_path_factory.mktemp("photos"), 8)


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Voc:
    squares: list[Objects] = [[("cat", x, 3, x + 15, 20)] for x in range(1, 7)]
    named = {f"train {i}": objects for i, objects in enumerate(squares)}
    return read(voc_folder(tmp_path_factory.mktemp("data") / "voc", trainval=named, test={"test": squares[0]}))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("backbone") / "backbone.pth"
    torch.save(build_encoder("resnet18", zero_init=False, width=8).state_dict(), path)
    return path


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step of both phases."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_EVERY", -1.0)


@contextmanager
def at_call(owner: Any, name: str, number: int, act: Callable[[], object]) -> Iterator[None]:
    """Something happens before a numbered call."""
    original, calls = getattr(owner, name), []

    def watched(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            act()
        return original(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, watched)
        yield


def die() -> None:
    raise Killed


def poison() -> None:
    raise FloatingPointError(tuning.GRADIENT)


def train(folder: Path, images: list[Path], strategy: str = "location", workers: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    return pretrain.pretrain(plugins.strategy(strategy)(), TINY, images, folder, 0, Machine("cpu", workers))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# --- exact


def small(name: str, zero_init: bool, width: int) -> torch.nn.Module:
    """In the place of a ResNet, whose checkpoints take most of a test's time."""
    return torch.nn.Sequential(torch.nn.Conv2d(3, 16, 16, stride=16), torch.nn.BatchNorm2d(16), torch.nn.ReLU())


@pytest.mark.parametrize("strategy", [name for name in plugins.strategy_files() if plugins.strategy(name).trains])
def test_a_killed_pre_training_ends_as_if_nothing_had_been(
    strategy: str, tmp_path: Path, images: list[Path], every_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixsim, "build_encoder", small)
    monkeypatch.setattr(pixsim, "channels", lambda encoder: 16)
    monkeypatch.setattr(Checkpoint, "remove", lambda checkpoint: None)  # so that the optimizer's state is compared too
    train(tmp_path / "whole", images, strategy)
    for number in (2, 2):  # in the middle of the first epoch, and of the second one
        with pytest.raises(Killed), at_call(pretrain, "optimizer_step", number, die):
            train(tmp_path / "cut", images, strategy, workers=2)
    train(tmp_path / "cut", images, strategy)
    assert set(contents(tmp_path / "whole")) == {
        "backbone.pth", "checkpoint-before.pth", "checkpoint.pth", "curve.jsonl", "heads.pth"
    }  # fmt: skip
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def told(folder: Path) -> list[dict[str, float]]:
    """The detector's curve without times."""
    lines = (folder / "detection.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.endswith("time")} for line in lines]


def tuned(folder: Path) -> tuple[Any, Any]:
    """The tensors of a fine-tuning's checkpoint, and what else it holds, times left out."""
    state = checkpoints.load(folder / "detection-checkpoint.pth")
    history = {name: past for name, past in state["history"].items() if not name.endswith("time")}
    optimizer = state["optimizer"]
    return (state["model"], optimizer["state"]), (state["step"], optimizer["param_groups"], history, state["key"])


def test_a_killed_fine_tuning_ends_as_if_nothing_had_been(
    voc: Voc, backbone: Path, tmp_path: Path, every_step: None
) -> None:
    from detectron2.engine import SimpleTrainer

    whole = SLIM.evaluate(backbone, voc, tmp_path / "whole", seed=3)
    for number in (2, 2):
        with pytest.raises(Killed), at_call(SimpleTrainer, "run_step", number, die):
            SLIM.evaluate(backbone, voc, tmp_path / "cut", seed=3)
    with pytest.raises(Killed), at_call(evaluation, "evaluate_model", 1, die):
        SLIM.evaluate(backbone, voc, tmp_path / "cut", seed=3)
    with at_call(SimpleTrainer, "run_step", 1, die):  # all that is left is the test
        assert SLIM.evaluate(backbone, voc, tmp_path / "cut", seed=3) == whole
    assert [point["iteration"] for point in told(tmp_path / "cut")] == [0, 1, 2, 3]
    assert told(tmp_path / "cut") == told(tmp_path / "whole")
    (tensors, rest), (expected, others) = tuned(tmp_path / "cut"), tuned(tmp_path / "whole")
    torch.testing.assert_close(tensors, expected, rtol=0, atol=0)
    assert rest == others


def tune_on(rank: int, voc: Voc, backbone: Path, folder: Path) -> None:
    """One of two ranks: a fine-tuning at one go, and one that the second rank is asked to stop."""
    from detectron2.engine import SimpleTrainer

    with place(rank, 2, folder / "meet"), distributed.process_group():
        whole, cut = (folder / f"{name}-{rank}" for name in ("whole", "cut"))
        scores = [SLIM.evaluate(backbone, voc, whole, 3)]
        ask = partial(os.kill, os.getpid(), signal.SIGUSR1 if rank else 0)  # 0 asks for nothing
        with pytest.raises(Requeued), at_call(SimpleTrainer, "run_step", 2, ask):
            SLIM.evaluate(backbone, voc, cut, 3)
        assert (cut / "detection-checkpoint.pth").exists() == (rank == 0)
        with at_call(SimpleTrainer, "run_step", 3, die):  # two of four iterations are left
            scores.append(SLIM.evaluate(backbone, voc, cut, 3))
        with pytest.raises(DetectionError) as error, at_call(tuning, "check_gradients", 1, poison):
            SLIM.evaluate(backbone, voc, folder / f"poisoned-{rank}", 3)
        assert evaluation.of_all_ranks([f"found by {rank}"]) == ([] if rank else ["found by 0", "found by 1"])
    torch.save([scores, str(error.value)], folder / f"told-{rank}.pt")


def test_a_fine_tuning_on_two_ranks_is_stopped_by_either_and_ends_as_if_nothing_had_been(
    voc: Voc, backbone: Path, tmp_path: Path
) -> None:
    from detectron2.engine import SimpleTrainer

    on_ranks(2, tune_on, voc, backbone, tmp_path)
    (first, error), (second, other) = (torch.load(tmp_path / f"told-{rank}.pt", weights_only=True) for rank in range(2))
    assert error == other
    assert error.count("train ") == SLIM.batch, "the images of both ranks"
    assert first[0] == first[1]
    assert first[0]
    assert second == [{}, {}]
    (tensors, rest), (expected, others) = tuned(tmp_path / "cut-0"), tuned(tmp_path / "whole-0")
    torch.testing.assert_close(tensors, expected, rtol=0, atol=0)
    assert rest == others
    assert told(tmp_path / "cut-0") == told(tmp_path / "whole-0")
    with at_call(SimpleTrainer, "run_step", 1, die):  # one process goes on with what two have made
        assert SLIM.evaluate(backbone, voc, tmp_path / "cut-0", 3) == first[0]


def test_the_loader_s_processes_change_nothing(voc: Voc, backbone: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        replace(SLIM, workers=workers).evaluate(backbone, voc, tmp_path / str(workers), seed=3)
    assert told(tmp_path / "0") == told(tmp_path / "2")


def test_another_backbone_s_fine_tuning_starts_again(
    voc: Voc, backbone: Path, tmp_path: Path, every_step: None
) -> None:
    from detectron2.engine import SimpleTrainer

    other = tmp_path / "other.pth"
    torch.save({name: value * 1.01 for name, value in checkpoints.load(backbone).items()}, other)
    SLIM.evaluate(other, voc, tmp_path / "whole", seed=3)
    with pytest.raises(Killed), at_call(SimpleTrainer, "run_step", 3, die):
        SLIM.evaluate(backbone, voc, tmp_path / "cut", seed=3)
    SLIM.evaluate(other, voc, tmp_path / "cut", seed=3)
    assert told(tmp_path / "cut") == told(tmp_path / "whole")


def test_five_kills_anywhere_change_nothing() -> None:
    line = [sys.executable, "-W", "ignore", "-m", "tests.torture", "5"]
    place = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **place}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kills" in done.stdout
    assert "0 different, 0 faults" in done.stdout


# --- signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_stops_either_phase_within_a_step(
    number: signal.Signals, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from detectron2.engine import SimpleTrainer

    line = ["run", "--strategy", "location", *SMALL, "--workers", "2", "--results", str(tmp_path)]
    for owner, name, kept in (
        (pretrain, "optimizer_step", "checkpoint.pth"),
        (SimpleTrainer, "run_step", "detection-checkpoint.pth"),
    ):
        with at_call(owner, name, 1, lambda: os.kill(os.getpid(), number)), at_call(owner, name, 2, die):
            assert main(line) == code
        (folder,) = (tmp_path / "runs").iterdir()
        assert next(iter(checkpoints.load(folder / kept)))  # it can be read
        assert "the same command continues" in capsys.readouterr().err
        assert records.read(folder).status == "INTERRUPTED"
    assert main(line) == 0


def test_a_second_signal_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "last_seen", {})
    with signals.stop_signals() as stopped:
        assert stopped() is None
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stopped() is Requeued
        os.kill(os.getpid(), signal.SIGUSR1)  # the same once more: who started this process has handed it on
        with pytest.raises(KeyboardInterrupt) as stop:
            os.kill(os.getpid(), signal.SIGINT)
    assert stop.type is KeyboardInterrupt
    monkeypatch.setattr(signals, "ECHO", 0.0)
    with signals.stop_signals():
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(Requeued):
            os.kill(os.getpid(), signal.SIGUSR1)


def test_the_loader_outlives_a_signal_to_the_whole_job(tmp_path: Path, images: list[Path]) -> None:
    done = trained_with("'optimizer_step', 2, lambda: os.killpg(0, signal.SIGTERM)", tmp_path / "run", images)
    assert "benchmarks.resuming.signals.Requeued" in done.stderr
    assert "killed by signal" not in done.stderr
    assert checkpoints.load(tmp_path / "run" / "checkpoint.pth")["step"] == 2


def test_a_signal_before_a_loaders_first_line_is_left_to_the_main_process(tmp_path: Path, images: list[Path]) -> None:
    done = trained_with("'prepare_worker', 1, lambda: os.kill(os.getpid(), signal.SIGTERM)", tmp_path / "run", images)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "backbone.pth").exists()


def trained_with(fault: str, folder: Path, images: list[Path]) -> subprocess.CompletedProcess[str]:
    """A process, in a group of its own, that trains with two loader processes and a fault at a call."""
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom harness.engine import pretrain\n"
        "from tests.test_resuming import at_call, train\n"
        f"images = sorted(Path({str(images[0].parent)!r}).iterdir())\n"
        "os.setpgid(0, 0)\n"
        f"with at_call(pretrain, {fault}):\n"
        f"    train(Path({str(folder)!r}), images, workers=2)\n"
    )
    place = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=place, timeout=120, check=False)


# --- checkpoints


def spoil(file: Path, how: str) -> None:
    raw = bytearray(file.read_bytes())
    if how == "cut":
        del raw[len(raw) // 2 :]
    elif how == "one bit":
        raw[len(raw) // 2] ^= 1
    else:
        raw.clear()
    file.write_bytes(raw)


@pytest.mark.parametrize("how", ["cut", "one bit", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    how: str, tmp_path: Path, images: list[Path], every_step: None, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(tmp_path / "whole", images)
    with pytest.raises(Killed), at_call(pretrain, "optimizer_step", 4, die):
        train(tmp_path / "cut", images)
    newer, older = Checkpoint(tmp_path / "cut" / "checkpoint.pth").files
    assert (checkpoints.load(newer)["step"], checkpoints.load(older)["step"]) == (3, 2)
    spoil(newer, how)
    kept = older.read_bytes()
    with pytest.raises(Killed), at_call(pretrain, "optimizer_step", 1, die):
        train(tmp_path / "cut", images)
    assert f"{newer}: damaged, going on from checkpoint-before.pth" in capsys.readouterr().err
    assert (newer.exists(), older.read_bytes()) == (False, kept)
    assert train(tmp_path / "cut", images).read_bytes() == whole.read_bytes()


def test_the_only_whole_checkpoint_outlives_every_moment_of_the_next_one(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.pth")
    for owner, name in ((os, "fsync"), (os, "replace")):
        for number in (1, 2):
            checkpoint.remove()
            checkpoint.save({"step": 1})
            checkpoint.save({"step": 2})
            found: list[int] = []
            with at_call(owner, name, number, die):
                try:
                    checkpoint.save({"step": 3})
                except Killed:
                    assert checkpoint.resume(lambda state: found.append(state["step"]))  # noqa: B023
                    assert found == [2]


# --- what a machine can do to a run


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def locked() -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize(("act", "says"), [(full, "No space left on device"), (locked, "Read-only file system")])
@pytest.mark.parametrize("phase", ["pre-training", "fine-tuning"])
def test_a_disk_that_is_full_or_read_only_costs_nothing_but_a_line(
    act: Callable[[], object],
    says: str,
    phase: str,
    tmp_path: Path,
    every_step: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["run", "--strategy", "location", *SMALL, "--results", str(tmp_path)]
    where = (pretrain, "optimizer_step") if phase == "pre-training" else (tuning, "write_point")
    with pytest.MonkeyPatch.context() as patch:

        def begin() -> None:
            patch.setattr(os, "fsync", lambda number: act())  # from now on nothing can be written

        with at_call(*where, 2, begin):
            told = refused(capsys, *line)
    assert says in told
    assert str(tmp_path / "runs") in told
    (folder,) = (tmp_path / "runs").iterdir()
    kept = "checkpoint.pth" if phase == "pre-training" else "detection-checkpoint.pth"
    assert next(iter(checkpoints.load(folder / kept)))
    assert not [file for file in folder.iterdir() if file.suffix == ".part"]
    assert main(line) == 0


def test_a_really_full_disk_names_the_file(tmp_path: Path) -> None:
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path]).returncode:
        pytest.skip("only root may mount a small disk, and not everywhere")
    try:
        checkpoint = Checkpoint(tmp_path / "checkpoint.pth")
        checkpoint.save({"step": torch.zeros(100_000)})
        with pytest.raises(OSError, match=r"No space left on device: .*checkpoint\.pth"):
            checkpoint.save({"step": torch.ones(1_000_000)})
        assert checkpoint.resume(lambda state: None)
        assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pth"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_images_that_vanish_are_named_and_the_run_goes_on_when_they_are_back(
    workers: str, tmp_path: Path, every_step: None, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = photos(tmp_path / "photos", 8)[5]
    line = ["run", "--strategy", "location", *SMALL, "--workers", workers, "--results", str(tmp_path / "results")]
    line += ["--data", str(tmp_path / "photos")]
    content = gone.read_bytes()
    with at_call(pretrain, "train", 1, gone.unlink):
        assert str(gone) in refused(capsys, *line)
    gone.write_bytes(content)
    assert main(line) == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_images_that_vanish_from_a_fine_tuning_are_named(
    workers: int, backbone: Path, tmp_path: Path, every_step: None
) -> None:
    named: dict[str, Objects] = {f"train {i}": [("cat", 1, 3, 16, 20)] for i in range(4)}
    voc = read(voc_folder(tmp_path / "voc", trainval=named, test={"test": [("cat", 1, 3, 16, 20)]}))
    for image in (tmp_path / "voc" / "JPEGImages").glob("train*"):
        image.unlink()
    with pytest.raises(ValueError, match=r"^/.*train \d\.jpg: cannot be read \(.*No such file") as error:
        replace(SLIM, workers=workers).evaluate(backbone, voc, tmp_path / "run", seed=3)
    assert "\n" not in str(error.value)


# --- not finite


def test_a_gradient_that_is_not_finite_stops_before_the_update(
    tmp_path: Path, images: list[Path], every_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[Training] = []
    check = pretrain.check_finite

    def poisoned(training: Training, *rest: Any) -> None:
        trainings.append(training)
        if training.step == 2:
            weight = next(training.model.parameters())
            assert weight.grad is not None
            weight.grad[0] = float("inf")
        check(training, *rest)

    monkeypatch.setattr(pretrain, "check_finite", poisoned)
    with pytest.raises(NotFinite, match=r"^the gradient is not finite at step 2 \(epoch 1\): lower lr") as error:
        train(tmp_path, images)
    names = str(error.value).split("its images: ")[1].split(", ")
    assert len(set(names)) == 4
    assert set(names) <= {file.name for file in images}
    held = checkpoints.load(tmp_path / "checkpoint.pth")
    assert held["step"] == 2
    for name, value in trainings[-1].model.named_parameters():
        assert torch.equal(value, held["model"][name])


def test_a_fine_tuning_s_gradient_that_is_not_finite_stops_before_the_update(
    voc: Voc, backbone: Path, tmp_path: Path, every_step: None
) -> None:
    with at_call(tuning, "check_gradients", 3, poison), pytest.raises(DetectionError) as error:
        SLIM.evaluate(backbone, voc, tmp_path, seed=3)
    assert str(error.value).startswith("the fine-tuning's gradient is not finite at iteration 2 with lr=0.02")
    assert str(error.value).count("train ") == 2
    assert checkpoints.load(tmp_path / "detection-checkpoint.pth")["step"] == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_every_gradient_of_the_detector_is_looked_at(value: float) -> None:
    layer = torch.nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    tuning.check_gradients(layer)
    assert layer.bias.grad is not None
    layer.weight.grad = torch.full((2, 2), -3e38)  # of which a sum is not finite
    tuning.check_gradients(layer)
    layer.bias.grad[1] = value
    with pytest.raises(FloatingPointError, match="a gradient is not finite"):
        tuning.check_gradients(layer)


# --- many at once


def test_a_run_is_made_by_one_process_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", "--strategy", "random", *SMALL, "--results", str(tmp_path)]

    def again() -> None:
        said = refused(capsys, *line)
        assert said.startswith("harness: run random-s0-")
        assert said.endswith(" is being made by another process")

    with at_call(pretrain, "pretrain", 1, again):
        assert main(line) == 0
    assert not list(tmp_path.rglob(".lock"))


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    code = "import sys, time\nfrom pathlib import Path\nfrom benchmarks.resuming.files import lock\n" + (
        "with lock(Path(sys.argv[1]), 'taken'):\n    print(flush=True)\n    time.sleep(60)\n"
    )
    file = tmp_path / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", code, file], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(ValueError, match="taken"), files.lock(file, "taken"):
        pass
    holder.kill()
    holder.communicate()
    assert file.exists()
    with files.lock(file, "taken"):
        pass
    assert not file.exists()


def test_a_lock_that_was_removed_since_it_was_opened_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, flock = tmp_path / ".lock", fcntl.flock

    def late(held: Any, how: int) -> None:
        file.unlink()
        flock(held, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ValueError, match="taken"), files.lock(file, "taken"):
        pass


def fake(results: Path, number: int) -> None:
    """A run without work, as one of many processes makes it."""
    settings = {"strategy": "location", "seed": number, "recipe": {"lr": 0.1}}
    folder = results / "runs" / f"location-s{number}"
    observed(folder, settings, lambda: {"AP": float(number)})


def test_many_runs_and_readers_share_a_folder(tmp_path: Path) -> None:
    observers.import_sacred()
    seen: list[list[str]] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            found, broken = records.read_all(tmp_path)
            seen.append(broken + [one.id for one in found if one.scores and one.scores["AP"] != one.settings["seed"]])
            time.sleep(0.01)

    readers = [threading.Thread(target=look) for _ in range(8)]
    context = get_context("fork")
    runs = [context.Process(target=fake, args=(tmp_path, number)) for number in range(32)]
    for process in runs:
        process.start()
    for thread in readers:
        thread.start()
    for process in runs:
        process.join()
    over.set()
    for thread in readers:
        thread.join()
    assert [process.exitcode for process in runs] == [0] * 32
    assert len(seen) >= len(readers)
    assert [wrong for one in seen for wrong in one] == []
    found, broken = records.read_all(tmp_path)
    assert broken == []
    assert sorted(one.settings["seed"] for one in found if one.scores) == list(range(32))


def test_two_processes_compose_the_same_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.scenes import DEMO, folder
    from benchmarks.scenes.layout import VERSION

    scenes, original = replace(DEMO, train=2, test=1, layout=replace(DEMO.layout, size=32)), folder.write

    def slower(folder: Path, *rest: Any, **named: Any) -> None:
        monkeypatch.undo()
        original(folder, *rest, **named)  # the other one's
        original(folder, *rest, **named)

    monkeypatch.setattr(folder, "write", slower)
    assert scenes.folder(tmp_path).is_dir()
    assert [file.name for file in tmp_path.iterdir()] == [f"{scenes.id}-v{VERSION}"]
