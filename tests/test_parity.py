"""Our pieces against the figures of the official functions (METHODS 13) and against the oracles of tests.references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from methods import geometry
from methods.boxes import Pairs, Scrl, Windows
from methods.correspondence import Correspondence, FeatureMap
from methods.pixsim import Branch, Loss
from methods.recipe import Heads, Recipe, Region
from methods.regions import RegionBranch
from methods.rng import CounterRNG
from methods.sampling import Biased
from methods.similarity import cosine, cross_entropy, distance
from methods.strategies.candidate_regions import roi_align_rows
from methods.strategies.feature_similarity import FeatureSimilarity
from methods.strategies.location import Location
from methods.strategies.pixel_distance import PixelDistance, coordinates
from tests import references
from tests.official import GOLDEN, wave
from tests.references import SIDE, Box, Crop

P4, P5, P7, P8C = (
    GOLDEN[name]["cases"] for name in ("P4_pixpro_loss", "P5_resim_windows", "P7_scrl_boxes", "P8c_oversample")
)
NOTHING = CounterRNG(torch.zeros(1, dtype=torch.int64))
CROPS = [
    (Crop(20, 10, 200, 180), Crop(60, 50, 220, 200)),
    (Crop(0, 0, 120, 250), Crop(40, 100, 260, 180, flipped=True)),
    (Crop(31, 17, 99, 143, flipped=True), Crop(3, 55, 201, 77)),
    (Crop(0, 0, 50, 60), Crop(100, 100, 60, 60)),  # disjoint
    (Crop(10, 20, 150, 90, flipped=True), Crop(0, 0, 300, 400, flipped=True)),
]


def view(
    boxes: Sequence[Box], cells: Tensor, z: Tensor | None = None, p: Tensor | None = None, frame: Box | None = None
) -> FeatureMap:
    """A feature map of square shape; cells, z and p are [B, H·W, ·]."""
    side = round(cells.shape[1] ** 0.5)
    size = torch.tensor([frame[2:] if frame else (500.0, 375.0)], dtype=torch.float64).expand(len(boxes), -1)
    seed = torch.arange(len(boxes))
    place = torch.tensor(boxes, dtype=torch.float64)
    return FeatureMap(cells, place, size, seed, (side, side), cells if z is None else z, cells if p is None else p)


def crop_of(numbers: Sequence[float], flipped: float = False) -> Crop:
    top, left, height, width = numbers
    return Crop(top, left, height, width, bool(flipped))


class TestFeatureSimilarity:
    case = GOLDEN["P3_densecl"]
    query, key = wave((2, 16, 3, 3), 0.2), wave((2, 16, 3, 3), 2.3).flip(-1)

    def link(self, query: Tensor, key: Tensor) -> Correspondence:
        q, k = (view([(0, 0, 9, 9)] * 2, cells.flatten(2).mT) for cells in (query, key))
        return FeatureSimilarity()(q, k, cosine)

    def test_p3_matches_are_the_official_ones_in_both_directions(self) -> None:
        assert self.link(self.query, self.key).weight.argmax(2).tolist() == self.case["argmax_q_to_k"]
        assert self.link(self.key, self.query).weight.argmax(2).tolist() == self.case["argmax_k_to_q"]

    def test_p3_positive_cosines_are_the_official_ones(self) -> None:
        found = self.link(self.query, self.key)
        q, k = (found.query @ wave((2, 4, 9), 0.9).mT, found.weight @ found.key @ wave((2, 4, 9), 2.0).mT)
        official = torch.tensor(self.case["positive_cosines"])
        torch.testing.assert_close(-distance(cosine, q, k), official, atol=1e-6, rtol=0)

    def test_p3_the_reference_agrees(self) -> None:
        rows = [
            references.densecl_match(q.flatten(1).mT, k.flatten(1).mT)
            for q, k in zip(self.query, self.key, strict=True)
        ]
        assert rows == self.case["argmax_q_to_k"]


class TestPixelDistance:
    q, k = (normalize(wave((1, 8, 7, 7), phase), dim=1).flatten(2).mT for phase in (0.4, 1.7))

    def link(self, cases: list[dict[str, Any]], ratio: float) -> tuple[Correspondence, Tensor]:
        """W and the official loss, of boxes in a source of 1001 pixels, of which PixPro counts 1000."""
        boxes = [[self.pixels(case[name]) for case in cases] for name in ("coord_q", "coord_k")]
        q, k = (
            view(rows, cells.expand(len(cases), -1, -1), frame=(0, 0, 1001, 1001))
            for rows, cells in zip(boxes, (self.q, self.k), strict=True)
        )
        strategy = PixelDistance(radius=ratio)
        found = strategy(q, k, cosine)
        branch = Branch(strategy, Recipe(encoder="resnet18", similarity=cosine), 8)
        return found, 2 * branch.distance(q.p, k.z, found.weight.float())

    @staticmethod
    def pixels(coordinates: list[float]) -> Box:
        x0, y0, x1, y1 = (1000 * edge for edge in coordinates)
        return (x0 + 1, y0, x1, y1 + 1) if x0 > x1 else (x0, y0, x1 + 1, y1 + 1)

    @pytest.mark.parametrize("ratio", [0.5, 0.7])
    @pytest.mark.parametrize("name", [name for name in P4 if not name.startswith("batch")])
    def test_p4_loss_and_pairs_are_the_official_ones(self, name: str, ratio: float) -> None:
        found, loss = self.link([P4[name]], ratio)
        assert abs(loss.item() - P4[name][f"thr{ratio}"]) < 1e-6
        if ratio == 0.7:
            assert found.weight.sum() == P4[name]["n_positive_pairs_thr0.7"]
            assert found.weight.any(2).sum() == P4[name]["n_q_cells_with_a_positive"]

    def test_p4_the_batch_of_five_counts_the_image_without_a_pair(self) -> None:
        _, loss = self.link([case for name, case in P4.items() if not name.startswith("batch")], 0.7)
        assert abs(loss.item() - P4["batch_of_the_five_thr0.7"]) < 1e-6

    @pytest.mark.parametrize("name", [name for name in P4 if not name.startswith("batch")])
    def test_p4_the_reference_agrees(self, name: str) -> None:
        case = P4[name]
        mask = references.pixpro_mask(tuple(case["coord_q"]), tuple(case["coord_k"]), 7, 0.7)
        assert torch.equal(mask, self.link([case], 0.7)[0].weight[0].float())
        assert abs(references.pixpro_loss(self.q, self.k, mask[None]).item() - case["thr0.7"]) < 1e-6

    @pytest.mark.parametrize("flipped", [False, True])
    def test_p4b_coordinates_are_the_official_ones(self, flipped: bool) -> None:
        crop = Crop(20, 30, 120, 200, flipped)
        official = GOLDEN["P4b_pixpro_coord"]["coord_after_hflip" if flipped else "coord"]
        found = coordinates(view([crop.box], torch.zeros(1, 49, 1)))
        assert found[0].tolist() == pytest.approx(official, abs=1e-7)
        assert references.pixpro_coordinates(crop, 500, 375) == pytest.approx(official, abs=1e-7)

    def test_loss_and_gradient_equal_the_logits_form(self) -> None:
        p, z = wave((5, 49, 8), 0.3).requires_grad_(), wave((5, 49, 8), 1.1)
        q, k = (view([pair[index].box for pair in CROPS], wave((5, 49, 4), 0), z, p) for index in (0, 1))
        masks = torch.stack([
            references.pixpro_mask(
                references.pixpro_coordinates(first, 500, 375), references.pixpro_coordinates(second, 500, 375), 7, 0.7
            )
            for first, second in CROPS
        ])  # fmt: skip
        found = PixelDistance()(q, k, cosine)
        assert torch.equal(found.weight.float(), masks)
        for similarity in (cosine, cross_entropy):
            branch = Branch(PixelDistance(), Recipe(encoder="resnet18", similarity=similarity), 4)
            ours = branch.distance(p, z, masks)
            logits = torch.bmm(*(rows if index == 0 else rows.mT for index, rows in enumerate(similarity(p, z))))
            expected = -((logits * masks).sum((1, 2)) / (masks.sum((1, 2)) + 1e-6)).mean()
            torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
            gradients = [torch.autograd.grad(loss, p)[0] for loss in (ours, expected)]
            torch.testing.assert_close(*gradients, atol=1e-6, rtol=0)


class TestWindows:
    @staticmethod
    def pairs(level: Any, query: Crop, key: Crop) -> tuple[list[Box], list[Box], list[bool]]:
        """Our windows in pixels of 224, and which of them count."""
        place = [torch.tensor([crop.box], dtype=torch.float64) for crop in (query, key)]
        found = Windows(level=level, lattice="first")(place[0], place[1], NOTHING)
        first, second = (boxes[0] * SIDE for boxes in (found.first, found.second))
        return first.tolist(), second.tolist(), found.valid[0].tolist()

    @pytest.mark.parametrize("name", P5)
    def test_p5_windows_are_the_official_ones(self, name: str) -> None:
        query, key = (crop_of(P5[name][f"{which}_crop_tlhw"]) for which in ("q", "k"))
        for level in ("c4", "c3"):
            first, second, valid = self.pairs(level, query, key)
            kept = [index for index, counts in enumerate(valid) if counts]
            assert len(first) == P5[name][f"{level}_n"]
            assert len(kept) == P5[name][f"{level}_valid"]
            assert kept == P5[name][f"{level}_valid_index"]
            if level == "c4":
                for index, official in zip(kept, P5[name]["c4_k_boxes_of_valid_first4"], strict=False):
                    assert second[index] == pytest.approx(official, abs=1e-9)
        first, _, valid = self.pairs("both", query, key)
        assert (len(first), sum(valid)) == (100, P5[name]["c4_valid"] + P5[name]["c3_valid"])

    @pytest.mark.parametrize(("query", "key"), [*CROPS, (Crop(0, 0, 224, 224), Crop(0, 0, 112, 112))])  # edges touch
    def test_p5_the_reference_agrees_under_any_flip(self, query: Crop, key: Crop) -> None:
        for level, side, stride in (("c4", 48, 32), ("c3", 32, 24)):
            first, second, valid = self.pairs(level, query, key)
            expected = references.resim_pairs(query, key, side, stride)
            assert valid == [there is not None for _, there in expected]
            for here, there, (window, carried) in zip(first, second, expected, strict=True):
                assert here == pytest.approx(window, abs=1e-9)
                assert carried is None or there == pytest.approx(carried, abs=1e-9)


class TestPrecisePooling:
    case = GOLDEN["P6_prroi"]
    boxes = torch.tensor(case["rois"])[None, :, 1:]

    def test_p6_rows_read_the_official_averages(self) -> None:
        rows = geometry.read_boxes(self.boxes / SIDE, (7, 7), offset=0.0, border=False)
        found = rows[0] @ wave((2, 49), 0.3).mT
        torch.testing.assert_close(found, torch.tensor(self.case["out"]), atol=1e-5, rtol=0)

    def test_p6_the_reference_agrees(self) -> None:
        boxes: list[list[float]] = [*self.boxes[0].tolist(), [40, 30, 40, 90], [-50, -10, 300, 260], [90, 80, 60, 200]]
        rows = geometry.read_boxes(torch.tensor([boxes]) / SIDE, (7, 7), offset=0.0, border=False)
        for (x0, y0, x1, y1), found in zip(boxes, rows[0], strict=True):
            expected = references.prroi_row((x0 / 32, y0 / 32, x1 / 32, y1 / 32), 7, 7)
            torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)

    def test_p7b_roi_align_rows_read_the_official_averages(self) -> None:
        case = GOLDEN["P7b_scrl_roi"]
        rows = roi_align_rows(torch.tensor(case["rois"])[None, :, 1:] / SIDE, (7, 7), offset=0.0)
        torch.testing.assert_close(rows[0] @ wave((2, 49), 0.3).mT, torch.tensor(case["out"]), atol=1e-6, rtol=0)


class Recorder:
    """numpy's legacy generator, which SCRL draws from, and every number it gave as the uniform number it stands for."""

    def __init__(self, seed: int) -> None:
        self.random, self.numbers = np.random.RandomState(seed), list[float]()

    def __call__(self, low: int, high: int) -> int:
        number = int(self.random.randint(low, high))
        self.numbers.append((number - low + 0.5) / (high - low))
        return number


