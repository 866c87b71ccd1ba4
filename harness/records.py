"""Records of runs: one folder each, which this file alone writes and reads, with nothing but json.

config.json       every setting                             run.json    status, times and host, as sacred observes them
provenance.json   command, commit, versions, device, data, durations        curve.jsonl  of the pre-training
backbone.pth      the product, and heads.pth what was trained on top of it; neither is kept in git
scores.json       written last: a run without it is not finished;  classes.json the scores of each class
tensorboard/, detection.*  the curves for TensorBoard; the benchmark's own curve, settings and log
code/             the user's own files
"""

from __future__ import annotations

import re
import shlex
import shutil
import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.resuming import files
from benchmarks.resuming.checkpoints import Checkpoint
from benchmarks.resuming.strict_json import checked, decode, fits, read_lines, read_object
from harness.settings import is_named_by, upgrade
from harness.terminal import Listing, visible

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, RUN, SCORES, PROVENANCE, CURVE = "config.json", "run.json", "scores.json", "provenance.json", "curve.jsonl"
BACKBONE, HEADS, CHECKPOINT, LOCK = "backbone.pth", "heads.pth", "checkpoint.pth", ".lock"
TENSORBOARD, CODE, RUNS = "tensorboard", "code", "runs"  # folders of a run, and the one of all runs
PARTS = (CURVE, HEADS, BACKBONE)  # of a finished pre-training; the backbone is written last
CHECKPOINTS = "*checkpoint*.pth"  # of the pre-training and of the benchmark: a finished run has none
GROWING = ("backbone", "seconds")  # facts of a provenance that a run adds to while it goes on
TEXT, WHOLE, NUMBER = (str,), (int,), (int, float)  # FORMS: of files that others may have written, see strict_json.fits
FORMS: dict[str, dict[Any, Any]] = {
    CONFIG: {"seed": WHOLE, "trial": WHOLE, "strategy": {"name": TEXT}},
    RUN: {"status": TEXT},
    SCORES: {...: NUMBER},
    PROVENANCE: {"command": [TEXT], "data": {"fingerprint": TEXT}, "benchmark_data": {"fingerprint": TEXT},
                 "code": {"reference": [NUMBER], "benchmark": TEXT, "files": {...: TEXT}}, "seconds": {...: NUMBER},
                 "backbone": {"key": TEXT}, "machine": {"device": TEXT}},
    CURVE: {"step": WHOLE, "epoch": WHOLE, ...: (*NUMBER, type(None))},
}  # fmt: skip
WHERE = ("step", "epoch", "lr")  # columns of a curve that are no measurements

Point = dict[str, Any]  # of a curve: step and epoch, integers; lr, loss and gauges, numbers, or None for no value


@dataclass(frozen=True)
class Record:
    """One run, as its folder has it."""

    folder: Path
    settings: dict[str, Any]
    scores: dict[str, float] | None  # None: not finished
    status: str  # sacred's: RUNNING, COMPLETED, INTERRUPTED, FAILED
    started: str | None = None  # the day of its last try, in UTC, as YYYY-MM-DD; None where none is recorded
    ended: str | None = None
    named: bool = True  # whether its name is the one that its settings give

    @property
    def id(self) -> str:
        """Return the folder's name."""
        return self.folder.name

    @property
    def strategy(self) -> str | None:
        """Return the strategy's name; None where the backbone came as a file."""
        name: str | None = self.settings.get("strategy", {}).get("name")
        return name

    @cached_property
    def curve(self) -> list[Point]:
        """The points of the pre-training, read once; empty where nothing was trained."""
        return read_curve(self.folder)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Command, commit, versions, device, data and durations, read once; empty where none are recorded."""
        return read_provenance(self.folder)

    @property
    def is_being_made(self) -> bool:
        """Return whether a process works on it now."""
        return files.is_locked(self.folder / LOCK)

    def fingerprint(self, part: str) -> str | None:
        """Return the fingerprint of the pre-training's data ("data") or the benchmark's ("benchmark_data"), if any."""
        fingerprint: str | None = self.provenance.get(part, {}).get("fingerprint")
        return fingerprint

    def gauges(self) -> dict[str, float]:
        """Return the gauges of the pre-training, each the mean over its last epoch; empty where nothing was trained."""
        last = [point for point in self.curve if point.get("epoch") == self.curve[-1].get("epoch")]
        columns = {name: [point.get(name) for point in last] for name in (last or [{}])[0] if name not in WHERE}
        measured = {name: [value for value in column if value is not None] for name, column in columns.items()}
        return {name: statistics.fmean(values) for name, values in measured.items() if values}


# --- writing


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold a run's folder, made if need be, for this process alone; ValueError where another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    files.refuse_links(folder)
    with files.lock(folder / LOCK, f"run {folder.name} is being made by another process"):
        files.sweep(folder, ".*.part")
        yield


def begin(folder: Path, settings: Mapping[str, Any], **facts: Any) -> None:
    """Write a run's settings and the facts of its provenance, which may be those of an earlier try."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / CONFIG, settings)
    note(folder, **facts)


