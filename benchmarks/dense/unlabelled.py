"""What benchmarks share that read no labels: settings, and the test images of any folder or of the embedded scenes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from benchmarks import Benchmark
from benchmarks.scenes import DEMO, Scenes
from benchmarks.scenes.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor

FORWARD = 1 / 3  # time of a forward pass over that of a forward and a backward one


class Object(TypedDict):
    """An object of a scene, as instances.jsonl has it."""

    sprite: str
    transform: Sequence[Sequence[float]]  # rows of the affine map from x, y, 1 in the sprite to px of the image


class Pictures(NamedTuple):
    """Test images, and what is known of the objects in them."""

    folder: Path
    files: tuple[Path, ...]
    objects: Mapping[str, Sequence[Object]]  # name of an image → its objects, as the scenes' mask numbers them
    fingerprint: str  # sha256 of names and bytes

    @property
    def summary(self) -> str:
        """One line: images, and whether objects are known."""
        known = sum(map(len, self.objects.values()))
        return f"{len(self.files)} images" + (f", {known} objects whose sprites are known" if known else "")


@dataclass(frozen=True)
class Unlabelled(Benchmark[Pictures]):
    """A benchmark that reads no labels."""

    encoder: str = "resnet50"
    size: int = 96  # px a side of an image
    images: int = 200  # of the test images, at most
    calibrate: bool = True  # measure the norms' statistics on these images, for every backbone alike
    layout: Layout = DEMO.layout  # of the embedded scenes, where no folder is named
    train: int = DEMO.train
    test: int = DEMO.test
    draw: int = DEMO.draw

    def __post_init__(self) -> None:
        """Raise ValueError for settings that nothing can be read by."""
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

    def whole(self, data: Pictures) -> Tensor:
        """Return the images as they are [n, 3, S, S] uint8."""
        import torch

        from benchmarks.dense.images import opened, tensor

        return torch.stack([tensor(opened(file).resize((self.size, self.size))) for file in data.files])

    def test_images(self, data: Pictures) -> list[Path]:
        """Return the images that are read."""
        return [*data.files]