class Script(CounterRNG):
    """A stream of given numbers [1, ...], for an image alone."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers.flatten()

    def __getitem__(self, images: Tensor) -> CounterRNG:
        return self

    def __call__(self, *shape: int) -> Tensor:
        count = torch.Size(shape).numel()
        drawn, self.numbers = self.numbers[:count], self.numbers[count:]
        return drawn.view(1, *shape)


class TestScrlBoxes:
    def reference(self, first: Crop, second: Crop, seed: int) -> tuple[list[tuple[Box, Box]], Tensor]:
        """The oracle's boxes, and the numbers it drew as Scrl asks for them, [1, 50, 10, 4, 2]."""
        numbers, tries = Recorder(seed), list[int]()
        boxes: list[tuple[Box, Box]] = []
        layout = torch.zeros(1, 50, 10, 4, 2, dtype=torch.float64)
        for count in range(1, 11):  # the numbers that box `count` took are those that one box fewer did not take
            numbers, before = Recorder(seed), sum(tries)
            boxes = references.scrl_boxes(first, second, numbers, count=count)
            tries.append(len(numbers.numbers) // 8 - before)
            taken = torch.tensor(numbers.numbers[8 * before :], dtype=torch.float64)
            layout[0, : tries[-1], count - 1] = taken.view(-1, 4, 2)
        return boxes, layout

    def ours(self, first: Crop, second: Crop, layout: Tensor) -> list[tuple[Box, Box]]:
        places = [torch.tensor([crop.box], dtype=torch.float64) for crop in (first, second)]
        found: Pairs = Scrl()(places[0], places[1], Script(layout))
        rows = [(boxes[0] * SIDE).tolist() for boxes in (found.first, found.second)]
        return [pair for pair, counts in zip(zip(*rows, strict=True), found.valid[0].tolist(), strict=True) if counts]

    @pytest.mark.parametrize("name", P7)
    def test_p7_boxes_are_the_official_ones(self, name: str) -> None:
        case = P7[name]
        first, second = (crop_of(numbers[:4], numbers[4]) for numbers in (case["t1"], case["t2"]))
        expected, layout = self.reference(first, second, 0)
        found = self.ours(first, second, layout)
        for boxes in (expected, found):
            assert len(boxes) == case["n"]
            for box, one, other in zip(boxes, case["box1_first3"], case["box2_first3"], strict=False):
                assert box[0] == pytest.approx(one[1:], abs=1e-5)
                assert box[1] == pytest.approx(other[1:], abs=1e-5)

    @pytest.mark.parametrize("seed", range(20))
    def test_p7_the_reference_agrees_on_any_crops(self, seed: int) -> None:
        random = np.random.RandomState(1000 + seed)
        low, high = [0, 0, 60, 60], [60, 90, 300, 300]
        first, second = (crop_of(random.randint(low, high).tolist(), random.randint(2)) for _ in range(2))
        expected, layout = self.reference(first, second, seed)
        found = self.ours(first, second, layout)
        assert np.array(found).shape == np.array(expected).shape
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)

    def test_p7c_the_cosine_distance_is_the_official_one(self) -> None:
        found = 2 + 2 * distance(cosine, wave((5, 8), 0.1)[None], wave((5, 8), 2.0)[None])
        torch.testing.assert_close(found[0], torch.tensor(GOLDEN["P7c_scrl_loss"]["per_row"]), atol=1e-6, rtol=0)


