"""DenseSiam's RegionSim, the loss on soft regions beside a strategy's own loss (METHODS 7)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.correspondence import FeatureMap
from methods.heads import Head
from methods.pixsim import Loss, all_reduce_sum, per_rank_count
from methods.recipe import Recipe, Region
from methods.similarity import cosine


class RegionBranch(nn.Module):
    """Soft regions, marked by the channels of z: masks sum the features of the sites, and the sums are embedded."""

    def __init__(self, region: Region, recipe: Recipe, inputs: int) -> None:
        """Build the head for features of `inputs` channels; there are as many regions as channels of z."""
        super().__init__()
        self.region, self.head = region, Head(inputs, region.heads or recipe.heads)

    def forward(self, loss: Loss) -> Tensor:
        """Return the loss on the regions at the sites of a step's pairs, images without a pair left out."""
        rows, (first, second) = loss.forth, loss.views
        kept = rows.weight.sum((1, 2)) > 0
        with torch.autocast(kept.device.type, enabled=False):
            sums, partners = self.pool(first, rows.query, kept), self.pool(second, rows.key, kept)
        if not all_reduce_sum(kept.sum()):  # BatchNorm takes no empty batch; every weight still has a gradient, zero
            return (sums.sum() + sum(weight.sum() for weight in self.parameters())) * 0.0
        a, b = self.head(sums), self.head(partners)
        with torch.autocast(kept.device.type, enabled=False):
            total = (self.contrast(a.p, b.z) + self.contrast(b.p, a.z)) / 2
            return total.sum() / per_rank_count(kept.sum())

    def pool(self, view: FeatureMap, rows: Tensor, kept: Tensor) -> Tensor:
        """Return the features [kept, C, D] that the masks softmax(z) [B, N, C] sum over the sites [B, N, H·W]."""
        rows = rows[kept]
        masks = (rows @ (view.z.detach() if self.region.mask_detach else view.z)[kept]).softmax(dim=-1)
        if self.region.mask_norm:
            masks = masks / masks.sum(dim=1, keepdim=True)
        return masks.mT @ (rows @ view.cells[kept])

    def contrast(self, p: Tensor, z: Tensor) -> Tensor:
        """Return the mean distance [B] between region predictions p and the other view's projections z [B, R, C]."""
        predicted, target = cosine(p, z.detach() if self.region.stop_grad else z)
        if not self.region.negatives:
            return -(predicted * target).sum(-1).mean(-1)
        logits = predicted @ target.mT / self.region.tau
        return -logits.log_softmax(dim=-1).diagonal(dim1=1, dim2=2).mean(-1)
