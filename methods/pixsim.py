"""PixSim, the only model: one encoder and a strategy's head, trained by −⟨W, S(Q p, K stopgrad(z))⟩ (METHODS 2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

from methods.contract import checked
from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.encoder import build_encoder, channels
from methods.heads import Head, Sites, at_least_single
from methods.recipe import Recipe
from methods.strategies import added_by
from methods.views import View


class Loss(NamedTuple):
    """The loss of a step and what it was computed from."""

    value: Tensor  # scalar, to be minimised
    z: Tensor  # [B, N, C] the first view's projections at its sites, detached, for the gauges
    views: tuple[FeatureMap, FeatureMap]  # as the strategy saw them
    forth: Correspondence  # from the first view to the second


class Branch(nn.Module):
    """A strategy with its head: two views' cells → loss."""

    def __init__(self, strategy: Strategy, recipe: Recipe, inputs: int) -> None:
        """Build the head for cells of `inputs` channels."""
        super().__init__()
        self.strategy = strategy
        self.checked = False  # whether the strategy has kept its contract once
        self.similarity = strategy.similarity or recipe.similarity
        self.head = Head(inputs, strategy.heads or recipe.heads)

    def forward(self, first: FeatureMap, second: FeatureMap) -> Loss:
        """Return the mean loss of both directions; a directed strategy is called for each (METHODS 0.5)."""
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
        """Return the strategy's correspondence, computed in fp32; Misfit if the first does not keep the contract."""
        with torch.autocast(query.cells.device.type, enabled=False):
            links = (self.strategy if self.checked else checked(self.strategy))(query, key, self.similarity)
        self.checked = True
        return links

    def embed_cells(self, view: FeatureMap) -> FeatureMap:
        """Return the view with z and p of every cell."""
        sites = self.head(view.cells)
        return view._replace(z=sites.z, p=sites.p)

    def read(self, view: FeatureMap, rows: Tensor) -> Sites:
        """Return z and p at sites [B, N, H·W] of a view: read embedded cells, or pool and then embed."""
        with torch.autocast(rows.device.type, enabled=False):
            if not self.strategy.pools_first:
                return Sites(rows @ view.z, rows @ view.p)
            pooled = rows @ view.cells
        sites: Sites = self.head(pooled)
        return sites

    def distance(self, p: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        """Return −⟨W, S(p, stopgrad(z))⟩ as the strategy averages it; zero, with zero gradient, where W is zero."""
        with torch.autocast(p.device.type, enabled=False):
            predicted, target = self.similarity(p, z.detach())
            total = -(predicted * (weight @ target)).sum((1, 2))
            numerator, count = self.strategy.average(total, weight.sum((1, 2)))
            return numerator / per_rank_count(count)


def mirror(forth: Correspondence) -> Correspondence:
    """Return the same pairs seen from the other view."""
    return Correspondence(forth.key, forth.query, forth.weight.mT)


def per_rank_count(count: Tensor) -> Tensor:
    """Return the global count (at least 1) over the world size, so that DDP's mean equals the global batch's mean."""
    ranks = distributed.get_world_size() if distributed.is_initialized() else 1
    return all_reduce_sum(count).clamp(min=1) / ranks


def all_reduce_sum(count: Tensor) -> Tensor:
    """Return the sum of a count over all ranks."""
    if not distributed.is_initialized():
        return count
    total = count.detach().clone()
    distributed.all_reduce(total)
    return total


class PixSim(nn.Module):
    """One encoder, a branch for the strategy's loss and one for each loss that is added to it."""

    def __init__(self, strategy: Strategy, recipe: Recipe) -> None:
        """Draw the initial weights from torch's generator: the encoder's first, the same for every strategy."""
        super().__init__()
        self.encoder = build_encoder(recipe.encoder, recipe.zero_init, recipe.width)
        inputs = channels(self.encoder)
        self.branch = Branch(strategy, recipe, inputs)
        own, others = strategy.branches(recipe, inputs), added_by(recipe)
        self.strategy_branches = nn.ModuleList(module for module, _ in own)
        self.strategy_weights = [weight for _, weight in own]
        self.recipe_branches = nn.ModuleList(Branch(added, recipe, inputs) for added, _ in others)
        self.recipe_weights = [weight for _, weight in others]

    def forward(self, first: View, second: View, epoch: int = 0) -> Loss:
        """Return the weighted sum of all branches' losses (METHODS 2.7).

        The views go through the encoder apart, so that BatchNorm sees one view at a time, as in SimSiam.
        """
        a, b = self.look(first), self.look(second)
        loss: Loss = self.branch(a, b)
        value = loss.value
        for branch, weight_at in zip(self.strategy_branches, self.strategy_weights, strict=True):
            value = value + weight_at(epoch) * branch(loss)
        for branch, weight in zip(self.recipe_branches, self.recipe_weights, strict=True):
            value = value + weight * branch(a, b).value
        return loss._replace(value=value)

    def look(self, view: View) -> FeatureMap:
        """Encode a view; nothing is embedded yet."""
        features = self.encoder(view.image)
        cells = at_least_single(features.flatten(2).mT)
        nothing, shape = cells[..., :0], (features.shape[2], features.shape[3])
        return FeatureMap(cells, view.box, view.frame, view.seed, shape, z=nothing, p=nothing)