class TestSampling:
    @staticmethod
    def scripted() -> Callable[..., Tensor]:
        """The official case's first and second call of rand, which were computed in float32."""
        starts = iter([(0.6180339887, 0.123), (0.7548776662, 0.456)])

        def draw(*shape: int) -> Tensor:
            step, start = next(starts)
            return ((torch.arange(torch.Size(shape).numel()).float() * step + start) % 1).view(1, *shape)

        return draw

    @staticmethod
    def uncertainty(points: Tensor) -> Tensor:
        return -(geometry.read_at(points, (7, 7), border=False) @ wave((49, 1), 0.2)).abs()[..., 0]

    @pytest.mark.parametrize("name", P8C)
    def test_p8c_points_are_the_official_ones_in_their_order(self, name: str) -> None:
        k, beta = (float(part.lstrip("kbeta")) for part in name.split("_"))
        found = Biased(points=9, k=k, beta=beta)(torch.zeros(1, 4), self.scripted(), self.uncertainty)
        torch.testing.assert_close(found[0], torch.tensor(P8C[name]["coords"]), atol=1e-6, rtol=0)
        draw = self.scripted()
        expected = references.pointrend_points(
            9, k, beta,
            lambda count: [(point[0], point[1]) for point in draw(count, 2)[0].tolist()],
            lambda u, v: self.uncertainty(torch.tensor([[[u, v]]])).item(),
        )  # fmt: skip
        torch.testing.assert_close(found[0], torch.tensor(expected), atol=1e-6, rtol=0)
        assert int(beta * 9) == P8C[name]["n_uncertain"]


