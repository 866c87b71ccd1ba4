"""How a backbone is judged: each benchmark turns a ResNet state dict under torchvision's names into scores."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol


class Data(Protocol):
    """What a benchmark has checked and will learn from."""

    @property
    def fingerprint(self) -> str:
        """Differs whenever the data does, and not with the folder that it lies in."""
        ...

    @property
    def summary(self) -> str:
        """One line: how many images, and of what."""
        ...


class Expected(NamedTuple):
    """A score that is known of a backbone under a benchmark's own settings, on its own data."""

    backbone: str  # random, supervised or a method
    score: str
    value: float  # per cent
    tolerance: float  # ±
    source: str


def outliers(expected: Sequence[Expected], scores: Mapping[str, float], trained: bool) -> Iterator[str]:
    """A line on each score outside of what is known: a random backbone's, or up to the best of any backbone."""
    for low in (one for one in expected if one.backbone == "random"):
        score = scores[low.score]
        high = max((one for one in expected if one.score == low.score), key=lambda one: one.value) if trained else low
        if not low.value - low.tolerance <= score <= high.value + high.tolerance:
            verb, known = ("below", low) if score < low.value else ("above", high)
            yield (
                f"{low.score} {score:.1f} of a {'trained' if trained else 'random'} backbone is {verb} the expected "
                f"{known.value} ± {known.tolerance} ({known.backbone}: {known.source})"
            )


class Benchmark(Protocol):
    """A frozen dataclass whose fields are its settings; a benchmark inherits from this class.

    Importing its module must not import torch: the command line reads the settings.
    """

    name: ClassVar[str]  # on the command line and in the record
    expected: ClassVar[tuple[Expected, ...]] = ()
    joins: ClassVar[bool] = False  # whether evaluate is called on every rank of torch.distributed, or on the first
    encoder: str  # that it judges, by torchvision's name: the recipe's

    def prepare(self, data: Path | None, cache: Path) -> Any:
        """The data, a `Data`, read and checked whole before anything is trained; ValueError in one line.

        data is the user's folder; what the benchmark makes itself goes below `cache`.
        """
        ...

    def evaluate(self, backbone: Path, data: Any, folder: Path, seed: int, device: str = "cpu") -> dict[str, float]:
        """The scores of a file that holds a state dict under torchvision's names, without fc.

        folder keeps whatever shows how the scores came about. Everything random follows `seed`.
        """
        ...

    def remarks(self, data: Any) -> list[str]:
        """What a reader of the scores must know before the run, a line each: printed and recorded."""
        return []

    def doubts(self, scores: Mapping[str, float], data: Any, trained: bool) -> list[str]:
        """Why scores are not to be believed, a line each: printed and recorded; `trained` is the backbone."""
        return []