def note(folder: Path, **facts: Any) -> None:
    """Write facts of a run's provenance in the place of earlier ones; those of its backbone and durations are added."""
    known = read_provenance(folder)
    added = {name: {**known.get(name, {}), **facts[name]} for name in GROWING if name in facts}
    files.write_json(folder / PROVENANCE, {**known, **facts, **added})


def keep_code(folder: Path, sources: Mapping[str, Path]) -> None:
    """Keep the text of the user's own files, each below `code/` by its name."""
    for name, source in sources.items():
        files.copy(source, folder / CODE / name)


def write_status(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what sacred observes of a run: its status, times and host."""
    files.write_json(folder / RUN, content)


def checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint of a run's pre-training."""
    return Checkpoint(folder / CHECKPOINT)


def trim_curve(folder: Path, step: int) -> None:
    """Drop the points of a run's curve that were made after a step, since the pre-training makes them again."""
    files.trim(folder / CURVE, "step", step + 1)


def append_point(folder: Path, point: Point) -> None:
    """Append a point to a run's curve; when this returns, it is on the disk."""
    files.append(folder / CURVE, point)


def write_weights(folder: Path, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor] | None = None) -> None:
    """Write a run's state dicts, the backbone's last: where its file is, nothing is left to be pre-trained."""
    import torch

    for name, state in ((HEADS, heads), (BACKBONE, backbone)):
        if state is not None:
            weights = {key: value.cpu().contiguous() for key, value in state.items()}
            files.write(folder / name, partial(torch.save, weights))
    checkpoint(folder).remove()


def reuse_backbone(donor: Path, folder: Path) -> None:
    """Give a run the curve, the heads and the backbone of another run, and first note whose they are."""
    note(folder, backbone={"taken_over_from": donor.name})
    for name in PARTS:
        if (donor / name).exists():
            files.link(donor / name, folder / name)


def discard_backbone(folder: Path) -> None:
    """Remove what an unfinished run has of a backbone, since it is another one's."""
    files.sweep(folder, BACKBONE, HEADS, CURVE, CHECKPOINTS, PROVENANCE)
    shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)


def finish(folder: Path, scores: Mapping[str, float]) -> None:
    """Write a run's scores, whole or not at all; from then on it is finished and needs no checkpoints."""
    files.write_json(folder / SCORES, scores)
    files.sweep(folder, CHECKPOINTS)


def remove(record: Record) -> None:
    """Remove a run's folder; ValueError if a process works on it."""
    with claim(record.folder):
        shutil.rmtree(record.folder)


# --- reading


def folders(results: Path, start: str = "") -> list[Path]:
    """Return the folders of all runs, or of those whose names start so, sorted."""
    return sorted(folder for folder in (results / RUNS).glob("*") if folder.name.startswith(start) and folder.is_dir())


def is_finished(folder: Path) -> bool:
    """Return whether a run's scores are written."""
    return (folder / SCORES).exists()


