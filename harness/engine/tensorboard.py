"""What TensorBoard shows of a run, in RUN/tensorboard: the curve as it grows, the rest at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.detection.detector import METRICS
from harness.records import read_curve, read_lines

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Point = Mapping[str, Any]
PRETRAIN, BENCHMARK = Path("tensorboard", "pretrain"), Path("tensorboard", "benchmark")  # each a run of TensorBoard's


def require() -> None:
    """ValueError where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise ValueError("--tensorboard: Python finds no 'tensorboard': pip install tensorboard")


@contextmanager
def live(folder: Path, wanted: bool) -> Iterator[Callable[[Point], None]]:
    """A function that draws each new point of the curve at once; it does nothing where no drawing is wanted.

    The points that earlier tries wrote are drawn anew, whether these tries drew or not.
    """
    if not wanted:
        yield lambda point: None
        return
    with opened(folder / PRETRAIN) as writer:
        for earlier in read_curve(folder):
            draw(writer, earlier, earlier["step"])

        def show(point: Point) -> None:
            draw(writer, point, point["step"])
            writer.flush()

        yield show


def finish(folder: Path, scores: Mapping[str, float]) -> None:
    """Draw the detector's curve, where there is one, and the scores, at its last iteration.

    The pre-training's curve too, where it was not drawn live: before, without drawing, or by another run.
    """
    if not (folder / PRETRAIN).exists():
        with live(folder, wanted=True):
            pass
    points = read_lines(folder / METRICS)
    last = points[-1]["iteration"] if points else 0
    with opened(folder / BENCHMARK) as writer:
        for point in points:
            draw(writer, point, point["iteration"])
        draw(writer, {f"score/{name}": score for name, score in scores.items()}, last)


def opened(folder: Path) -> SummaryWriter:
    """A writer of the whole of a folder: what earlier tries wrote is purged when the folder is read."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=0)


def draw(writer: SummaryWriter, point: Point, step: int) -> None:
    """Every number of a point but its step."""
    for name, value in point.items():
        if value is not None and name not in ("step", "iteration"):
            writer.add_scalar(name, value, step)
