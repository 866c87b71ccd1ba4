"""The contract of every strategy in methods/strategies, and what single ones promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from benchmarks.resuming.training import Training
from harness import ROOT, plugins
from harness.engine.pretrain import build_optimizer, train_step
from harness.experiment import Pretraining, parse
from methods import geometry
from methods.correspondence import Strategy
from methods.pixsim import Loss, PixSim
from methods.properties import APART, BATCH, BOXES, OTHERS, PROPERTIES, RECIPE, maps, views
from methods.recipe import Recipe, Region
from methods.similarity import cosine, cross_entropy
from methods.strategies.candidate_regions import CandidateRegions
from methods.strategies.feature_similarity import FeatureSimilarity
from methods.strategies.location import Location
from methods.strategies.location_region import LocationRegion
from methods.strategies.simsiam import SimSiam

if TYPE_CHECKING:
    from methods.correspondence import Weighted

every_strategy = pytest.mark.parametrize("strategy", [plugins.strategy(name)() for name in plugins.strategy_files()])


def model(strategy: Any, **changes: Any) -> PixSim:
    torch.manual_seed(0)
    return PixSim(strategy, Recipe(**{**RECIPE.__dict__, **changes}))


@every_strategy
@pytest.mark.parametrize("sentence", PROPERTIES)
def test_every_strategy_keeps_the_contract(strategy: Strategy, sentence: str) -> None:
    PROPERTIES[sentence](strategy)


@every_strategy
def test_disjoint_views_give_a_finite_loss(strategy: Strategy) -> None:
    first, second = views()
    network = model(strategy)
    loss = network(first, second._replace(box=APART))
    loss.value.backward()
    assert torch.isfinite(loss.value)
    if not isinstance(strategy, (SimSiam, FeatureSimilarity)):  # which look at no place
        assert loss.value == 0
        assert not loss.forth.weight.any()
        assert all((weight.grad == 0).all() for weight in network.parameters() if weight.grad is not None)


def test_location_reads_the_same_source_position_in_both_views() -> None:
    """Planted coordinates: every cell's feature is its own place in the source, whatever the crop and flip."""
    query, key = maps(BOXES, 0, (14, 14)), maps(OTHERS, 5, (14, 14))
    line = (torch.arange(14) + 0.5) / 14
    y, x = torch.meshgrid(line, line, indexing="ij")
    centres = torch.stack([x, y], -1).reshape(1, -1, 2).expand(BATCH, -1, -1)
    found = Location()(query, key, cross_entropy)
    here = found.query @ geometry.to_source(centres, query.box)
    there = found.key @ geometry.to_source(centres, key.box)
    matched = found.weight.sum((1, 2)) > 0
    assert matched.tolist() == [True, True, False, True]
    cell = torch.maximum(query.box[:, 2:] - query.box[:, :2], key.box[:, 2:] - key.box[:, :2]).abs() / 14
    # a point within half a cell of the edge is read at the outermost centre: that far, and no farther, may they differ
    assert ((here - there).abs() <= cell[:, None] + 1e-3)[matched].all()
    inside = ((geometry.to_unit(there, query.box) - 0.5).abs() < 0.45).all(-1)
    inside &= ((geometry.to_unit(here, key.box) - 0.5).abs() < 0.45).all(-1)
    assert inside[matched].sum() > 20
    torch.testing.assert_close(here[inside & matched[:, None]], there[inside & matched[:, None]], atol=1e-3, rtol=0)


def test_flipping_a_view_with_its_box_mirrors_the_rows() -> None:
    query, key = maps(BOXES, 0, (7, 7)), maps(OTHERS, 5, (7, 7))
    flipped = key._replace(box=key.box[:, [2, 1, 0, 3]])
    rows = Location()(query, key, cross_entropy).key.unflatten(-1, (7, 7))
    mirrored = Location()(query, flipped, cross_entropy).key.unflatten(-1, (7, 7))
    torch.testing.assert_close(rows.flip(-1), mirrored, atol=1e-5, rtol=0)


def test_location_s_loss_is_the_mean_over_overlapping_images() -> None:
    """Against a loop over images and points, written from METHODS 6 and 2.4."""
    branch, query, key = model(Location()).branch, maps(BOXES, 0, (7, 7)), maps(OTHERS, 5, (7, 7))
    found = Location()(query, key, cross_entropy)
    losses = []
    for n in (0, 1, 3):
        distances = []
        for q, k in zip(found.query[n], found.key[n], strict=True):
            p, z = q @ query.p[n], k @ key.z[n]
            distances.append(-(z.softmax(0) * p.log_softmax(0)).sum())
        losses.append(torch.stack(distances).mean())
    expected = torch.stack(losses).mean()
    found_loss = branch.distance(found.query @ query.p, found.key @ key.z, found.weight)
    torch.testing.assert_close(found_loss, expected, atol=1e-6, rtol=0)


