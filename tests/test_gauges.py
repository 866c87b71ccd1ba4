"""Gauges of planted correspondences and embeddings, whose values are known."""

import pytest
import torch
from torch import Tensor

from harness.engine.gauges import effective_rank, gauges
from harness.tables import GAUGES
from methods.correspondence import Correspondence, FeatureMap
from methods.pixsim import Loss
from tests.official import wave

BOX = torch.tensor([[0.0, 0, 20, 20], [40, 10, 0, 50]])  # the second is mirrored


def loss(z: Tensor, weight: Tensor, second: Tensor = BOX) -> Loss:
    """A step on two images of 2 × 2 cells in which every cell is a site."""
    frame, seed, identity = torch.full((2, 2), 100.0), torch.arange(2), torch.eye(4).expand(2, -1, -1)
    views = [FeatureMap(wave((2, 4, 3), 0.1), box, frame, seed, (2, 2), z, z) for box in (BOX, second)]
    return Loss(torch.tensor(1.0), z, (views[0], views[1]), Correspondence(identity, identity, weight))


def test_linked_cells_of_the_same_place_have_no_error() -> None:
    found = gauges(loss(torch.randn(2, 4, 8), torch.eye(4).expand(2, -1, -1)))
    assert (found["error"], found["matched"], found["pairs"]) == (0, 1, 4)


def test_the_error_is_the_weighted_distance_in_cells_of_the_larger_view() -> None:
    weight = torch.zeros(2, 4, 4)
    weight[0, 0, 1] = 3  # 10 px apart in cells of 10 px
    weight[1, 0, 3] = 1  # a diagonal of cells of 20 px
    found = gauges(loss(torch.randn(2, 4, 8), weight))
    assert found["error"] == pytest.approx((3 * 1 + 2**0.5) / 4, abs=1e-6)
    assert (found["matched"], found["pairs"]) == (1, 1)
    weight[1] = 0
    assert gauges(loss(torch.randn(2, 4, 8), weight))["matched"] == 0.5
    shifted = BOX + torch.tensor([40.0, 0, 40, 0])
    found = gauges(loss(torch.randn(2, 4, 8), torch.eye(4)[None] * torch.tensor([1.0, 0])[:, None, None], shifted))
    assert found["error"] == pytest.approx(4)


def test_without_a_pair_there_is_no_error() -> None:
    found = gauges(loss(torch.randn(2, 4, 8), torch.zeros(2, 4, 4)))
    assert (found["error"], found["matched"], found["pairs"]) == (None, 0, 0)


def test_collapse_and_rank_know_both_ends() -> None:
    torch.manual_seed(0)
    link = torch.eye(4).expand(2, -1, -1)
    healthy, dead = gauges(loss(torch.randn(2, 256, 16), link)), gauges(loss(torch.ones(2, 256, 16), link))
    assert healthy["collapse"] == pytest.approx(1, abs=0.05)
    assert dead["collapse"] == pytest.approx(0, abs=1e-4)
    assert 14 < (healthy["rank"] or 0) <= 16


@pytest.mark.parametrize("shape", [(400, 8), (8, 40)])
def test_the_effective_rank_counts_equal_directions(shape: tuple[int, int]) -> None:
    rows = torch.eye(8).repeat(shape[0] // 8, 1)
    rows = torch.cat([rows, torch.zeros(shape[0], shape[1] - 8)], dim=1)
    assert effective_rank(rows).item() == pytest.approx(7, abs=0.01)  # eight corners span seven dimensions


def test_pseudo_categories_that_are_all_used_alike_have_full_entropy() -> None:
    link = torch.eye(4).expand(2, -1, -1)
    even = gauges(loss(torch.eye(8).reshape(2, 4, 8), link))
    assert (even["entropy"], even["usage"]) == (1, 1)
    single = gauges(loss(torch.eye(8)[:1].expand(2, 4, 8), link))
    assert (single["entropy"], single["usage"]) == (0, 0.125)


def test_the_table_of_gauges_lists_what_a_step_measures() -> None:
    assert [column.name for column in GAUGES] == [*gauges(loss(torch.randn(2, 4, 8), torch.eye(4).expand(2, -1, -1)))]