def test_location_s_loss_and_gradient_equal_the_loop_s() -> None:
    p, z = ([wave((5, 8, 7, 7), phase + step).requires_grad_() for step in (0, 1)] for phase in (0.3, 2.1))
    flat = [[cells.flatten(2).mT for cells in pair] for pair in (p, z)]
    first, second = (
        view([pair[index].box for pair in CROPS], wave((5, 49, 4), 0), flat[1][index], flat[0][index])
        for index in (0, 1)
    )
    found = Location()(first, second, cross_entropy)
    query, key = found.query.float(), found.key.float()
    branch = Branch(Location(), Recipe(encoder="resnet18"), 4)
    weight = found.weight.float()
    ours = branch.distance(query @ first.p, key @ second.z, weight)
    ours = (ours + branch.distance(key @ second.p, query @ first.z, weight.mT)) / 2
    expected = references.location_loss(CROPS, (p[0], p[1]), (z[0], z[1]))
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
    gradients = [torch.autograd.grad(loss, p) for loss in (ours, expected)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=0)


class TestRegions:
    def branch(self) -> RegionBranch:
        """The released branch with the case's weights; our last projector bias, which does nothing, is left out."""
        branch = RegionBranch(Region(heads=Heads(8, 8, 8)), Recipe(encoder="resnet18"), 8)
        weights: list[nn.Parameter] = [weight for weight in branch.parameters() if weight.requires_grad]
        with torch.no_grad():
            for index, weight in enumerate(weights):
                weight.copy_(wave(tuple(weight.shape), 0.3 * index) + (weight.ndim == 1))
        return branch

    @staticmethod
    def inputs() -> tuple[list[Tensor], list[Tensor]]:
        """Features [2, 16, 8] and projections [2, 16, 6] of two views."""
        features = [wave((2, 8, 4, 4), phase).flatten(2).mT.requires_grad_() for phase in (0.2, 1.2)]
        z = [wave((2, 6, 4, 4), phase).flatten(2).mT.requires_grad_() for phase in (0.8, 2.8)]
        return features, z

    @staticmethod
    def loss(branch: RegionBranch, features: list[Tensor], z: list[Tensor]) -> Tensor:
        """The loss where every cell is a site that agrees with its like."""
        rows = torch.eye(16).expand(2, -1, -1)
        first, second = (view([(0, 0, 9, 9)] * 2, *pair) for pair in zip(features, z, strict=True))
        value: Tensor = branch(Loss(torch.zeros(()), z[0], (first, second), Correspondence(rows, rows, rows)))
        return value

    def test_p9b_loss_is_the_official_one(self) -> None:
        loss = 0.1 * self.loss(self.branch(), *self.inputs())
        assert abs(loss.item() - GOLDEN["P9b_region"]["weighted_loss"]) < 1e-5

    def test_p9b_loss_and_gradients_equal_the_reference_s(self) -> None:
        features, z = self.inputs()
        losses, gradients = [], []
        for ours in (True, False):
            branch = self.branch()
            head = branch.head
            maps = [[cells.mT for cells in pair] for pair in (features, z)]
            loss = self.loss(branch, features, z) if ours else references.region_loss(
                (maps[0][0], maps[0][1]), (maps[1][0], maps[1][1]), head.projector, head.predictor
            )  # fmt: skip
            weights = [weight for weight in branch.parameters() if weight.requires_grad]
            losses.append(0.1 * loss)
            gradients.append(torch.autograd.grad(losses[-1], [*features, *z, *weights]))
        assert abs(losses[1].item() - GOLDEN["P9b_region"]["weighted_loss"]) < 1e-5
        torch.testing.assert_close(*losses, atol=1e-5, rtol=0)
        torch.testing.assert_close(*gradients, atol=1e-5, rtol=0)

    def test_p12_the_weight_follows_the_official_schedule(self) -> None:
        official = GOLDEN["P12_region_weight_by_epoch"]["values"]
        assert {epoch: Region(start_epoch=8).weight_at(int(epoch)) for epoch in official} == official
