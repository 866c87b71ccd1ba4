"""Detection on the embedded scenes from a frozen backbone, whose features no fine-tuning can hide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks import Expected
from benchmarks.data.voc import Voc
from benchmarks.scenes import DEMO, Scenes
from benchmarks.scenes.layout import Layout

STORED = "the frozen norms use the backbone's stored statistics: a random backbone's are 0 and 1, whatever it computes"


@dataclass(frozen=True)
class ScenesFrozen(Scenes):
    """Faster R-CNN on the embedded data, backbone frozen."""

    name: ClassVar[str] = "scenes-frozen"
    expected: ClassVar[tuple[Expected, ...]] = ()

    freeze: int = 5  # all stages
    norm: str = "FrozenBN"
    sizes: tuple[int, ...] = DEMO.sizes
    iterations: int = DEMO.iterations
    lr: float = DEMO.lr
    decay: tuple[float, ...] = DEMO.decay
    warmup: int = DEMO.warmup
    layout: Layout = DEMO.layout
    train: int = DEMO.train
    test: int = DEMO.test

    def notes(self, data: Voc) -> list[str]:
        """Return what a reader of a frozen backbone's scores must know."""
        return [] if self.calibrate else [STORED]


BENCHMARK = ScenesFrozen
