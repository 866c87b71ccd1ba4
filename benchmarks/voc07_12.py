"""The papers' benchmark: Pascal VOC07+12 with Faster R-CNN R50-C4, 24k iterations (METHODS 10.2)."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks import Benchmark
from benchmarks.detection import Detector
from benchmarks.voc import Voc, VocError, check, read_split

CLASSES = 20


@dataclass(frozen=True)
class Voc0712(Detector, Benchmark):
    """Faster R-CNN R50-C4 on VOC07+12, 24,000 iterations."""

    name: ClassVar[str] = "voc07+12"

    depth: int = 50
    family: str = "c4"
    norm: str = "SyncBN"
    anchors: tuple[int, ...] = (32, 64, 128, 256, 512)
    proposals: tuple[int, int, int, int] = (12000, 2000, 6000, 1000)
    rpn: int = 256
    rois: int = 512
    iterations: int = 24000
    batch: int = 16
    decay: tuple[float, ...] = (18000 / 24000, 22000 / 24000)
    warmup: int = 100
    clip: float | None = None
    sizes: tuple[int, ...] = tuple(range(480, 801, 32))
    precise_bn: int = 200
    workers: int = 4
    year: int = 2007

    def prepare(self, data: Path | None, cache: Path) -> Voc:
        """Train on trainval of VOC2007 and VOC2012, test on VOC2007's test; nothing is written to `cache`.

        Raises VocError, also where the classes are not VOC's twenty.
        """
        if data is None:
            raise VocError(f"benchmark {self.name!r} needs a VOCdevkit folder: --benchmark-data DIR")
        old, new = data / "VOC2007", data / "VOC2012"
        voc = check(data, read_split(old, "trainval") + read_split(new, "trainval"), read_split(old, "test"))
        if len(voc.classes) != CLASSES:
            raise VocError(f"{data}: {len(voc.classes)} classes instead of Pascal VOC's {CLASSES}")
        return voc


BENCHMARK = Voc0712