def test_min_overlap_leaves_slivers_out() -> None:
    query, key = maps(BOXES, 0), maps(OTHERS, 5)
    assert Location(min_overlap=60)(query, key, cross_entropy).weight.sum((1, 2)).gt(0).tolist() == [
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "line",
    [
        "location --set strategy.sampler=uniform",
        "location --set strategy.sampler=biased --set strategy.sampler.k=10 --set strategy.sampler.beta=1.0",
        "location --set strategy.sampler.corners=true --set strategy.border=false --set strategy.min_overlap=9",
        "feature_similarity --set strategy.match_on=projection",
        "feature_similarity --set strategy.scope=intersection",
        "pixel_distance --set strategy.no_positive=exclude --set strategy.radius=0.3",
        "candidate_regions --set strategy.boxes=scrl",
        "candidate_regions --set strategy.boxes.level=both --set strategy.pool=roialign",
        "candidate_regions --set strategy.boxes.lattice=first --set strategy.roi_offset=0 --set strategy.border=false",
        "candidate_regions --set strategy.boxes=scrl --set strategy.pool_stage=before_heads --set precision=bf16",
        "location_region --set strategy.region.negatives=false --set strategy.region.stop_grad=true",
        "location_region --set strategy.region.mask_norm=true --set strategy.region.mask_detach=true",
        "location_region --set strategy.region.heads.hidden=none --set strategy.region.heads.out=32",
        "shuffled --set similarity=cosine --set global_weight=0.5",
    ],
)
def test_every_setting_trains(line: str) -> None:
    trained = parse(["--strategy", *line.split(), "--set", "heads.out=8"]).backbone
    assert isinstance(trained, Pretraining)
    torch.manual_seed(0)
    network = PixSim(trained.strategy, trained.recipe)
    training = Training(network, build_optimizer(network, trained.recipe))
    train_step(training, trained.recipe, 0, views())
    gradients = {name: weight.grad for name, weight in network.named_parameters() if weight.requires_grad}
    assert all(torch.isfinite(grad).all() for grad in gradients.values() if grad is not None)
    assert not [name for name, grad in gradients.items() if grad is None or not grad.any()]


def test_a_later_start_of_the_regions_leaves_their_loss_out() -> None:
    first, second = views()
    network = model(LocationRegion(region=Region(start_epoch=2)))
    with torch.no_grad():
        early, late = (network(first, second, epoch).value for epoch in (1, 2))
        torch.testing.assert_close(early, network.branch(network.look(first), network.look(second)).value)
    assert late > early


def test_a_global_branch_adds_its_weighted_loss() -> None:
    first, second = views()
    plain, both = model(Location())(first, second).value, model(Location(), global_weight=0.5)(first, second).value
    assert plain != both


@dataclass(frozen=True)
class Weighed(Location):
    """Location with a loss of its own beside it: a constant, from the second epoch on."""

    def branches(self, recipe: Recipe, inputs: int) -> Sequence[Weighted]:
        return [(Constant(), lambda epoch: 2.0 * epoch)]


class Constant(torch.nn.Module):
    """A loss that is 3, whatever the step."""

    def forward(self, loss: Loss) -> Tensor:
        return loss.value.new_tensor(3.0)


def test_a_strategy_adds_losses_of_its_own_with_the_weight_of_the_epoch() -> None:
    first, second = views()
    plain, weighed = model(Location()), model(Weighed())
    for epoch in (0, 1, 5):
        found, expected = (network(first, second, epoch).value for network in (weighed, plain))
        torch.testing.assert_close(found, expected + 6.0 * epoch)


@pytest.mark.parametrize("kind", [CandidateRegions, SimSiam])
def test_the_outlines_are_what_the_sites_average(kind: type[Strategy]) -> None:
    strategy = kind()
    query, key = maps(BOXES, 0, (7, 7)), maps(OTHERS, 5, (7, 7))
    found, boxes = strategy(query, key, cosine), strategy.outlines(query, key)
    assert boxes is not None
    for rows, outlines, view in ((found.query, boxes.first, query), (found.key, boxes.second, key)):
        centres = geometry.centres(view.shape, view.box).expand(len(rows), -1, -1)
        middle = (outlines[..., :2] + outlines[..., 2:]) / 2
        inner = boxes.valid & ((middle - 0.5).abs() < 0.15).all(-1)
        assert inner.any()
        torch.testing.assert_close((rows @ centres)[inner], middle[inner], atol=0.02, rtol=0)


def test_pix_sim_knows_no_strategy_by_name() -> None:
    source = (ROOT / "methods" / "pixsim.py").read_text(encoding="utf-8")
    assert not [name for name in plugins.strategy_files() if f"strategies.{name}" in source]