def read_finished(folder: Path) -> Record | None:
    """Return a run that is finished, else None; what a kill left beside its record is removed."""
    if not is_finished(folder):
        return None
    files.sweep(folder, CHECKPOINTS, LOCK)
    return read(folder)


def read(folder: Path) -> Record:
    """Return a run's record; ValueError names a file that cannot be read or that no run has written."""
    files.refuse_links(folder)
    written = read_object(folder / CONFIG)
    settings = checked(folder / CONFIG, upgrade(written), FORMS[CONFIG])
    scores = read_part(folder, SCORES) if (finished := is_finished(folder)) else None
    run = read_part(folder, RUN) if (folder / RUN).exists() else {}  # a kill may come before sacred's first word
    read_provenance(folder)
    status = visible(run.get("status", "RUNNING"))
    if finished != (status == "COMPLETED"):  # a kill came between sacred's last word and ours
        status = "COMPLETED" if finished else "RUNNING"
    days = day(run, "start_time"), day(run, "stop_time")
    return Record(folder, {"trial": 0, **settings}, scores, status, *days, is_named_by(folder.name, written))


def day(run: Mapping[str, Any], moment: str) -> str | None:
    """Return the day of a moment that sacred has recorded, as YYYY-MM-DD, if it has."""
    text = str(run.get(moment))
    return text[:10] if re.match(r"\d{4}-\d\d-\d\dT", text) else None


def read_part(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of a JSON file of a run; ValueError names a file without its form."""
    return read_object(folder / name, FORMS[name])


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return a run's command, commit, versions, device, data and durations; empty where none are recorded."""
    return read_part(folder, PROVENANCE) if (folder / PROVENANCE).exists() else {}


def read_curve(folder: Path) -> list[Point]:
    """Return the points of a run's pre-training; empty where nothing was trained."""
    file = folder / CURVE
    points = read_lines(file, decode)
    if not all(fits(point, FORMS[CURVE]) and "step" in point for point in points):
        raise ValueError(f"{file}: not a readable curve (a point of it is none)")
    return points


def read_all(results: Path, start: str = "") -> tuple[list[Record], list[str]]:
    """Return every readable record of a run whose name starts so, and one line for each folder that holds none.

    A run that has only just begun, whose settings are not written yet, is neither.
    """
    records, broken = [], []
    for folder in folders(results, start):
        if not folder.name.startswith(".") and ((folder / CONFIG).exists() or is_finished(folder)):
            try:
                records.append(read(folder))
            except ValueError as error:
                broken.append(str(error))
    return records, broken


def find(results: Path, name: str) -> Record:
    """Return the record of the run with this name, or of the only one whose name begins so."""
    names = [folder.name for folder in folders(results)]
    matches = [name] if name in names else [known for known in names if name and known.startswith(name)]
    if len(matches) == 1:
        return read(results / RUNS / matches[0])
    if matches:
        raise Listing(f"run {name!r} may be any of", matches)
    known = "choose from" if names else "there are none"
    raise Listing(f"no run {name!r} in {results / RUNS}: {known}", names)


def weights_of(record: Record, heads: bool = False) -> tuple[Path, ...]:
    """Return the files of a run's backbone and, if asked for, its heads; ValueError names one that is missing."""
    paths = tuple(record.folder / name for name in ((BACKBONE, HEADS) if heads else (BACKBONE,)))
    for path in paths:
        if not path.exists():
            raise ValueError(
                f"run {record.id} has no {path.name} here, since weights are not kept in git: make it with"
                f" `{command_of(record)} --results weights`, then give this command --results weights"
            )
    return paths


def command_of(record: Record) -> str:
    """Return the command that makes a run, as its record has it."""
    line = record.provenance.get("command", [])
    seed = str(record.settings.get("seed", "SEED"))
    wanted = ["harness", "run", "--strategy", record.strategy or "STRATEGY", "--seed", seed]
    return shlex.join(line if line[:2] == ["harness", "run"] else wanted)
