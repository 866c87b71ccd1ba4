"""What holds for any pair of signed boxes, without a reference (METHODS 13), and the edge cases of every strategy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods import geometry
from methods.boxes import Scrl, Windows, carry, turned, windows
from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.heads import Sites
from methods.pixsim import Branch, mirror
from methods.recipe import Heads, Recipe
from methods.rng import CounterRNG
from methods.sampling import Biased, Regular, Uniform
from methods.similarity import cosine, cross_entropy
from methods.strategies.candidate_regions import CandidateRegions
from methods.strategies.feature_similarity import FeatureSimilarity
from methods.strategies.location import Location
from methods.strategies.location_region import LocationRegion
from methods.strategies.pixel_distance import PixelDistance
from methods.strategies.shuffled import Shuffled
from methods.strategies.simsiam import SimSiam
from tests.official import wave

CHANNELS = 8
VARIANTS: dict[str, Strategy] = {
    "simsiam": SimSiam(),
    "feature_similarity": FeatureSimilarity(),
    "feature_similarity, of the projections": FeatureSimilarity(match_on="projection"),
    "feature_similarity, of the intersection": FeatureSimilarity(scope="intersection"),
    "pixel_distance": PixelDistance(),
    "pixel_distance, without the unmatched": PixelDistance(no_positive="exclude"),
    "candidate_regions": CandidateRegions(),
    "candidate_regions, all windows": CandidateRegions(boxes=Windows(level="both")),
    "candidate_regions, scrl": CandidateRegions(boxes=Scrl(min_side=16, tries=10)),
    "candidate_regions, roialign": CandidateRegions(pool="roialign"),
    "candidate_regions, before the heads": CandidateRegions(pool_stage="before_heads"),
    "location": Location(),
    "location, corners": Location(Regular(corners=True)),
    "location, uniform": Location(Uniform()),
    "location, biased": Location(Biased()),
    "location, heavily biased": Location(Biased(k=10, beta=1)),
    "location_region": LocationRegion(),
    "shuffled": Shuffled(),
}
BLIND = {name for name in VARIANTS if name.startswith(("simsiam", "feature"))}  # they look at no place
BLIND -= {"feature_similarity, of the intersection"}
every_variant = pytest.mark.parametrize("strategy", VARIANTS.values(), ids=VARIANTS)
Boxes = list[tuple[int, int, int, int]]


@st.composite
def signed_boxes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    x, y, w, h = (draw(st.integers(low, 200)) for low in (0, 0, 20, 20))
    return (x + w, y, x, y + h) if draw(st.booleans()) else (x, y, x + w, y + h)


batches = st.lists(signed_boxes(), min_size=3, max_size=3)
some = settings(derandomize=True, deadline=None, max_examples=12)
many = settings(derandomize=True, deadline=None, max_examples=60)


def look(boxes: Boxes | Tensor, phase: float = 0.0, shape: tuple[int, int] = (7, 7)) -> FeatureMap:
    """A view in float64, so that no point falls on another side of an edge when the views are swapped."""
    box = torch.as_tensor(boxes, dtype=torch.float64)
    count = len(box), shape[0] * shape[1]
    cells, z, p = (wave((*count, width), phase + step).double() for step, width in enumerate((6, CHANNELS, CHANNELS)))
    frame = torch.tensor([[400.0, 300.0]], dtype=torch.float64).expand(len(box), -1)
    return FeatureMap(cells, box, frame, torch.arange(len(box)), shape, z.requires_grad_(), p.requires_grad_())


def flipped(view: FeatureMap) -> FeatureMap:
    """The same view seen in a mirror: its maps and its box."""
    height, width = view.shape
    maps = [part.unflatten(1, (height, width)).flip(2).flatten(1, 2) for part in (view.cells, view.z, view.p)]
    return view._replace(cells=maps[0], z=maps[1], p=maps[2], box=view.box[:, [2, 1, 0, 3]])


class Headless(Branch):
    """A branch that is given z and p instead of heads, also where sites are pooled first."""

    def embed_cells(self, view: FeatureMap) -> FeatureMap:
        """Nothing is left to embed."""
        return view

    def read(self, view: FeatureMap, rows: Tensor) -> Sites:
        """The given z and p at the sites."""
        return Sites(rows @ view.z, rows @ view.p)


def branch(strategy: Strategy) -> Headless:
    return Headless(strategy, Recipe(encoder="resnet18", heads=Heads(CHANNELS, CHANNELS, CHANNELS)), 6)


def loss(strategy: Strategy, first: FeatureMap, second: FeatureMap) -> Tensor:
    found: Tensor = branch(strategy)(first, second).value
    return found


def link(strategy: Strategy, first: FeatureMap, second: FeatureMap) -> Correspondence:
    return branch(strategy).link(first, second)


@every_variant
@some
@given(batches, batches)
def test_swapping_the_views_leaves_the_loss(strategy: Strategy, one: Boxes, other: Boxes) -> None:
    first, second = look(one), look(other, 3.0)
    found, swapped = loss(strategy, first, second), loss(strategy, second, first)
    torch.testing.assert_close(found, swapped, atol=1e-6, rtol=0)


@every_variant
@some
@given(batches, batches)
def test_a_mirrored_view_with_its_box_mirrors_only_the_cells(strategy: Strategy, one: Boxes, other: Boxes) -> None:
    """Q stays, K's columns are mirrored and the loss is the same; pixels' pairs are K's columns themselves."""
    first, second = look(one), look(other, 3.0)
    plain, mirrored = link(strategy, first, second), link(strategy, first, flipped(second))
    read = (plain.weight @ plain.key).unflatten(2, (7, 7)).flip(3).flatten(2)
    torch.testing.assert_close(plain.query, mirrored.query, atol=1e-9, rtol=0)
    torch.testing.assert_close(mirrored.weight @ mirrored.key, read, atol=1e-6, rtol=0)
    expected = loss(strategy, first, second)
    torch.testing.assert_close(loss(strategy, first, flipped(second)), expected, atol=1e-6, rtol=0)


