"""Curves and scores of a run for TensorBoard: the pre-training's curve as it grows, the rest at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.resuming.strict_json import read_lines
from harness import records
from harness.records import Point

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PRETRAIN, BENCHMARK = Path(records.TENSORBOARD, "pretrain"), Path(records.TENSORBOARD, "benchmark")  # a run each


def require() -> None:
    """Raise ValueError if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise ValueError("--tensorboard: Python finds no 'tensorboard': pip install tensorboard")


@contextmanager
def live(folder: Path, wanted: bool) -> Iterator[Callable[[Point], None]]:
    """Yield a function that writes a new point of the curve at once, and does nothing where none are wanted.

    The points of earlier tries are written again, whether these tries wrote them or not.
    """
    if not wanted:
        yield lambda point: None
        return
    with opened(folder / PRETRAIN) as writer:
        for earlier in records.read_curve(folder):
            write_point(writer, earlier, "step")

        def show(point: Point) -> None:
            write_point(writer, point, "step")
            writer.flush()

        yield show


def finish(folder: Path, scores: Mapping[str, float], curve: str | None) -> None:
    """Write the benchmark's curve, a file of the folder, if it has one, and the scores, at its last iteration.

    The pre-training's curve too, if that was not written live: by a try without TensorBoard, or by another run.
    """
    if not (folder / PRETRAIN).exists():
        with live(folder, wanted=True):
            pass
    points = read_lines(folder / curve) if curve else []
    last = points[-1]["iteration"] if points else 0
    with opened(folder / BENCHMARK) as writer:
        for point in points:
            write_point(writer, point, "iteration")
        named = {f"score/{name}": score for name, score in scores.items()}
        write_point(writer, {"iteration": last, **named}, "iteration")


def opened(folder: Path) -> SummaryWriter:
    """Return a writer of a folder; when TensorBoard reads the folder, it leaves out what earlier tries wrote."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=0)


def write_point(writer: SummaryWriter, point: Mapping[str, float | None], step: str) -> None:
    """Write every number of a point but its step, the column of that name."""
    for name, value in point.items():
        if value is not None and name != step:
            writer.add_scalar(name, value, point[step])
