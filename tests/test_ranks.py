"""Two ranks with half a batch each make the step that one rank makes with the joined batch (METHODS 12.11)."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn

from harness import plugins
from methods.pixsim import PixSim
from methods.recipe import Heads, Recipe
from methods.sampling import Biased
from methods.strategies.candidate_regions import CandidateRegions
from methods.strategies.location import Location
from methods.strategies.pixel_distance import PixelDistance
from methods.views import View

SIDE, RANKS = 64, 2
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
    """What a training step would see."""

    value: Tensor
    gradients: dict[str, Tensor]


@cache
def model(name: str) -> PixSim:
    """The same weights in every process; BatchNorm keeps its running statistics, which ranks share.

    One layer stands for the encoder, which in evaluation looks at each image alone.
    """
    torch.manual_seed(0)
    network = PixSim(STRATEGIES[name], RECIPE)
    network.encoder = nn.Sequential(nn.Conv2d(3, 512, 16, stride=16))
    return network.eval()


def step(name: str, case: str, part: slice) -> Step:
    """Loss and gradients of some of the images."""
    images = torch.rand(2, 4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    frame, seed = torch.tensor([[300.0, 150.0]]).expand(4, -1), torch.arange(4)
    first, second = (
        View(image[part], torch.tensor(boxes, dtype=torch.float32)[part], frame[part], seed[part])
        for image, boxes in zip(images, (FIRST, SECOND[case]), strict=True)
    )
    network = model(name)
    network.zero_grad()
    value = network(first, second).value
    value.backward()
    gradients = {key: weight.grad for key, weight in network.named_parameters()}
    return Step(value.detach(), {key: gradient.clone() for key, gradient in gradients.items() if gradient is not None})


def work(rank: int, folder: str) -> None:
    """One rank: every strategy and case on its half, averaged as DistributedDataParallel does."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", world_size=RANKS, rank=rank)
    found = {}
    for name in STRATEGIES:
        for case in SECOND:
            half = step(name, case, slice(2 * rank, 2 * rank + 2))
            for number in (half.value, *half.gradients.values()):
                distributed.all_reduce(number.div_(RANKS))
            found[name, case] = half
    if rank == 0:
        torch.save({key: tuple(one) for key, one in found.items()}, Path(folder) / "found.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Step]:
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
        spawn(work, (str(folder),), nprocs=RANKS)
    stored = torch.load(folder / "found.pt", weights_only=True)
    return {key: Step(*one) for key, one in stored.items()}


@pytest.mark.parametrize("case", SECOND)
@pytest.mark.parametrize("name", STRATEGIES)
def test_two_ranks_make_the_step_of_one(found: dict[tuple[str, str], Step], name: str, case: str) -> None:
    expected, ours = step(name, case, slice(None)), found[name, case]
    torch.testing.assert_close(ours.value, expected.value, atol=1e-6, rtol=1e-6)
    assert ours.gradients.keys() == expected.gradients.keys()
    for key, gradient in expected.gradients.items():
        torch.testing.assert_close(ours.gradients[key], gradient, atol=1e-6, rtol=1e-6, msg=key)
