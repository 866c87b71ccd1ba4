"""Pre-training: schedule, determinism, resuming, its product, and how it stops."""

import argparse
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from benchmarks.resuming.checkpoints import DamagedCheckpoint
from benchmarks.resuming.training import Training
from harness.engine import pretrain as module
from harness.engine.estimate import noise
from harness.engine.machine import Machine
from harness.engine.pretrain import (
    PretrainError,
    build_optimizer,
    learning_rate,
    pretrain,
    set_learning_rate,
    train_step,
)
from harness.settings import read_options
from harness.verbs import options
from harness.verbs.options import MachineOptions
from methods.pixsim import Loss, PixSim
from methods.recipe import Heads, Recipe
from methods.strategies.location import Location
from methods.strategies.random import Random
from methods.strategies.simsiam import SimSiam
from methods.views import BrokenImage
from tests.official import GOLDEN
from tests.pictures import photos

TINY = Recipe(encoder="resnet18", size=32, epochs=2, batch=4, heads=Heads(8, 8, 8))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return photos(tmp_path_factory.mktemp("photos"), 8)


def train(folder: Path, files: list[Path], workers: int = 0, seed: int = 0, recipe: Recipe = TINY) -> Path:
    folder.mkdir(exist_ok=True)
    return pretrain(Location(), recipe, files, folder, seed, Machine("cpu", workers))


def same(one: Path, other: Path) -> bool:
    """Whether two backbone files hold the same bits."""
    a, b = (torch.load(file, weights_only=True) for file in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_rate_is_the_official_one() -> None:
    recipe = Recipe(encoder="resnet18", lr=0.1 * 256 / 512, batch=512, epochs=100)
    optimizer = build_optimizer(PixSim(SimSiam(), recipe), recipe)
    for epoch, official in GOLDEN["P2_simsiam_lr"]["encoder_and_predictor_lr"].items():
        set_learning_rate(optimizer, recipe, int(epoch))
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(official, abs=1e-12)
    assert learning_rate(recipe, 50) == pytest.approx(0.05)


def test_every_trained_weight_is_in_one_group_and_the_frozen_bias_in_none() -> None:
    model = PixSim(Location(), TINY)
    held = [weight for group in build_optimizer(model, TINY).param_groups for weight in group["params"]]
    assert len(held) == len({id(weight) for weight in held}) == len([w for w in model.parameters() if w.requires_grad])
    assert len(held) == len(list(model.parameters())) - 1


def test_the_same_seed_gives_the_same_backbone_whatever_the_workers(tmp_path: Path, files: list[Path]) -> None:
    products = [train(tmp_path / str(workers), files, workers) for workers in (0, 1, 2)]
    assert same(products[0], products[1])
    assert same(products[0], products[2])
    assert not same(products[0], train(tmp_path / "other", files, seed=1))


@pytest.mark.parametrize("machine", [Machine(augment="device"), Machine(workers=2, cache=1e-3)])
def test_a_faster_path_of_the_same_bits_gives_the_same_backbone(
    tmp_path: Path, files: list[Path], machine: Machine
) -> None:
    (tmp_path / "fast").mkdir()
    product = pretrain(Location(), TINY, files, tmp_path / "fast", 0, machine)
    assert same(product, train(tmp_path / "plain", files))


@pytest.mark.parametrize("machine", [Machine(fused=True), Machine(compile=True)])
def test_a_faster_path_of_other_sums_gives_nearly_the_same_backbone(
    tmp_path: Path, files: list[Path], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, calls = torch.compile, []

    def capture(function: Callable[..., Any]) -> Callable[..., Any]:
        calls.append(function)
        return compiled(function, backend="aot_eager")  # torch's own needs minutes of a C++ compiler

    monkeypatch.setattr(torch, "compile", capture)
    (tmp_path / "fast").mkdir()
    product, plain = (
        torch.load(file, weights_only=True)
        for file in (
            pretrain(Location(), TINY, files, tmp_path / "fast", 0, machine),
            train(tmp_path / "plain", files),
        )
    )
    assert len(calls) == machine.compile
    assert product.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(product[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ([], {}),
        (["--augment", "device", "--cache", "2"], {"augment": "device", "cache": 2.0}),
        (["--reduced", "--compile", "--fused"], {"reduced": True, "compile": True, "fused": True}),
    ],
)
def test_the_words_choose_the_path_that_a_record_names(words: list[str], changed: dict[str, Any]) -> None:
    parser = argparse.ArgumentParser()
    options.add_machine(parser)
    args = parser.parse_args(["--device", "cpu", *words])
    plain = {"workers": 1, "augment": "workers", "cache": 0.0, "reduced": False, "compile": False, "fused": False}
    assert read_options(MachineOptions, args).machine().facts == {**plain, **changed}


def test_the_fused_optimizer_is_asked_for() -> None:
    assert [build_optimizer(PixSim(Location(), TINY), TINY, fused).defaults["fused"] for fused in (True, False)] == [
        True,
        None,
    ]


def test_bf16_has_the_loss_and_gradients_of_fp32_to_its_rounding() -> None:
    views, found = noise(TINY, 4, torch.device("cpu")), []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        recipe = replace(TINY, precision=precision)
        model = PixSim(Location(), recipe)
        training = Training(model, build_optimizer(model, recipe))
        loss = train_step(training, recipe, 0, views).value.item()
        gradient = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
        found.append((loss, gradient))
    (loss, gradient), (other, rounded) = found
    assert other == pytest.approx(loss, rel=0.01)
    assert float(torch.nn.functional.cosine_similarity(gradient, rounded, dim=0)) > 0.9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"augment": "gpu"}, "--augment gpu: choose device or workers"),
        ({"cache": -1.0}, "--cache -1: at least 0 GiB"),
        ({"cache": float("nan")}, "--cache nan: at least 0 GiB"),
        ({"cache": 1.0, "reduced": True}, "choose one"),
    ],
)
def test_a_machine_that_cannot_be_is_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Machine(**words)


