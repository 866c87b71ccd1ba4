"""Dense matching without labels: which cell of another view of an image, or of another scene, shows the same place.

It favours what it measures, agreement of places between views: a strategy that pairs places by where they are is
trained for that. Read it beside scores of labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypedDict

from benchmarks import Benchmark, Cost
from benchmarks.data.flaws import DataError
from benchmarks.scenes import DEMO, Scenes
from benchmarks.scenes.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.dense.places import Places

FAVOURS = "matching favours what it measures, agreement of places between views: read it beside scores of labels"
STAGES = (4, 3)
SCALES = {1: "", 2: "_x2"}  # of the input's sides → how a score's name ends
FORWARD = 1 / 3  # time of a forward pass over that of a forward and a backward one


class Object(TypedDict):
    """An object of a scene, as instances.jsonl has it."""

    sprite: str
    transform: Sequence[Sequence[float]]  # rows of the affine map from x, y, 1 in the sprite to px of the image


class Pictures(NamedTuple):
    """Images to match in, and what is known of the objects in them."""

    folder: Path
    files: tuple[Path, ...]
    objects: Mapping[str, Sequence[Object]]  # name of an image → its objects, as the scenes' mask numbers them
    fingerprint: str  # sha256 of names and bytes

    @property
    def summary(self) -> str:
        """One line: images, and whether objects are known."""
        known = sum(map(len, self.objects.values()))
        return f"{len(self.files)} images to match in" + (f", {known} objects whose sprites are known" if known else "")


@dataclass(frozen=True)
class Matching(Benchmark[Pictures]):
    """Dense matching of two views without labels; it favours agreement of places."""

    name: ClassVar[str] = "matching"
    score_range: ClassVar[tuple[float, float] | None] = (0.0, 100.0)  # per cent

    encoder: str = "resnet50"
    size: int = 96  # px a side of a view; each score ending in _x2 is of the same views, twice as wide
    images: int = 200  # of the test images, at most
    calibrate: bool = True  # measure the norms' statistics on these images, for every backbone alike
    layout: Layout = DEMO.layout  # of the embedded scenes, where no folder is named
    train: int = DEMO.train
    test: int = DEMO.test
    draw: int = DEMO.draw

    def __post_init__(self) -> None:
        """Raise ValueError for settings that nothing can be matched by."""
        for name, least in (("size", 32), ("images", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: at least {least} was expected")

    def prepare(self, data: Path | None, cache: Path) -> Pictures:
        """Return test images of a folder, with or without labels, or of the embedded scenes; DataError for none."""
        from benchmarks.dense.images import opened, tested

        objects: dict[str, list[Object]] = {}
        if data is None:
            scenes = Scenes(layout=self.layout, train=self.train, test=self.test, draw=self.draw)
            folder = scenes.folder(cache)
            lines = (folder / "instances.jsonl").read_text(encoding="utf-8").splitlines()
            objects = {line["image"]: line["objects"] for line in map(json.loads, lines)}
        else:
            folder = data
        files, digest = tuple(tested(folder, self.images)), hashlib.sha256()
        for file in files:
            opened(file)
            name = file.relative_to(folder).as_posix()
            digest.update(f"{name}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
        known = {file.stem: objects[file.stem] for file in files if objects}
        return Pictures(folder, files, known, digest.hexdigest())

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
        kinds = {"": views} | ({"across_": self._whole(data)} if data.objects else {})
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
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"scores": scores, "by chance": chance}, indent=2)
        (folder / "matching.json").write_text(text + "\n", encoding="utf-8")
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

    def _whole(self, data: Pictures) -> Tensor:
        """Return the images as they are [n, 3, S, S] uint8."""
        import torch

        from benchmarks.dense.images import opened, tensor

        return torch.stack([tensor(opened(file).resize((self.size, self.size))) for file in data.files])

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

    def test_images(self, data: Pictures) -> list[Path]:
        """Return the images that are matched."""
        return [*data.files]

    def notes(self, data: Pictures) -> list[str]:
        """Return what the scores favour."""
        return [FAVOURS]

    def cost(self) -> Cost:
        """Return what reading the images at both scales costs: two views, the norms' statistics, the scenes whole."""
        passes = 3 + self.calibrate
        work = f"{passes} passes over {self.images} images at {self.size} and {2 * self.size} px, nothing trained"
        return Cost(work, passes * self.images * sum(scale**2 for scale in SCALES), self.size, FORWARD)


BENCHMARK = Matching
