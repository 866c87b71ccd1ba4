"""Boxes of the overlap agree (ReSim, ICCV 2021; SCRL, 2021).

Boxes are proposed that both views show: windows that slide over either view (boxes=resim), or random boxes of the
overlap that lie apart from each other (boxes=scrl). Each box is read in each view as the average of the feature map
over it, by Precise RoI pooling in closed form or by RoIAlign. A box should agree with itself in the other view and
with nothing else. It is averaged over embedded cells, or over backbone cells and then embedded (pool_stage). Both
papers' own losses are left out: only their regions are compared.

Papers: Xiao et al., Region Similarity Representation Learning, https://arxiv.org/abs/2103.12902;
Roh et al., Spatially Consistent Representation Learning, https://arxiv.org/abs/2103.06122
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from methods import geometry
from methods.boxes import Boxes, Pairs, Windows
from methods.correspondence import Correspondence, FeatureMap, Strategy, per_pair
from methods.recipe import choose
from methods.rng import CounterRNG
from methods.similarity import Similarity

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CandidateRegions(Strategy):
    """Boxes, read in each view as the average of the map over them, each paired with itself (METHODS 5)."""

    boxes: Boxes = Windows()
    pool: Literal["prroi", "roialign"] = "prroi"  # the exact average, or RoIAlign's samples of it
    roi_offset: float = 0.5  # [R] a cell's value lies at its centre; 0, as in the official code, at its corner
    border: bool = True  # [R] beyond the outer cells the map goes on (True) or falls to zero; of prroi alone
    pool_stage: Literal["after_heads", "before_heads"] = "after_heads"  # [R] read the embedded cells, or embed the read

    average = staticmethod(per_pair)

    def __post_init__(self) -> None:
        """Raise ValueError for an offset between the two conventions."""
        choose("roi_offset", self.roi_offset, (0.5, 0.0))

    @property
    def pools_first(self) -> bool:
        """Return whether boxes are averaged before the heads."""
        return self.pool_stage == "before_heads"

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Return Q, K [B, N, H·W] that average N boxes, and W [B, N, N], the identity on boxes that both views show."""
        pairs = self.outlines(query, key)
        return Correspondence(
            self.read(pairs.first, query), self.read(pairs.second, key), pairs.valid.to(query.box.dtype).diag_embed()
        )

    def outlines(self, query: FeatureMap, key: FeatureMap) -> Pairs:
        """Return the N boxes [B, N, 4] of each view, and which of them both views show."""
        return self.boxes(query.box, key.box, CounterRNG(query.seed))

    def read(self, boxes: Tensor, view: FeatureMap) -> Tensor:
        """Return rows [B, N, H·W] that average a view over boxes [B, N, 4] of its unit square."""
        if self.pool == "prroi":
            return geometry.read_boxes(boxes, view.shape, self.roi_offset, self.border)
        return roi_align_rows(boxes, view.shape, self.roi_offset)


def roi_align_rows(boxes: Tensor, shape: tuple[int, int], offset: float) -> Tensor:
    """Return such rows by torchvision's RoIAlign to 1 × 1, with as many samples as a box has cells (METHODS 5.3)."""
    import torch
    from torchvision.ops import roi_align

    height, width = shape
    cells = torch.eye(height * width, dtype=boxes.dtype, device=boxes.device).view(1, -1, height, width)
    scaled = boxes.flatten(0, 1) * boxes.new_tensor([width, height, width, height])
    rows: Tensor = roi_align(cells, [scaled], output_size=1, sampling_ratio=-1, aligned=offset == 0.5)
    return rows.view(*boxes.shape[:2], -1)


STRATEGY = CandidateRegions
