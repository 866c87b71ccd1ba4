"""Two and four ranks make the step that one rank makes with the joined batch (METHODS 12.11), and share its images."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from itertools import chain, product, starmap
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException

from benchmarks.resuming import checkpoints
from benchmarks.resuming.checkpoints import Checkpoint
from benchmarks.resuming.training import Training
from harness import plugins
from harness.engine import distributed, pretrain
from harness.engine.gauges import gauges
from harness.engine.machine import Machine
from harness.engine.pretrain import build_optimizer
from methods import pixsim
from methods.pixsim import PixSim
from methods.recipe import Heads, Recipe
from methods.sampling import Biased
from methods.strategies.candidate_regions import CandidateRegions
from methods.strategies.location import Location
from methods.strategies.pixel_distance import PixelDistance
from methods.views import Order, View
from tests.forks import on_ranks, place
from tests.pictures import photos

SIDE, WIDTH, SIZES = 64, 32, (2, 4)
RECIPE = Recipe(encoder="resnet18", width=8, size=SIDE, batch=4, heads=Heads(8, 8, 8))
TINY = replace(RECIPE, size=32, epochs=2)
STRATEGIES: dict[str, Any] = {
    **{name: plugins.strategy(name)() for name in plugins.strategy_files() if plugins.strategy(name).trains},
    "candidate_regions before the heads": CandidateRegions(pool_stage="before_heads"),
    "location, heavily biased": Location(Biased(k=10, beta=1)),
    "pixel_distance, without the unmatched": PixelDistance(no_positive="exclude"),
}
FIRST = [(0, 0, 90, 80), (100, 20, 30, 90), (0, 0, 50, 50), (5, 5, 70, 70)]
PARTLY = "one image without overlap"
SECOND = {
    PARTLY: [(10, 10, 100, 90), (90, 0, 20, 80), (80, 80, 120, 120), (70, 5, 5, 70)],
    "one rank without overlap": [(10, 10, 100, 90), (90, 0, 20, 80), (80, 80, 120, 120), (170, 5, 105, 70)],
    "no overlap at all": [(200, 0, 290, 80)] * 4,
}


class Case(NamedTuple):
    """One step to make."""

    name: str  # of the strategy
    overlap: str
    kind: str  # of floating point number
    size: int  # ranks


SLACK = {"float64": 1e-10, "float32": 1e-3}  # of a tensor's largest entry; seen: 3e-13, and 2e-4 where much cancels
CASES = [
    *starmap(Case, product(STRATEGIES, SECOND, ["float64"], [2])),
    *starmap(Case, product(STRATEGIES, [PARTLY], SLACK, [4])),
]


class Step(NamedTuple):
    """What a training step would see, and its gauges."""

    value: Tensor
    gradients: dict[str, Tensor]
    gauges: dict[str, float | None]


def layer(name: str, zero_init: bool, width: int) -> nn.Module:
    """In the place of a ResNet; without a bias, which a BatchNorm would take out again."""
    return nn.Conv2d(3, WIDTH, 16, stride=16, bias=False)


def model(case: Case) -> PixSim:
    """The same weights in every process; the heads have their BatchNorms."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixsim, "build_encoder", layer)
        patch.setattr(pixsim, "channels", lambda encoder: WIDTH)
        network = PixSim(STRATEGIES[case.name], RECIPE)
    return network.to(getattr(torch, case.kind)).train(case.overlap != "no overlap at all")


