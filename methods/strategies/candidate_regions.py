"""Boxes of the overlap agree (ReSim, ICCV 2021; SCRL, 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from methods import geometry
from methods.boxes import Boxes, Pairs, Windows
from methods.chance import Stream
from methods.correspondence import Correspondence, FeatureMap, Strategy, per_pair
from methods.recipe import choose
from methods.similarity import Similarity

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CandidateRegions(Strategy):
    """METHODS 5: a box is read as the average of the map in each view, and agrees with itself."""

    boxes: Boxes = Windows()
    pool: Literal["prroi", "roialign"] = "prroi"  # the exact average, or RoIAlign's samples of it
    roi_offset: float = 0.5  # [R] a cell's value lies at its centre; 0, as in the official code, at its corner
    border: bool = True  # [R] beyond the outer cells the map goes on (True) or falls to zero; of prroi alone
    pool_stage: Literal["after_heads", "before_heads"] = "after_heads"  # [R] read the embedded cells, or embed the read

    average = staticmethod(per_pair)

    def __post_init__(self) -> None:
        """Refuse an offset between the two conventions."""
        choose("roi_offset", self.roi_offset, (0.5, 0.0))

    @property
    def pools_first(self) -> bool:
        """Whether boxes are read before the heads."""
        return self.pool_stage == "before_heads"

    def __call__(self, query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        """Q, K [B, N, H·W] average N boxes; W [B, N, N] is the identity on those that both views show."""
        pairs = self.outlines(query, key)
        return Correspondence(
            self.read(pairs.first, query), self.read(pairs.second, key), pairs.valid.to(query.box.dtype).diag_embed()
        )

    def outlines(self, query: FeatureMap, key: FeatureMap) -> Pairs:
        """Return the N boxes [B, N, 4] of each view, and which of them both views show."""
        return self.boxes(query.box, key.box, Stream(query.seed))

    def read(self, boxes: Tensor, view: FeatureMap) -> Tensor:
        """Rows [B, N, H·W] that average a view over boxes [B, N, 4] of its unit square."""
        if self.pool == "prroi":
            return geometry.read_boxes(boxes, view.shape, self.roi_offset, self.border)
        return roi_align_rows(boxes, view.shape, self.roi_offset)


def roi_align_rows(boxes: Tensor, shape: tuple[int, int], offset: float) -> Tensor:
    """The same by torchvision's RoIAlign to 1 × 1, as many samples as a box has cells (METHODS 5.3)."""
    import torch
    from torchvision.ops import roi_align

    height, width = shape
    cells = torch.eye(height * width, dtype=boxes.dtype, device=boxes.device).view(1, -1, height, width)
    scaled = boxes.flatten(0, 1) * boxes.new_tensor([width, height, width, height])
    rows: Tensor = roi_align(cells, [scaled], output_size=1, sampling_ratio=-1, aligned=offset == 0.5)
    return rows.view(*boxes.shape[:2], -1)


STRATEGY = CandidateRegions
