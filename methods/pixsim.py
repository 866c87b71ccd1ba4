"""PixSim, the only model: one encoder and a strategy's heads and the loss −⟨W, S(Q p, K stopgrad(z))⟩ (METHODS 2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.encoder import encoder, width
from methods.recipe import Heads, Recipe
from methods.strategies.simsiam import SimSiam
from methods.views import View


class Loss(NamedTuple):
    """What a step gives."""

    value: Tensor  # scalar, to be minimised
    z: Tensor  # [B, N, C] the first view's projections, detached, for the gauges


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


class Branch(nn.Module):
    """A strategy with its heads: two views' cells → loss."""

    def __init__(self, strategy: Strategy, recipe: Recipe, inputs: int) -> None:
        """Build the heads for cells of `inputs` channels."""
        super().__init__()
        heads = strategy.heads or recipe.heads
        self.strategy = strategy
        self.similarity = type(strategy).similarity or recipe.similarity
        self.projector, self.predictor = projector(inputs, heads), predictor(heads)

    def forward(self, first: FeatureMap, second: FeatureMap) -> Loss:
        """Half the loss of each direction; a directed strategy is asked again for the way back (METHODS 0.5)."""
        if not self.strategy.pools_first:
            first, second = self.embed_cells(first), self.embed_cells(second)
        with torch.autocast(first.cells.device.type, enabled=False):
            forth = self.strategy(first, second)
            back = self.strategy(second, first) if self.strategy.directed else mirror(forth)
        a, b = self.read(first, forth.query), self.read(second, forth.key)
        loss = self.distance(a.p, b.z, forth.weight)
        if self.strategy.directed:
            a, b = self.read(first, back.key), self.read(second, back.query)
        return Loss((loss + self.distance(b.p, a.z, back.weight)) / 2, a.z.detach())

    def embed_cells(self, view: FeatureMap) -> FeatureMap:
        """Embed every cell of a view."""
        sites = self.embed(view.cells)
        return view._replace(z=sites.z, p=sites.p)

    def embed(self, cells: Tensor) -> Sites:
        """[B, N, D] → z and p [B, N, C]; BatchNorm takes its statistics over B·N."""
        z = self.projector(cells.flatten(0, 1))
        return Sites(*(rows.unflatten(0, cells.shape[:2]).float() for rows in (z, self.predictor(z))))

    def read(self, view: FeatureMap, rows: Tensor) -> Sites:
        """Read sites [B, N, H·W] of a view: pool then embed, or of the embedded cells."""
        with torch.autocast(rows.device.type, enabled=False):
            if not self.strategy.pools_first:
                return Sites(rows @ view.z, rows @ view.p)
            pooled = rows @ view.cells
        return self.embed(pooled)

    def distance(self, p: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        """−⟨W, S(p, stopgrad(z))⟩ as the strategy averages it; zero, with zero gradient, where nothing is linked."""
        with torch.autocast(p.device.type, enabled=False):
            predicted, target = self.similarity(p, z.detach())
            total = -(predicted * (weight @ target)).sum((1, 2))
            numerator, count = type(self.strategy).average(total, weight.sum((1, 2)))
            return numerator / count.clamp(min=1)


def mirror(forth: Correspondence) -> Correspondence:
    """The same pairs seen from the other view."""
    return Correspondence(forth.key, forth.query, forth.weight.mT)


class PixSim(nn.Module):
    """One encoder, one branch for the strategy and, where global_weight is set, one for SimSiam (METHODS 2.6, 2.7)."""

    def __init__(self, strategy: Strategy, recipe: Recipe) -> None:
        """Draw the initial weights from torch's generator: the encoder's first, the same for every strategy."""
        super().__init__()
        self.encoder = encoder(recipe.depth, recipe.zero_init)
        inputs = width(self.encoder)
        self.branch = Branch(strategy, recipe, inputs)
        self.global_branch = Branch(SimSiam(), recipe, inputs) if recipe.global_weight else None
        self.global_weight = recipe.global_weight

    def forward(self, first: View, second: View) -> Loss:
        """The views go through the encoder apart, so that BatchNorm sees one view at a time, as in SimSiam."""
        a, b = self.look(first), self.look(second)
        loss: Loss = self.branch(a, b)
        if self.global_branch is not None:
            value = loss.value + self.global_weight * self.global_branch(a, b).value
            loss = Loss(value, loss.z)
        return loss

    def look(self, view: View) -> FeatureMap:
        """Encode a view; nothing is embedded yet."""
        features = self.encoder(view.image)
        cells = features.flatten(2).mT.float()
        nothing = cells[..., :0]
        return FeatureMap(cells, view.box, (features.shape[2], features.shape[3]), z=nothing, p=nothing)