def step(case: Case, part: slice) -> Step:
    """Loss and gradients of some of the images."""
    kind = getattr(torch, case.kind)
    images = torch.rand(2, 4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).to(kind)
    frame, seed = torch.tensor([[300.0, 150.0]], dtype=kind).expand(4, -1), torch.arange(4)
    first, second = (
        View(image[part], torch.tensor(boxes, dtype=kind)[part], frame[part], seed[part])
        for image, boxes in zip(images, (FIRST, SECOND[case.overlap]), strict=True)
    )
    network = model(case)
    training = Training(network, build_optimizer(network, RECIPE))
    pretrain.distribute(training)
    with pytest.MonkeyPatch.context() as patch:
        if kind == torch.float64:
            patch.setattr(Tensor, "float", Tensor.double)  # with which the heads end what autocast may have begun
        loss = training.network(first, second)
    loss.value.backward()
    gradients = {key: weight.grad for key, weight in network.named_parameters() if weight.grad is not None}
    joined = pretrain.gather_loss(loss)
    return Step(joined.value.detach(), gradients, gauges(joined))


def work(rank: int, folder: Path) -> None:
    """One rank of two and of four: every case on its share."""
    for size in (size for size in SIZES if rank < size):
        share = slice(4 // size * rank, 4 // size * (rank + 1))
        with place(rank, size, folder / f"meet-{size}"), distributed.process_group():
            found = {tuple(case): tuple(step(case, share)) for case in CASES if case.size == size}
        if rank == 0:
            torch.save(found, folder / f"found-{size}.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Step]:
    folder = tmp_path_factory.mktemp("ranks")
    on_ranks(max(SIZES), work, folder)
    stored = [torch.load(folder / f"found-{size}.pt", weights_only=True) for size in SIZES]
    return {case: Step(*one) for cases in stored for case, one in cases.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case)))
def test_ranks_make_the_step_of_one(found: dict[Any, Step], case: Case) -> None:
    ours, expected, slack = found[tuple(case)], step(case, slice(None)), SLACK[case.kind]
    torch.testing.assert_close(ours.value, expected.value, atol=min(slack, 1e-6), rtol=0)
    assert ours.gradients.keys() == expected.gradients.keys()
    for key, gradient in expected.gradients.items():
        largest = float(gradient.abs().max())
        torch.testing.assert_close(ours.gradients[key], gradient, atol=slack * largest, rtol=0)
    assert ours.gauges == pytest.approx(expected.gauges, abs=1e-4 if case.kind == "float32" else 2e-6)


# --- whole pre-trainings, which other ranks may end


class Try(NamedTuple):
    """Processes that try a pre-training of four steps, and when a signal cuts them off."""

    size: int
    made: int | None = None  # steps before the signal
    signal: int = signal.SIGKILL  # to all of them; another one is for the last of them alone, which makes its step

    @property
    def left(self) -> int:
        """The steps in the checkpoint."""
        return 4 if self.made is None else self.made + (self.signal != signal.SIGKILL)


WHOLE: dict[str, list[Try]] = {
    "one": [Try(1)],
    "two": [Try(2)],
    "two, killed": [Try(2, 3), Try(2)],
    "two, stopped": [Try(2, 1, signal.SIGUSR1), Try(2)],
    "one, then two": [Try(1, 3), Try(2)],
    "two, then one": [Try(2, 3), Try(1)],
}


def small(name: str, zero_init: bool, width: int) -> nn.Module:
    """In the place of a ResNet, whose checkpoints take most of a test's time."""
    return nn.Sequential(layer(name, zero_init, width), nn.BatchNorm2d(WIDTH), nn.ReLU())


