"""The papers' benchmark: Pascal VOC07+12 with Faster R-CNN R50-C4, 24k iterations (METHODS 10.2).

The settings are those of MoCo's detection/configs/pascal_voc_R_50_C4_24k_moco.yaml, which DenseCL, PixPro and ReSim
share. Expected there (METHODS 11.3): 33.8 AP of a random backbone, 53.5 of a supervised one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks import Benchmark, Expected
from benchmarks.data.coco import Coco
from benchmarks.data.flaws import Findings
from benchmarks.data.voc import Voc, VocError, check, read_split
from benchmarks.detection.published import README, TOLERANCE, Published

CLASSES = 20


@dataclass(frozen=True)
class Voc0712(Published, Benchmark[Voc]):
    """Faster R-CNN R50-C4 on VOC07+12, 24,000 iterations."""

    name: ClassVar[str] = "voc07+12"
    needs_data: ClassVar[bool] = True
    official: ClassVar[tuple[int, int]] = (5_011 + 11_540, 4_952)
    expected: ClassVar[tuple[Expected, ...]] = (
        Expected("random", "AP", 33.8, TOLERANCE, README),
        Expected("supervised", "AP", 53.5, TOLERANCE, README),
        Expected("PixPro, 400 epochs", "AP", 60.2, TOLERANCE, README),
    )

    encoder: str = "resnet50"
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
    strict: bool = False  # refuse data that needs mending, and a class without a test object

    def prepare(self, data: Path | None, cache: Path) -> Voc:
        """Return trainval of VOC2007 and VOC2012 as train split and VOC2007's test.

        `cache` remembers the hashes of the images. Raises VocError, also if the classes are not VOC's twenty.
        """
        if data is None:
            raise VocError(f"benchmark {self.name!r} needs a VOCdevkit folder: --benchmark-data DIR")
        old, new = data / "VOC2007", data / "VOC2012"
        findings = Findings(self.strict)
        train = read_split(old, findings, "trainval") + read_split(new, findings, "trainval")
        voc = check(data, train, read_split(old, findings, "test"), findings)
        if len(voc.classes) != CLASSES:
            raise VocError(f"{data}: {len(voc.classes)} classes instead of Pascal VOC's {CLASSES}")
        return voc.with_contents(cache)

    def notes(self, data: Voc | Coco) -> list[str]:
        """Return how the run departs from the publication, what was mended and which classes are not scored."""
        return [*super().notes(data), *(data.notes if isinstance(data, Voc) else [])]


BENCHMARK = Voc0712
