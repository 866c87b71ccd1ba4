"""Records of runs: one folder each, written under sacred's eyes (observers.py), read back with nothing but json.

config.json   every setting (sacred)            run.json         status, times (sacred)
scores.json   written last and atomically: a run without it does not count
provenance.json   commit, versions, device, data, durations     curve.jsonl   the pre-training's curve
backbone.pth  the product (not kept in git)     detection.*      the benchmark's curve, settings and log
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

# what a record's parts must be where it has them, since others may have written it: see `fits`
WORDS, WHOLE, NUMBER = (str,), (int,), (int, float)
CONFIG = {"seed": WHOLE, "trial": WHOLE, "strategy": {"name": WORDS}}
RUN = {"status": WORDS}
SCORES = {...: NUMBER}
PROVENANCE = {"command": [WORDS], "data": {"fingerprint": WORDS}, "benchmark_data": {"fingerprint": WORDS},
              "backbone": {"key": WORDS}, "machine": {"device": WORDS}, "seconds": {...: NUMBER}}  # fmt: skip
POINT = {"step": WHOLE, "epoch": WHOLE, ...: (*NUMBER, type(None))}
DEEPEST = 20  # levels of a record's content; ours have five
WHERE = ("step", "epoch", "lr")  # columns of a curve that are no measurements


@dataclass(frozen=True)
class Record:
    """One run as its folder tells it."""

    folder: Path
    settings: dict[str, Any]
    scores: dict[str, float] | None  # None: not finished
    status: str  # sacred's: RUNNING, COMPLETED, INTERRUPTED, FAILED

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def strategy(self) -> str | None:
        """Return the strategy's name; None where the backbone came as a file."""
        name: str | None = self.settings.get("strategy", {}).get("name")
        return name

    @cached_property
    def curve(self) -> list[dict[str, Any]]:
        """The points of its pre-training, read once; empty where nothing was trained."""
        return read_curve(self.folder)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Commit, versions, device, data and durations, read once; empty where nothing tells."""
        return read_provenance(self.folder)

    def fingerprint(self, part: str) -> str | None:
        """Of the data that it learnt from (data) or was judged on (benchmark_data); None where nothing tells."""
        found: str | None = self.provenance.get(part, {}).get("fingerprint")
        return found

    def gauges(self) -> dict[str, float]:
        """The pre-training's gauges, each the mean over its last epoch; empty where nothing was trained."""
        last = [point for point in self.curve if point.get("epoch") == self.curve[-1].get("epoch")]
        values = {name: [point.get(name) for point in last] for name in (last or [{}])[0]}
        measured = {name: [one for one in found if one is not None] for name, found in values.items()}
        return {name: statistics.fmean(found) for name, found in measured.items() if found and name not in WHERE}


def read(folder: Path) -> Record:
    """One record; ValueError names the file that cannot be read, or is no record of ours."""
    refuse_links(folder)
    settings, run = read_settings(folder), read_json(folder / "run.json", RUN)
    finished = (folder / "scores.json").exists()
    scores = read_json(folder / "scores.json", SCORES) if finished else None
    read_provenance(folder)
    status = visible(run.get("status", "RUNNING"))
    if finished != (status == "COMPLETED"):  # a kill came between sacred's last word and ours
        status = "COMPLETED" if finished else "RUNNING"
    return Record(folder, {"trial": 0, **settings}, scores, status)


def read_settings(folder: Path) -> dict[str, Any]:
    """Return a run's settings as a run of today records them; ValueError where they are no record."""
    file = folder / "config.json"
    return checked(file, upgrade(read_json(file)), CONFIG)


def upgrade(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings in today's form: older records have `strategy` and `match` apart, and `depth` for `encoder`."""
    match settings:
        case {"strategy": str(name), "match": {**fields}, **others}:
            settings = {**others, "strategy": {"name": name, **fields}}
        case {"strategy": str(name)}:
            settings = {**settings, "strategy": {"name": name}}
    for part in ("recipe", "benchmark"):
        match settings.get(part):
            case {"depth": int(depth), **fields}:
                settings = {**settings, part: {"encoder": f"resnet{depth}", **fields}}
    return settings


def refuse_links(folder: Path) -> None:
    """ValueError where a run's folder has no printable name, or it or what it holds is a link out of the results."""
    if not folder.name.isprintable():
        raise ValueError(f"{folder}: not a run's name")
    home = os.path.realpath(folder.parent)
    for path in chain((folder,), folder.iterdir()):
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):
            raise ValueError(f"{path}: a link that leads out of {folder.parent}")


def visible(text: object) -> str:
    """Text on one line, in which what a terminal would obey (colours, new lines, signs that turn its order) is told."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(text))


def read_provenance(folder: Path) -> dict[str, Any]:
    """Commit, versions, device, data and durations of a run; empty where nothing tells."""
    file = folder / "provenance.json"
    return read_json(file, PROVENANCE) if file.exists() else {}


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The points of a run's pre-training; empty where nothing was trained."""
    file = folder / "curve.jsonl"
    points = read_lines(file, decode)
    if not all(fits(point, POINT) and "step" in point for point in points):
        raise ValueError(f"{file}: not a readable curve (a point of it is none)")
    return points