def test_the_product_loads_into_torchvision(tmp_path: Path, files: list[Path]) -> None:
    state = torch.load(train(tmp_path / "run", files), weights_only=True)
    missing, unexpected = torchvision.models.resnet18().load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["backbone.pth", "curve.jsonl", "heads.pth"]


def test_a_stopped_run_goes_on_to_the_same_end(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", files)
    optimizer_step, calls = module.optimizer_step, []

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return optimizer_step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "optimizer_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", files)
    assert (tmp_path / "cut" / "checkpoint.pth").exists()
    assert not (tmp_path / "cut" / "backbone.pth").exists()
    assert len(calls) == 3
    with open(tmp_path / "cut" / "curve.jsonl", "a", encoding="utf-8") as curve:
        curve.write('{"step": 4, "epoch": 1, "loss": 9}\n{"step": 5, "ep')  # as a kill may leave it
    assert same(whole, train(tmp_path / "cut", files))
    curves = [(tmp_path / name / "curve.jsonl").read_text(encoding="utf-8") for name in ("whole", "cut")]
    assert curves[0] == curves[1]
    assert len(calls) == 4


def test_a_loss_that_is_not_finite_stops_before_the_update(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    expected = {name: value.clone() for name, value in PixSim(Location(), TINY).encoder.named_parameters()}
    seen: dict[str, torch.nn.Parameter] = {}

    def poisoned(strategy: object, recipe: Recipe) -> PixSim:
        model = PixSim(Location(), recipe)
        torch.nn.init.constant_(model.branch.head.predictor[-1].bias, float("nan"))  # type: ignore[arg-type]
        seen.update(model.encoder.named_parameters())
        return model

    monkeypatch.setattr(module, "PixSim", poisoned)
    with pytest.raises(PretrainError, match=r"the loss is not finite at step 0 .*lower lr"):
        train(tmp_path / "run", files)
    assert all(torch.equal(seen[name], value) for name, value in expected.items())
    assert not (tmp_path / "run" / "backbone.pth").exists()


@pytest.mark.parametrize("slope", [float("nan"), float("inf"), -float("inf")])
def test_a_single_slope_that_is_not_finite_is_found(slope: float) -> None:
    model = PixSim(Location(), TINY)
    training = Training(model, build_optimizer(model, TINY))
    slopes = [torch.full_like(weight, 1e15) for weight in model.parameters()]  # large, but finite
    for weight, grad in zip(model.parameters(), slopes, strict=True):
        weight.grad = grad
    nothing = Loss(torch.zeros(()), torch.empty(0), None, None)  # type: ignore[arg-type]
    module.check_finite(training, TINY, 0, nothing)
    slopes[0][0, 0, 0, 0] = slope
    with pytest.raises(PretrainError, match="the gradient is not finite at step 0"):
        module.check_finite(training, TINY, 0, nothing)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named_in_one_line(tmp_path: Path, workers: int) -> None:
    files = photos(tmp_path / "photos", 4)
    files[2].write_bytes(files[2].read_bytes()[:200])
    with pytest.raises(BrokenImage) as error:
        train(tmp_path / "run", files, workers)
    assert str(error.value).startswith(f"{files[2]}: cannot be decoded")
    assert "\n" not in str(error.value)


def test_a_damaged_checkpoint_is_named(tmp_path: Path, files: list[Path]) -> None:
    for content in (b"", b"no checkpoint"):
        (tmp_path / "checkpoint.pth").write_bytes(content)
        with pytest.raises(DamagedCheckpoint, match=r"checkpoint\.pth: not a readable checkpoint"):
            train(tmp_path, files)


def test_too_few_images_for_a_batch_are_refused(tmp_path: Path, files: list[Path]) -> None:
    with pytest.raises(PretrainError, match="batch=64: there are only 8 images"):
        train(tmp_path / "run", files, recipe=replace(TINY, batch=64))


def test_random_is_the_seed_s_initial_backbone(tmp_path: Path) -> None:
    product = torch.load(pretrain(Random(), TINY, [], tmp_path, 3, Machine()), weights_only=True)
    torch.manual_seed(3)
    for name, value in PixSim(Random(), TINY).encoder.state_dict().items():
        assert torch.equal(product[name], value)


def test_the_curve_says_what_the_loss_was(tmp_path: Path, files: list[Path]) -> None:
    train(tmp_path / "run", files)
    points = [json.loads(line) for line in (tmp_path / "run" / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(point["step"], point["epoch"]) for point in points] == [(1, 0), (2, 0), (3, 1), (4, 1)]
    assert all(point["loss"] > 0 and point["collapse"] > 0 and point["error"] >= 0 for point in points)
    assert points[0]["lr"] > points[-1]["lr"]
