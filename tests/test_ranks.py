"""Two and four ranks make the step that one rank makes with the joined batch (METHODS 12.11), and share its images."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import chain, product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn

from harness import ROOT, plugins, ranks
from harness.gauges import gauges
from harness.pretrain import Training, build_optimizer
from methods.pixsim import PixSim
from methods.recipe import Heads, Recipe
from methods.sampling import Biased
from methods.strategies.candidate_regions import CandidateRegions
from methods.strategies.location import Location
from methods.strategies.pixel_distance import PixelDistance
from methods.views import Order, View

SIDE, SIZES = 64, (2, 4)
RECIPE = Recipe(depth=18, size=SIDE, batch=4, heads=Heads(8, 8, 8))
STRATEGIES: dict[str, Any] = {
    **{name: plugins.strategy(name)() for name in plugins.strategy_files() if plugins.strategy(name).trains},
    "candidate_regions before the heads": CandidateRegions(pool_stage="before_heads"),
    "location, heavily biased": Location(Biased(k=10, beta=1)),
    "pixel_distance, without the unmatched": PixelDistance(no_positive="exclude"),
}
FIRST = [(0, 0, 90, 80), (100, 20, 30, 90), (0, 0, 50, 50), (5, 5, 70, 70)]
SECOND = {
    "one image without overlap": [(10, 10, 100, 90), (90, 0, 20, 80), (80, 80, 120, 120), (70, 5, 5, 70)],
    "one rank without overlap": [(10, 10, 100, 90), (90, 0, 20, 80), (80, 80, 120, 120), (170, 5, 105, 70)],
    "no overlap at all": [(200, 0, 290, 80)] * 4,
}


class Step(NamedTuple):
    """What a training step would see, and its gauges."""

    value: Tensor
    gradients: dict[str, Tensor]
    gauges: dict[str, float | None]


def model(name: str, training: bool) -> PixSim:
    """The same weights in every process; one layer stands for the encoder, the heads have their BatchNorms."""
    torch.manual_seed(0)
    network = PixSim(STRATEGIES[name], RECIPE)
    network.encoder = nn.Sequential(nn.Conv2d(3, 512, 16, stride=16))
    return network.train(training)


def step(name: str, case: str, part: slice) -> Step:
    """Loss and gradients of some of the images."""
    images = torch.rand(2, 4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    frame, seed = torch.tensor([[300.0, 150.0]]).expand(4, -1), torch.arange(4)
    first, second = (
        View(image[part], torch.tensor(boxes, dtype=torch.float32)[part], frame[part], seed[part])
        for image, boxes in zip(images, (FIRST, SECOND[case]), strict=True)
    )
    network = model(name, training=case != "no overlap at all")
    called = ranks.share(Training(network, build_optimizer(network, RECIPE)))  # averages gradients while it lives
    loss = called(first, second)
    loss.value.backward()
    gradients = {key: weight.grad for key, weight in network.named_parameters() if weight.grad is not None}
    joined = ranks.gather(loss)
    return Step(joined.value.detach(), gradients, gauges(joined))


def work(rank: int, folder: str) -> None:
    """One rank of two and of four: every strategy and case on its share."""
    torch.set_num_threads(1)
    for size in (size for size in SIZES if rank < size):
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size)}
        distributed.init_process_group("gloo", f"file://{folder}/meet-{size}", world_size=size, rank=rank)
        share = slice(4 // size * rank, 4 // size * (rank + 1))
        found = {case: tuple(step(*case, share)) for case in product(STRATEGIES, SECOND)}
        if rank == 0:
            torch.save(found, Path(folder) / f"found-{size}.pt")
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[tuple[str, str], Step]]:
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        spawn(work, (str(folder),), nprocs=max(SIZES))
    stored = {size: torch.load(folder / f"found-{size}.pt", weights_only=True) for size in SIZES}
    return {size: {case: Step(*one) for case, one in cases.items()} for size, cases in stored.items()}


@pytest.mark.parametrize("case", SECOND)
@pytest.mark.parametrize("name", STRATEGIES)
def test_ranks_make_the_step_of_one(found: dict[int, dict[tuple[str, str], Step]], name: str, case: str) -> None:
    expected = step(name, case, slice(None))
    for size in SIZES:
        ours = found[size][name, case]
        torch.testing.assert_close(ours.value, expected.value, atol=1e-6, rtol=1e-6)
        assert ours.gradients.keys() == expected.gradients.keys()
        for key, gradient in expected.gradients.items():
            slack = 1e-5 * max(1.0, float(gradient.abs().max()))  # float32, whose sums go another way on each CPU
            torch.testing.assert_close(ours.gradients[key], gradient, atol=slack, rtol=1e-6)
        assert ours.gauges == pytest.approx(expected.gauges, abs=1e-4)


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
