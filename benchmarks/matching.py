"""Dense matching without labels: which cell of another view of an image, or of another scene, shows the same place.

It favours what it measures, agreement of places between views: a strategy that pairs places by where they are is
trained for that. Read it beside scores of labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks import Cost
from benchmarks.data.flaws import DataError
from benchmarks.dense.frozen import FORWARD
from benchmarks.dense.unlabelled import Pictures, Unlabelled

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.dense.places import Places

FAVOURS = "matching favours what it measures, agreement of places between views: read it beside scores of labels"
STAGES = (4, 3)
SCALES = {1: "", 2: "_x2"}  # of the input's sides → how a score's name ends


@dataclass(frozen=True)
class Matching(Unlabelled):
    """Dense matching, no labels; favours agreement of places."""

    name: ClassVar[str] = "matching"
    score_range: ClassVar[tuple[float, float] | None] = (0.0, 100.0)  # per cent

    def evaluate(
        self, backbone: Path, data: Pictures, folder: Path, seed: int, device: str = "cpu"
    ) -> dict[str, float]:
        """Return the per cent of cells whose match lies within 0.75 cell diagonals of the truth, by stage and scale.

        `layer4` is of two views of each image; `across_layer4` of the same sprite in two scenes. `seed` draws the
        views. folder gets matching.json with what a match at random reaches.
        """
        from benchmarks.dense import places
        from benchmarks.dense.cells import ResNet, enlarged

        views, boxes = self._views(data, seed)
        kinds = {"": views} | ({"across_": self.whole(data)} if data.objects else {})
        scores, chance = {}, {}
        for scale, suffix in SCALES.items():
            network = ResNet(backbone, self.encoder, device)
            if self.calibrate:
                network.calibrate(enlarged(views[: len(boxes)], scale))
            for prefix, images in kinds.items():
                for stage, maps in network.read(enlarged(images, scale), STAGES).items():
                    name, side = f"{prefix}layer{stage}{suffix}", maps.shape[-1]
                    pairs = self._across(data, side) if prefix else places.between_views(boxes, side)
                    if (score := places.matched(maps, pairs)) is not None:
                        scores[name], chance[name] = score, places.by_chance(pairs, side)
        if "layer4" not in scores:
            raise DataError(
                f"{data.folder}: no view shows a cell's centre of the other: {len(boxes)} images are too few"
            )
        self.keep(folder, {"scores": scores, "by chance": chance})
        return scores

    def _views(self, data: Pictures, seed: int) -> tuple[Tensor, Tensor]:
        """Return two views of each of n images [2n, 3, S, S] uint8, all first ones first, and their boxes [n, 2, 4]."""
        import torch

        from benchmarks.dense.images import opened, tensor
        from benchmarks.dense.places import two_views

        views, boxes = [], []
        for file in data.files:
            key = f"{seed}/{file.relative_to(data.folder).as_posix()}"
            pair, placed = two_views(opened(file), self.size, key)
            views.append(torch.stack([*map(tensor, pair)]))
            boxes.append(placed)
        return torch.cat(torch.stack(views).unbind(1)), torch.tensor(boxes)

    def _across(self, data: Pictures, side: int) -> Places:
        """Return where each sprite of the scenes is shown again, for maps of so many cells a side."""
        import numpy as np
        import torch
        from PIL import Image

        from benchmarks.dense.places import Instance, across_images

        sprites: dict[str, list[Instance]] = {}
        masks = []
        for image, file in enumerate(data.files):
            with Image.open(data.folder / "SegmentationObject" / f"{file.stem}.png", formats=["PNG"]) as mask:
                masks.append(torch.from_numpy(np.array(mask)))
            for number, known in enumerate(data.objects[file.stem], 1):
                sprites.setdefault(known["sprite"], []).append(Instance(image, number, known["transform"]))
        return across_images(sprites, torch.stack(masks), side)

    def notes(self, data: Pictures) -> list[str]:
        """Return what the scores favour."""
        return [FAVOURS]

    def cost(self) -> Cost:
        """Return what reading the images at both scales costs: two views, the norms' statistics, the scenes whole."""
        passes = 3 + self.calibrate
        work = f"{passes} passes over {self.images} images at {self.size} and {2 * self.size} px, nothing trained"
        return Cost(work, passes * self.images * sum(scale**2 for scale in SCALES), self.size, FORWARD)


BENCHMARK = Matching
