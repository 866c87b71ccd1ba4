"""What all benchmarks without fine-tuning share: the embedded scenes that they read by default, and their facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from benchmarks import Benchmark, Data
from benchmarks.resuming import files
from benchmarks.scenes import DEMO, Scenes
from benchmarks.scenes.layout import Layout

Read = TypeVar("Read", bound=Data)
FORWARD = 1 / 3  # time of a forward pass over that of a forward and a backward one


@dataclass(frozen=True)
class Frozen(Benchmark[Read]):
    """A benchmark that reads a backbone as it is."""

    least: ClassVar[Mapping[str, int]] = {}  # field → its least value

    encoder: str = "resnet50"
    size: int = 96  # px a side of an image, whole and whatever its shape, or of a view
    layout: Layout = DEMO.layout  # of the embedded scenes, where no folder is named
    train: int = DEMO.train
    test: int = DEMO.test
    draw: int = DEMO.draw

    def __post_init__(self) -> None:
        """Raise ValueError for a field below its least value."""
        for name, least in self.least.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {least}")

    def scenes(self, cache: Path) -> Path:
        """Return the folder of the embedded scenes, composed below `cache` unless they are there."""
        return Scenes(layout=self.layout, train=self.train, test=self.test, draw=self.draw).folder(cache)

    def keep(self, folder: Path, facts: object) -> None:
        """Write what shows how the scores came about into a run's folder, under the benchmark's name."""
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / f"{self.name}.json", facts)