def read_lines(file: Path, read: Callable[[str], Any] = json.loads) -> list[dict[str, Any]]:
    """The points of a curve, a torn last line left out; ValueError names a curve that is none."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
        return [read(line) for line in lines if line.endswith("\n")]
    except ValueError as error:
        raise ValueError(f"{file}: not a readable curve ({error})") from error


def read_json(file: Path, form: Mapping[Any, Any] | None = None) -> dict[str, Any]:
    """A JSON object of a form from a file; ValueError names the file that holds something else."""
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise ValueError("no file")
        content: dict[str, Any] = decode(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: not a readable record ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: not a readable record (no JSON object)")
    return checked(file, content, form)


def checked(file: Path, content: dict[str, Any], form: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Return a file's content; ValueError names the part that has not its form."""
    if odd := [name for name in content if not fits({name: content[name]}, form)]:
        raise ValueError(f"{file}: not a readable record ({odd[0]} is not what it should be)")
    return content


def decode(text: str) -> Any:
    """JSON content; ValueError where a number is not finite or beyond 64 bits, and where it is nested too deeply."""
    try:
        content = json.loads(text, parse_constant=no_number, parse_float=finite, parse_int=whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if is_deep(content, DEEPEST):
        raise ValueError("nested too deeply")
    return content


def no_number(text: str) -> NoReturn:
    """Refuse what JSON has no number for, and a number that is none of ours."""
    raise ValueError(f"{text[:20]} is no number of a record")


def finite(text: str) -> float:
    """A number with a fraction or an exponent."""
    value = float(text)
    return value if abs(value) <= sys.float_info.max else no_number(text)


def whole(text: str) -> int:
    """A whole number of 64 bits."""
    value = int(text)
    return value if abs(value) < 2**63 else no_number(text)


def is_deep(content: Any, levels: int) -> bool:
    """Whether JSON content has more levels than so many."""
    return levels < 0 or any(is_deep(one, levels - 1) for one in parts(content))


def parts(content: Any) -> Iterator[Any]:
    """What a list or an object of JSON holds."""
    yield from content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()


def fits(content: Any, form: Any) -> bool:
    """Whether JSON content has a form: {name: form, ...: of all other names}, [form of all], or types; None is any."""
    if isinstance(form, Mapping):
        others = form.get(...)
        return isinstance(content, dict) and all(fits(one, form.get(name, others)) for name, one in content.items())
    if isinstance(form, list):
        return isinstance(content, list) and all(fits(one, form[0]) for one in content)
    return form is None or type(content) in form


def read_all(results: Path, names: str = "*") -> tuple[list[Record], list[str]]:
    """Return every readable record under results/runs of such names, and one line for each folder that is not one.

    A run that has only just begun, whose settings are not written yet, is neither.
    """
    records, broken = [], []
    runs = results / "runs"
    for folder in sorted(runs.glob(names)) if runs.is_dir() else []:
        if folder.is_dir() and not folder.name.startswith(".") and not beginning(folder):
            try:
                records.append(read(folder))
            except ValueError as error:
                broken.append(str(error))
    return records, broken


def beginning(folder: Path) -> bool:
    """Whether a run's settings, the second file that sacred writes, are still to come, or were when it was killed."""
    return not any((folder / name).exists() for name in ("config.json", "scores.json"))


def find(results: Path, name: str) -> Record:
    """The record whose folder's name is, or alone begins with, the given one."""
    runs = results / "runs"
    names = sorted(folder.name for folder in runs.iterdir() if folder.is_dir()) if runs.is_dir() else []
    if matches := [one for one in names if one == name] or [one for one in names if name and one.startswith(name)]:
        if len(matches) == 1:
            return read(runs / matches[0])
        raise ValueError(f"run {name!r} may be any of {', '.join(matches)}")
    raise ValueError(
        f"no run {name!r} in {runs}: " + (f"choose from {', '.join(names)}" if names else "there are none")
    )


def weights_of(record: Record, *names: str) -> tuple[Path, ...]:
    """The run's files of these names; ValueError says which one is missing and what makes it."""
    found = tuple(record.folder / name for name in names)
    for file in found:
        if not file.exists():
            raise ValueError(
                f"run {record.id} has no {file.name} here, since weights are not kept in git: make it with"
                f" `{command_of(record)} --results weights`, then give this command --results weights"
            )
    return found


def command_of(record: Record) -> str:
    """The command that makes the run, as its record has it."""
    line = record.provenance.get("command", [])
    seed = str(record.settings.get("seed", "SEED"))
    wanted = ["harness", "run", "--strategy", record.strategy or "STRATEGY", "--seed", seed]
    return shlex.join(line if line[:2] == ["harness", "run"] else wanted)
