"""The embedded data set: synthetic composites of rendered objects on photos, with exact boxes and masks.

Under the demo's settings a random backbone has 4.3 ± 3.5 AP in the project's own records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from benchmarks import Benchmark, Expected, Images, out_of_range
from benchmarks.data.voc import Voc, read
from benchmarks.detection.detector import Detector
from benchmarks.scenes import layout as definition
from benchmarks.scenes.layout import Layout, fingerprint

# the 99 % prediction interval of one run more than the three of random: 9.92 * 0.304 * sqrt(1 + 1 / 3)
TOLERANCE = 3.5
RECORDS = "results/demo/runs"


@dataclass(frozen=True)
class Scenes(Detector, Benchmark[Voc]):
    """Faster R-CNN on the embedded data, synthetic composites."""

    name: ClassVar[str] = "scenes"
    expected: ClassVar[tuple[Expected, ...]] = (  # under DEMO
        Expected("random", "AP", 4.3, TOLERANCE, f"{RECORDS}, mean of 3 seeds"),
        Expected("simsiam", "AP", 5.0, TOLERANCE, f"{RECORDS}, the highest of all"),
    )

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
        """Number of scenes in each split."""
        return {"trainval": self.train, "test": self.test}

    @property
    def id(self) -> str:
        """A name that differs whenever the settings of the scenes do."""
        return f"scenes-{fingerprint(self.layout, self.counts, self.draw)}"

    @property
    def count(self) -> int:
        """Scenes to pre-train on."""
        return self.train

    def embedded_images(self) -> Images:
        """Return its train split, of which a pre-training sees no labels."""
        return self

    def folder(self, cache: Path) -> Path:
        """Return the Pascal VOC folder of these scenes, composed now unless the cache has it.

        ValueError where what the cache has is no longer what was written.
        """
        from benchmarks.scenes.folder import verify, write  # numpy and Pillow, which the command line need not wait for

        folder = cache / f"{self.id}-v{definition.VERSION}"
        if not folder.exists():
            try:
                write(folder, self.layout, self.counts, self.draw, progress=True)
            except OSError:
                if not folder.exists():  # else another process has composed the same ones meanwhile
                    raise
        verify(folder)
        return folder

    def prepare(self, data: Path | None, cache: Path) -> Voc:
        """Return the checked scenes; ValueError for a folder, which belongs to the benchmark voc-folder."""
        if data is not None:
            raise ValueError(f"benchmark {self.name!r} composes its own data: use --benchmark voc-folder for {data}")
        return read(self.folder(cache))

    def warnings(self, scores: Mapping[str, float], data: Voc, trained: bool) -> list[str]:
        """Return a line on each score outside of the recorded ones; it needs the demo's settings, save `workers`."""
        same = replace(self, workers=DEMO.workers) == DEMO
        return list(out_of_range(self.expected, scores, trained)) if same else []


DEMO = Scenes(
    layout=Layout(
        size=96,
        classes=("person", "potted_plant", "vehicle"),
        objects=(1, 2),
        distractors=(0, 1),
        extent=(0.5, 0.85),
        visible=0.6,
    ),
    train=1024,
    test=200,
    sizes=(96,),
    norm="FrozenBN",
    iterations=450,
    lr=0.007,
    decay=(0.6, 0.85),
    warmup=20,
)

BENCHMARK = Scenes
