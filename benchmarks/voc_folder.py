"""Any folder in Pascal VOC's layout, with its own classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks import Benchmark
from benchmarks.data.voc import Voc, VocError, read
from benchmarks.detection.detector import Detector


# inherits the detector's fields, so that its settings are set and recorded flat: `--set benchmark.lr=0.01`
@dataclass(frozen=True)
class VocFolder(Detector, Benchmark[Voc]):
    """Faster R-CNN on your own folder in Pascal VOC layout."""

    name: ClassVar[str] = "voc-folder"
    needs_data: ClassVar[bool] = True

    sizes: tuple[int, ...] = (160,)
    anchors: tuple[int, ...] = (16, 32, 64, 112, 176)
    strict: bool = False  # refuse a folder that needs mending, and a class without a test object

    def prepare(self, data: Path | None, cache: Path) -> Voc:
        """Return the checked folder; `cache` remembers the hashes of its images. Raises VocError."""
        if data is None:
            raise VocError(f"benchmark {self.name!r} needs a folder: --benchmark-data DIR")
        return read(data, self.strict).with_contents(cache)

    def notes(self, data: Voc) -> list[str]:
        """Return what was mended and which classes are not scored."""
        return data.notes


BENCHMARK = VocFolder