def train(rank: int, number: int, one: Try, folder: Path, images: list[Path], kind: str) -> None:
    """One rank's part of a pre-training, with a checkpoint after every step; only the first rank's folder counts."""
    original, optimizer_step = pretrain.next_views, pretrain.optimizer_step

    def next_views(batches: Any, machine: Machine) -> Any:
        views = original(batches, machine)
        return views and tuple(
            View(*(part.double() if part.is_floating_point() else part for part in view)) for view in views
        )

    def last(training: Training, *rest: Any) -> Any:
        if training.step == one.made and (one.signal == signal.SIGKILL or rank == one.size - 1):
            os.kill(os.getpid(), one.signal)
        return optimizer_step(training, *rest)

    with (
        pytest.MonkeyPatch.context() as patch,
        place(rank, one.size, folder / f"meet-{number}"),
        distributed.process_group(),
    ):
        patch.setattr(pixsim, "build_encoder", small)
        patch.setattr(pixsim, "channels", lambda encoder: WIDTH)
        patch.setattr(checkpoints, "CHECKPOINT_EVERY", -1.0)
        patch.setattr(Checkpoint, "remove", lambda checkpoint: None)  # so that the optimizer's state is compared too
        patch.setattr(pretrain, "optimizer_step", last)
        if kind == "float64":
            torch.set_default_dtype(torch.float64)
            patch.setattr(Tensor, "float", Tensor.double)
            patch.setattr(pretrain, "next_views", next_views)
        own = folder if rank == 0 else folder / "beside"
        own.mkdir(exist_ok=True)
        pretrain.pretrain(Location(), TINY, images, own, 0, Machine("cpu", 0))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], dict[str, Any]]:
    """What a pre-training of WHOLE leaves, made once."""
    place = tmp_path_factory.mktemp("whole")
    images = photos(place / "photos", 8)

    @cache
    def made(name: str, kind: str) -> dict[str, Any]:
        folder = place / f"{name} {kind}"
        folder.mkdir()
        for number, one in enumerate(WHOLE[name]):
            killed = one.made and one.signal == signal.SIGKILL
            with pytest.raises(ProcessExitedException) if killed else nullcontext():
                on_ranks(one.size, train, number, one, folder, images, kind)
            assert checkpoints.load(folder / "checkpoint.pth")["step"] == one.left
        points = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
        return {
            "curve": points,
            **{name: checkpoints.load(folder / name) for name in ("backbone.pth", "checkpoint.pth")},
        }

    return made


@pytest.mark.parametrize("name", ["two", "one, then two", "two, then one"])
def test_a_pre_training_is_that_of_one_process_whoever_makes_its_steps(
    trained: Callable[[str, str], dict[str, Any]], name: str
) -> None:
    ours, expected = trained(name, "float64"), trained("one", "float64")
    assert [point["step"] for point in ours["curve"]] == [1, 2, 3, 4]
    for point, other in zip(ours["curve"], expected["curve"], strict=True):
        assert point == pytest.approx(other, rel=1e-8, abs=2e-6)  # the gauges are rounded
    torch.testing.assert_close(ours["backbone.pth"], expected["backbone.pth"], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["two, killed", "two, stopped"])
def test_two_ranks_that_are_cut_off_end_as_if_nothing_had_been(
    trained: Callable[[str, str], dict[str, Any]], name: str
) -> None:
    ours, expected = trained(name, "float32"), trained("two", "float32")
    assert ours["curve"] == expected["curve"]
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


# --- the images of each rank


@given(
    ranks=st.integers(1, 6), share=st.integers(1, 5), images=st.integers(1, 80), epochs=st.integers(1, 3),
    seed=st.integers(0, 9), data=st.data(),
)  # fmt: skip
def test_ranks_share_each_batch_of_one_and_see_every_image_once(
    ranks: int, share: int, images: int, epochs: int, seed: int, data: st.DataObject
) -> None:
    recipe = replace(RECIPE, batch=ranks * share, epochs=epochs)
    steps = images // recipe.batch
    start = data.draw(st.integers(0, steps * epochs))
    whole = list(Order(images, recipe, seed, start)) if steps else []
    parts = [list(Order(images, recipe, seed, start, rank, ranks)) for rank in range(ranks)] if steps else []
    assert [list(chain(*batch)) for batch in zip(*parts, strict=True)] == whole
    seen = [key for batch in (Order(images, recipe, seed, 0) if steps else []) for key in batch]
    assert len(seen) == len(set(seen)) == epochs * steps * recipe.batch
    assert {index for _, index in seen} <= set(range(images))
