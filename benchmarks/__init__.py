"""Benchmarks: each scores a backbone, a file with a ResNet's state dict under torchvision's names.

Every file or package here that sets BENCHMARK is one, known by its class's `name`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar

BACKBONE = "backbone"
CLASSES = "classes.json"  # of a run's folder: class → score → value, which `harness show` prints and no table has


class Data(Protocol):
    """The data that a benchmark has checked and will learn from."""

    @property
    def fingerprint(self) -> str:
        """A hash that differs whenever the data does, and not with the folder that it lies in."""
        ...

    @property
    def summary(self) -> str:
        """One line: how many images, and of what."""
        ...


class Images(Protocol):
    """Images without labels that come with a benchmark, to pre-train on."""

    @property
    def id(self) -> str:
        """Their name in records, which says what was asked for; what they show is in the fingerprint of the data."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def folder(self, cache: Path) -> Path:
        """Return the folder that they lie in, made below `cache` unless it is there."""
        ...


class Cost(NamedTuple):
    """What an estimate of a benchmark's time is made from."""

    work: str  # in words: "400 iterations of 4 images at 96 px"
    images: int  # that go through the encoder in all, each pass counted
    side: int  # px of these images
    factor: float = 1.0  # time of all work on an image over that of the encoder's forward and backward pass


class Expected(NamedTuple):
    """A score that is known of a backbone under a benchmark's own settings, on its own data."""

    backbone: str  # random, supervised or a method
    score: str
    value: float  # per cent
    tolerance: float  # ±
    source: str


def out_of_range(expected: Sequence[Expected], scores: Mapping[str, float], trained: bool) -> Iterator[str]:
    """Yield a line on each score outside of what is known: a random backbone's, or up to the best of any backbone."""
    for low in (known for known in expected if known.backbone == "random"):
        score = scores[low.score]
        same = [known for known in expected if known.score == low.score]
        high = max(same, key=lambda known: known.value) if trained else low
        if not low.value - low.tolerance <= score <= high.value + high.tolerance:
            verb, bound = ("below", low) if score < low.value else ("above", high)
            yield (
                f"{low.score} {score:.1f} of a {'trained' if trained else 'random'} backbone is {verb} the expected "
                f"{bound.value} ± {bound.tolerance} ({bound.backbone}: {bound.source})"
            )


Checked = TypeVar("Checked", bound=Data)


class Benchmark(Protocol[Checked]):
    """A frozen dataclass whose fields are its settings; a benchmark inherits from this class.

    It defines `name`, `encoder`, `prepare` and `evaluate`; all else says what holds only for some benchmarks.
    Importing its module must not import torch: the command line reads the settings.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    name: ClassVar[str]  # on the command line and in the record
    judges: ClassVar[str] = BACKBONE  # what it scores: the weights NAME.pth of a run's folder
    distributed: ClassVar[bool] = False  # whether all ranks evaluate, dividing a field `batch`, or rank 0 alone
    needs_data: ClassVar[bool] = False  # whether the user must name its folder
    curve: ClassVar[str | None] = None  # file of JSON lines with an `iteration` that evaluate leaves in the folder
    expected: ClassVar[tuple[Expected, ...]] = ()
    score_range: ClassVar[tuple[float, float] | None] = None  # of every score; a record outside it enters no table

    encoder: str  # that the weights must fit, by torchvision's name: the recipe's; they are of any width

    def prepare(self, data: Path | None, cache: Path) -> Checked:
        """Return the data, read and checked whole before anything is trained; raise ValueError with one line.

        data is the user's folder; what the benchmark makes itself goes below `cache`.
        """
        ...

    def evaluate(self, backbone: Path, data: Checked, folder: Path, seed: int, device: str = "cpu") -> dict[str, float]:
        """Return the scores of a file that holds a state dict under torchvision's names, without fc.

        folder keeps whatever shows how the scores came about, those of each class in CLASSES. Everything random
        follows `seed`.
        """
        ...

    def notes(self, data: Checked) -> list[str]:
        """Return what a reader of the scores must know before the run, a line each; printed and recorded."""
        return []

    def test_images(self, data: Checked) -> list[Path]:
        """Return the files that it tests on, so that none of them is pre-trained on unnoticed; none if not known."""
        return []

    def train_images(self, data: Checked) -> list[Path]:
        """Return the files that it learns from, so that they can be decoded before a run; none if not known."""
        return []

    def warnings(self, scores: Mapping[str, float], data: Checked, trained: bool) -> list[str]:
        """Return why the scores of a backbone, trained or not, are implausible, a line each; printed and recorded."""
        return []

    def cost(self) -> Cost | None:
        """Return what an estimate of its time is made from; None where nothing is known before a run."""
        return None

    def embedded_images(self) -> Images | None:
        """Return the images to pre-train on where the user names no folder; None if it brings none."""
        return None


AnyBenchmark: TypeAlias = Benchmark[Any]
