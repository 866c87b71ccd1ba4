"""Boxes, frames and reading rows, against grid_sample and against planted coordinates."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import grid_sample

from methods import geometry
from methods.rng import CounterRNG
from methods.sampling import Regular
from tests.official import GOLDEN, wave


def boxes(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows)


@st.composite
def signed_boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    x, y, w, h = (draw(st.integers(low, 200)) for low in (0, 0, 20, 20))
    return (x + w, y, x, y + h) if draw(st.booleans()) else (x, y, x + w, y + h)


def test_overlap_of_mirrored_boxes_is_unsigned() -> None:
    shared = geometry.overlap(boxes((30, 0, 10, 20)), boxes((20, 5, 50, 40)))
    assert shared.tolist() == [[20, 5, 30, 20]]


def test_overlap_of_disjoint_boxes_has_no_length() -> None:
    shared = geometry.overlap(boxes((0, 0, 10, 10)), boxes((20, 0, 30, 10)))
    assert shared[0, 2] <= shared[0, 0]


@given(signed_boxes())
def test_to_unit_undoes_to_source(box: tuple[float, float, float, float]) -> None:
    points = torch.rand(1, 5, 2, generator=torch.Generator().manual_seed(0))
    there = geometry.to_source(points, boxes(box))
    torch.testing.assert_close(geometry.to_unit(there, boxes(box)), points, atol=1e-5, rtol=0)


def test_rows_equal_grid_sample() -> None:
    cells = wave((2, 3, 4, 5), 0.3)
    points = torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(0))
    for border, mode in ((True, "border"), (False, "zeros")):
        expected = grid_sample(cells, points[:, :, None] * 2 - 1, align_corners=False, padding_mode=mode)[..., 0].mT
        found = geometry.read_at(points, (4, 5), border) @ cells.flatten(2).mT
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_rows_equal_the_official_point_sample() -> None:
    points = torch.tensor([GOLDEN["P8b_point_sample"]["pts"]])
    cells = wave((1, 2, 4, 5), 0.3).flatten(2).mT
    found = geometry.read_at(points, (4, 5), border=False) @ cells
    torch.testing.assert_close(found[0], torch.tensor(GOLDEN["P8b_point_sample"]["out"]), atol=1e-6, rtol=0)


def test_rows_sum_to_one_at_the_border_and_beyond() -> None:
    points = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [0.5, 0.01], [3.0, -2.0]]])
    torch.testing.assert_close(geometry.read_at(points, (7, 7), border=True).sum(-1), torch.ones(1, 4))


def test_regular_grid_is_the_official_one() -> None:
    points = Regular(7)(torch.zeros(2, 4), CounterRNG(torch.zeros(2, dtype=torch.int64)), lambda points: points[..., 0])
    assert points.shape == (2, 49, 2)
    torch.testing.assert_close(points[0, :7], torch.tensor(GOLDEN["P8_grid7"]["coords_row0"]), atol=1e-7, rtol=0)


def test_corner_grid_reaches_the_corners() -> None:
    points = Regular(3, corners=True)(
        torch.zeros(1, 4), CounterRNG(torch.zeros(1, dtype=torch.int64)), lambda points: points[..., 0]
    )[0]
    assert points[0].tolist() == [0, 0]
    assert points[4].tolist() == [0.5, 0.5]
    assert points[-1].tolist() == [1, 1]