@every_variant
@some
@given(batches, batches)
def test_the_way_back_is_the_transpose(strategy: Strategy, one: Boxes, other: Boxes) -> None:
    first, second = look(one), look(other, 3.0)
    forth, again = link(strategy, first, second), link(strategy, second, first)
    if strategy.directed:  # each cell chooses anew
        return
    # which sites come first does not matter, only which cells are linked with which
    found, expected = (pairs.query.mT @ pairs.weight @ pairs.key for pairs in (again, mirror(forth)))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


@many
@given(batches, batches)
def test_carrying_windows_there_and_back_changes_nothing(one: Boxes, other: Boxes) -> None:
    first, second = look(one).box, look(other).box
    lattice = windows(48, 32, first.device, first.dtype).expand(3, -1, -1)
    there, _ = carry(lattice, first, second)
    torch.testing.assert_close(carry(there, second, first)[0], lattice, atol=1e-9, rtol=0)
    assert torch.equal(turned(turned(first, second), first), first)


@many
@given(st.integers(0, 2**40), st.integers(1, 60), st.floats(1, 10))
def test_biased_points_are_the_least_similar_and_nothing_else_decides(seed: int, points: int, k: float) -> None:
    def unlike(points: Tensor) -> Tensor:
        return (7 * points[..., 0]).sin() + points[..., 1]

    like, start = torch.zeros(2, 4), torch.tensor([seed, seed + 1])
    candidates = CounterRNG(start)(int(k * points), 2)
    found = Biased(points, k, beta=1)(like, CounterRNG(start), unlike)
    least = unlike(candidates).sort(dim=1, descending=True).values[:, :points]
    assert torch.equal(unlike(found), least)
    stream = CounterRNG(start)
    stream(points, 2)
    assert torch.equal(Biased(points, k=1, beta=0)(like, CounterRNG(start), unlike), stream(points, 2))


@every_variant
def test_views_without_overlap_give_a_finite_loss_and_no_gradient(strategy: Strategy) -> None:
    first, second = look([(0, 0, 90, 80), (60, 0, 0, 50)]), look([(200, 0, 290, 80), (0, 60, 70, 99)], 3.0)
    found = loss(strategy, first, second)
    assert torch.isfinite(found)
    if strategy in [VARIANTS[name] for name in BLIND]:
        return
    assert found == 0
    gradients = torch.autograd.grad(found, [first.p, second.p])
    assert all((gradient == 0).all() for gradient in gradients)


