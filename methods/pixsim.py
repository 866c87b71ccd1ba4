"""PixSim, the only model: one encoder and a strategy's heads and the loss −⟨W, S(Q p, K stopgrad(z))⟩ (METHODS 2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.encoder import build_encoder, width
from methods.recipe import Heads, Recipe, Region
from methods.similarity import cosine
from methods.strategies.simsiam import SimSiam
from methods.views import View


class Loss(NamedTuple):
    """What a step gives."""

    value: Tensor  # scalar, to be minimised
    z: Tensor  # [B, N, C] the first view's projections at its sites, detached, for the gauges
    views: tuple[FeatureMap, FeatureMap]  # as the strategy saw them
    forth: Correspondence  # what it linked


class Sites(NamedTuple):
    """The two embeddings of one view at its sites."""

    z: Tensor  # [B, N, C]
    p: Tensor  # [B, N, C]


def projector(inputs: int, heads: Heads) -> nn.Sequential:
    """g: [B, D] → [B, C]; the last of three BatchNorms has no affine part and removes the last bias, which is frozen.

    A Linear layer on rows of cells is the 1 × 1 convolution of METHODS 2.2.
    """
    hidden = heads.hidden or inputs
    last = nn.Linear(hidden, heads.out)
    assert last.bias is not None
    last.bias.requires_grad = False
    return nn.Sequential(
        nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
        nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
        last, nn.BatchNorm1d(heads.out, affine=False),
    )  # fmt: skip


def predictor(heads: Heads) -> nn.Sequential:
    """h: [B, C] → [B, C]; two layers, no BatchNorm at its output (METHODS 1.1, 2.3)."""
    return nn.Sequential(
        nn.Linear(heads.out, heads.predictor, bias=False), nn.BatchNorm1d(heads.predictor), nn.ReLU(inplace=True),
        nn.Linear(heads.predictor, heads.out),
    )  # fmt: skip


class Head(nn.Module):
    """Projector and predictor of one loss."""

    def __init__(self, inputs: int, heads: Heads) -> None:
        """Build both for rows of `inputs` channels."""
        super().__init__()
        self.projector, self.predictor = projector(inputs, heads), predictor(heads)

    def forward(self, cells: Tensor) -> Sites:
        """[B, N, D] → z and p [B, N, C]; BatchNorm takes its statistics over B·N."""
        z = self.projector(cells.flatten(0, 1))
        return Sites(*(rows.unflatten(0, cells.shape[:2]).float() for rows in (z, self.predictor(z))))


class Branch(nn.Module):
    """A strategy with its head: two views' cells → loss."""

    def __init__(self, strategy: Strategy, recipe: Recipe, inputs: int) -> None:
        """Build the head for cells of `inputs` channels."""
        super().__init__()
        self.strategy = strategy
        self.similarity = strategy.similarity or recipe.similarity
        self.head = Head(inputs, strategy.heads or recipe.heads)

    def forward(self, first: FeatureMap, second: FeatureMap) -> Loss:
        """Half the loss of each direction; a directed strategy is asked again for the way back (METHODS 0.5)."""
        if not self.strategy.pools_first:
            first, second = self.embed_cells(first), self.embed_cells(second)
        forth = self.link(first, second)
        back = self.link(second, first) if self.strategy.directed else mirror(forth)
        a, b = self.read(first, forth.query), self.read(second, forth.key)
        z, loss = a.z, self.distance(a.p, b.z, forth.weight)
        if self.strategy.directed:
            a, b = self.read(first, back.key), self.read(second, back.query)
        return Loss((loss + self.distance(b.p, a.z, back.weight)) / 2, z.detach(), (first, second), forth)

    @torch.no_grad()
    def link(self, query: FeatureMap, key: FeatureMap) -> Correspondence:
        """The strategy's answer, in fp32."""
        with torch.autocast(query.cells.device.type, enabled=False):
            return self.strategy(query, key, self.similarity)

    def embed_cells(self, view: FeatureMap) -> FeatureMap:
        """Embed every cell of a view."""
        sites = self.head(view.cells)
        return view._replace(z=sites.z, p=sites.p)

    def read(self, view: FeatureMap, rows: Tensor) -> Sites:
        """Read sites [B, N, H·W] of a view: pool then embed, or of the embedded cells."""
        with torch.autocast(rows.device.type, enabled=False):
            if not self.strategy.pools_first:
                return Sites(rows @ view.z, rows @ view.p)
            pooled = rows @ view.cells
        sites: Sites = self.head(pooled)
        return sites

    def distance(self, p: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        """−⟨W, S(p, stopgrad(z))⟩ as the strategy averages it; zero, with zero gradient, where nothing is linked."""
        with torch.autocast(p.device.type, enabled=False):
            predicted, target = self.similarity(p, z.detach())
            total = -(predicted * (weight @ target)).sum((1, 2))
            numerator, count = self.strategy.average(total, weight.sum((1, 2)))
            return numerator / a_rank(count)


def mirror(forth: Correspondence) -> Correspondence:
    """The same pairs seen from the other view."""
    return Correspondence(forth.key, forth.query, forth.weight.mT)


def a_rank(count: Tensor) -> Tensor:
    """The mean count of a rank, at least one in all: the ranks' mean loss is then that of the joined batch."""
    ranks = distributed.get_world_size() if distributed.is_initialized() else 1
    return in_all(count).clamp(min=1) / ranks


def in_all(count: Tensor) -> Tensor:
    """The count of all ranks together."""
    if not distributed.is_initialized():
        return count
    total = count.detach().clone()
    distributed.all_reduce(total)
    return total


class RegionBranch(nn.Module):
    """Soft regions, marked by the channels of z: the sites' features are summed by masks and then embedded."""

    def __init__(self, region: Region, recipe: Recipe, inputs: int) -> None:
        """Build the head for features of `inputs` channels; there are as many regions as channels of z."""
        super().__init__()
        self.region, self.head = region, Head(inputs, region.heads or recipe.heads)

    def forward(self, loss: Loss) -> Tensor:
        """The loss on the regions at the sites of a step's pairs, images without a pair left out (METHODS 7)."""
        rows, (first, second) = loss.forth, loss.views
        kept = rows.weight.sum((1, 2)) > 0
        with torch.autocast(kept.device.type, enabled=False):
            one, other = self.pool(first, rows.query, kept), self.pool(second, rows.key, kept)
        count = in_all(kept.sum())
        if not count:  # BatchNorm takes no empty batch, save over ranks; every weight still has a gradient, zero
            return (one.sum() + sum(weight.sum() for weight in self.parameters())) * 0.0
        a, b = self.head(one), self.head(other)
        with torch.autocast(kept.device.type, enabled=False):
            total = (self.contrast(a.p, b.z) + self.contrast(b.p, a.z)) / 2
            return total.sum() / a_rank(kept.sum())

    def pool(self, view: FeatureMap, rows: Tensor, kept: Tensor) -> Tensor:
        """The features [kept, C, D] that the masks softmax(z) [B, N, C] gather of the sites [B, N, H·W]."""
        rows = rows[kept]
        masks = (rows @ (view.z.detach() if self.region.mask_detach else view.z)[kept]).softmax(dim=-1)
        if self.region.mask_norm:
            masks = masks / masks.sum(dim=1, keepdim=True)
        return masks.mT @ (rows @ view.cells[kept])

    def contrast(self, p: Tensor, z: Tensor) -> Tensor:
        """Distance [B] between a view's region predictions p and the other's projections z [B, R, C], mean over R."""
        predicted, target = cosine(p, z.detach() if self.region.stop_grad else z)
        if not self.region.negatives:
            return -(predicted * target).sum(-1).mean(-1)
        alike = predicted @ target.mT / self.region.tau
        return -alike.log_softmax(dim=-1).diagonal(dim1=1, dim2=2).mean(-1)


class PixSim(nn.Module):
    """One encoder, a branch for the strategy and, where they are set, one for its regions and one for SimSiam."""

    def __init__(self, strategy: Strategy, recipe: Recipe) -> None:
        """Draw the initial weights from torch's generator: the encoder's first, the same for every strategy."""
        super().__init__()
        self.encoder = build_encoder(recipe.encoder, recipe.zero_init)
        inputs = width(self.encoder)
        self.branch = Branch(strategy, recipe, inputs)
        self.region_branch = RegionBranch(strategy.region, recipe, inputs) if strategy.region else None
        self.global_branch = Branch(SimSiam(), recipe, inputs) if recipe.global_weight else None
        self.global_weight = recipe.global_weight

    def forward(self, first: View, second: View, epoch: int = 0) -> Loss:
        """The weighted losses of all branches (METHODS 2.7).

        The views go through the encoder apart, so that BatchNorm sees one view at a time, as in SimSiam.
        """
        a, b = self.look(first), self.look(second)
        loss: Loss = self.branch(a, b)
        value = loss.value
        if self.region_branch is not None:
            value = value + self.region_branch.region.weight_at(epoch) * self.region_branch(loss)
        if self.global_branch is not None:
            value = value + self.global_weight * self.global_branch(a, b).value
        return loss._replace(value=value)

    def look(self, view: View) -> FeatureMap:
        """Encode a view; nothing is embedded yet."""
        features = self.encoder(view.image)
        cells = features.flatten(2).mT.float()
        nothing, shape = cells[..., :0], (features.shape[2], features.shape[3])
        return FeatureMap(cells, view.box, view.frame, view.seed, shape, z=nothing, p=nothing)
