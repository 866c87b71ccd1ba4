"""What benchmarks share that read no labels: settings, and the test images of any folder or of the embedded scenes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypedDict

from benchmarks.data.contents import hashes
from benchmarks.data.pixels import refuse_undecodable
from benchmarks.dense.frozen import Frozen
from benchmarks.dense.images import squares, tested

if TYPE_CHECKING:
    from torch import Tensor


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
class Unlabelled(Frozen[Pictures]):
    """A benchmark that reads no labels."""

    least: ClassVar[Mapping[str, int]] = {"size": 32, "images": 1}

    images: int = 200  # of the test images, at most
    calibrate: bool = True  # measure the norms' statistics on these images, for every backbone alike

    def prepare(self, data: Path | None, cache: Path) -> Pictures:
        """Return test images of a folder, with or without labels, or of the embedded scenes; DataError for none."""
        folder, objects = data or self.scenes(cache), dict[str, list[Object]]()
        if data is None:
            lines = (folder / "instances.jsonl").read_text(encoding="utf-8").splitlines()
            objects = {line["image"]: line["objects"] for line in map(json.loads, lines)}
        files, digest = tuple(tested(folder, self.images)), hashlib.sha256()
        refuse_undecodable(files, cache)
        for file, sha in zip(files, hashes(files, cache), strict=True):
            digest.update(f"{file.relative_to(folder).as_posix()}\n".encode() + bytes.fromhex(sha))
        known = {file.stem: objects[file.stem] for file in files if objects}
        return Pictures(folder, files, known, digest.hexdigest())

    def whole(self, data: Pictures) -> Tensor:
        """Return the images as they are [n, 3, S, S] uint8."""
        return squares(data.files, self.size)

    def test_images(self, data: Pictures) -> list[Path]:
        """Return the images that are read."""
        return [*data.files]