@every_variant
@some
@given(batches, batches)
def test_the_target_receives_no_gradient(strategy: Strategy, one: Boxes, other: Boxes) -> None:
    first, second = look(one), look(other, 3.0)
    gradients = torch.autograd.grad(loss(strategy, first, second), [first.z, second.z], allow_unused=True)
    assert [*gradients] == [None, None]


unit = st.floats(0, 1, allow_nan=False)


@many
@given(st.tuples(unit, unit, unit, unit), st.sampled_from([(7, 7), (3, 5), (14, 14)]))
def test_pooling_a_constant_gives_the_constant(edges: tuple[float, ...], shape: tuple[int, int]) -> None:
    box = torch.tensor([[edges]], dtype=torch.float64)
    if ((box[..., 2:] - box[..., :2]).abs() < 1e-3).any():
        return
    whole = geometry.read_boxes(3 * box - 1, shape, offset=0.5, border=True)
    assert abs(whole.sum().item() - 1) < 1e-9
    height, width = shape
    inner = box * torch.tensor([(width - 1) / width, (height - 1) / height]).repeat(2)  # 0 to cells − 1, in cells
    assert abs(geometry.read_boxes(inner, shape, offset=0.0, border=False).sum().item() - 1) < 1e-9


def planted(view: FeatureMap) -> Tensor:
    """Each cell's own place in the source [B, H·W, 2]."""
    return geometry.to_source(geometry.centres(view.shape, view.box), view.box)


@pytest.mark.parametrize("proposals", [Windows(), Windows(level="both"), Scrl(min_side=32, tries=10)], ids=str)
@pytest.mark.parametrize("pool", ["prroi", "roialign"])
@some
@given(batches, batches)
def test_a_box_is_centred_on_the_same_place_in_both_views(proposals: Any, pool: Any, one: Boxes, other: Boxes) -> None:
    """Where a box keeps half a cell off the edges of both views, both averages of places are its own centre."""
    first, second = look(one, shape=(14, 14)), look(other, shape=(14, 14))
    strategy = CandidateRegions(boxes=proposals, pool=pool)
    found, pairs = link(strategy, first, second), proposals(first.box, second.box, CounterRNG(first.seed))
    margin = 0.5 / 14
    inside = pairs.valid.clone()
    for boxes in (pairs.first, pairs.second):
        inside &= (boxes >= margin).all(-1) & (boxes <= 1 - margin).all(-1)
    for boxes, rows, view in ((pairs.first, found.query, first), (pairs.second, found.key, second)):
        centre = geometry.to_source((boxes[..., :2] + boxes[..., 2:]) / 2, view.box)
        torch.testing.assert_close((rows @ planted(view))[inside], centre[inside], atol=1e-6, rtol=0)
    here, there = found.query @ planted(first), found.key @ planted(second)
    torch.testing.assert_close(here[inside], there[inside], atol=1e-6, rtol=0)


@every_variant
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (14, 14)])
@pytest.mark.parametrize("images", [1, 2])
def test_maps_of_any_shape_and_a_batch_of_one(strategy: Strategy, shape: tuple[int, int], images: int) -> None:
    """Views of one long source, of which the second shows little."""
    first = look([(0, 0, 390, 30), (300, 5, 20, 25)][:images], shape=shape)
    second = look([(390, 10, 8, 28), (40, 0, 330, 30)][:images], 3.0, shape)
    found = loss(strategy, first, second)
    assert torch.isfinite(found)
    torch.testing.assert_close(loss(strategy, second, first), found, atol=1e-6, rtol=0)


@pytest.mark.parametrize("similarity", [cosine, cross_entropy])
def test_a_single_positive_pair_is_the_whole_loss(similarity: Any) -> None:
    """A sliver that only two cells share: the loss is their distance, less the 1e-6 of PixPro's denominator."""
    first, second = look([(0, 0, 140, 140)]), look([(122, 122, 262, 262)], 3.0)
    strategy = PixelDistance(radius=0.3)
    weight = link(strategy, first, second).weight
    assert weight.sum() == 1
    assert weight[0, -1, 0] == 1
    built = Branch(strategy, Recipe(encoder="resnet18", similarity=similarity), 6)
    predicted, target = similarity(first.p[:, -1:], second.z[:, :1])
    found = built.distance(first.p, second.z, weight)
    torch.testing.assert_close(found, -(predicted * target).sum(), atol=1e-5, rtol=0)
