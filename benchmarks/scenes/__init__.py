"""The embedded data set: synthetic composites of rendered objects on photos, boxes and masks exact."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks import Benchmark
from benchmarks.detection import Detector
from benchmarks.scenes.layout import Layout, fingerprint
from benchmarks.voc import Voc, read


@dataclass(frozen=True)
class Scenes(Detector, Benchmark):
    """Faster R-CNN on the embedded data, synthetic composites."""

    name: ClassVar[str] = "scenes"

    layout: Layout = Layout()
    train: int = 1200  # scenes to pre-train on, without labels, and to fine-tune on
    test: int = 200  # scenes
    draw: int = 0  # seed of the scenes: the same for every run, whatever its own seed

    def __post_init__(self) -> None:
        super().__post_init__()
        for split in ("train", "test"):
            if getattr(self, split) < 1:
                raise ValueError(f"{split}={getattr(self, split)}: at least 1 scene was expected")

    @property
    def counts(self) -> dict[str, int]:
        """Scenes in each split."""
        return {"trainval": self.train, "test": self.test}

    @property
    def fingerprint(self) -> str:
        """Differs whenever the scenes do."""
        return fingerprint(self.layout, self.counts, self.draw)

    def folder(self, cache: Path) -> Path:
        """The Pascal VOC folder of these scenes, composed now unless the cache has it."""
        from benchmarks.scenes.compose import write  # numpy and Pillow, which the command line need not wait for

        folder = cache / f"scenes-{self.fingerprint}"
        if not folder.exists():
            write(folder, self.layout, self.counts, self.draw, progress=sys.stderr.isatty())
        return folder

    def prepare(self, data: Path | None, cache: Path) -> Voc:
        """The checked scenes; a folder that holds other data belongs to the benchmark voc-folder."""
        if data is not None:
            raise ValueError(f"benchmark {self.name!r} composes its own data: use --benchmark voc-folder for {data}")
        return read(self.folder(cache))


BENCHMARK = Scenes
