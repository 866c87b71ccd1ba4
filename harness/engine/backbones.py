"""Where a run's backbone comes from: trained now, taken over from a run that has the same, or a given file."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.resuming import files
from benchmarks.scenes import Scenes
from benchmarks.weights import read_backbone
from harness import ROOT, records
from harness.engine import distributed, provenance
from harness.engine.images import list_images, source_of
from harness.settings import describe
from methods.recipe import Recipe

if TYPE_CHECKING:
    from harness.engine.machine import Machine

PARTS = ("backbone.pth", "heads.pth", "curve.jsonl")  # of a finished pre-training; the backbone is written last
CHECKPOINTS = "*checkpoint*.pth"  # of the pre-training and of the benchmark: no part of a finished run's record
CODE = (
    "methods/**/*.py",
    *(f"harness/engine/{name}.py" for name in ("pretrain", "gauges", "distributed")),
)  # they depend on it


class Origin(NamedTuple):
    """A backbone that can be written; whatever could be checked has been."""

    key: str  # of all that the weights depend on, save the machine: equal keys, equal backbones
    trained: bool  # not as a seed draws it
    facts: dict[str, Any]  # for the record
    write: Callable[[Path], dict[str, Any]]  # into a run's folder, unless it is there; returns more facts
    train: Callable[[Path], object] | None = None  # into any folder, with the other ranks; None: not trained here


@dataclass(frozen=True)
class Pretraining:
    """A backbone that a strategy trains: everything that decides its weights, save the seed and the machine."""

    name: str  # the strategy's
    strategy: Any
    recipe: Recipe
    scenes: Scenes | None  # to pre-train on; None: the folder
    data: str | None  # folder to pre-train on, as the user wrote it

    @property
    def settings(self) -> dict[str, Any]:
        """What is recorded of it."""
        return {
            "strategy": {"name": self.name, **describe(self.strategy)},
            "recipe": describe(self.recipe),
            "data": self.data if self.scenes is None else f"scenes-{self.scenes.fingerprint}",
        }

    def origin(self, seed: int, results: Path, cache: Path, machine: Machine) -> Origin:
        """Trained now, unless a run of these results has the same; ValueError where there is nothing to train on."""
        folder = source_of(self, cache)
        images = list_images(folder)
        seen = provenance.fingerprint(images, folder) + ("-reduced" if machine.reduced else "")  # other pixels
        data = {"images": len(images), "fingerprint": seen}
        key = digest({**self.settings, "seed": seed, **data, "code": code(self.strategy)})

        def train(run: Path) -> None:
            from harness.engine.pretrain import pretrain  # torch is first needed here

            pretrain(self.strategy, self.recipe, images, run, seed, machine)

        def write(run: Path) -> dict[str, Any]:
            if (run / "backbone.pth").exists():
                files.sweep(run, "checkpoint*.pth")  # of a kill between the two
                return {}
            if donor := find(results, key):
                take_over(donor, run)
                return {"taken_over_from": donor.name}
            distributed.announce("pretrain", key)
            train(run)
            return {}

        return Origin(key, self.strategy.trains, {"data": data}, write, train)


@dataclass(frozen=True)
class Given:
    """A backbone that was trained elsewhere: a file, known by its content."""

    file: Path
    sha256: str
    encoder: str  # that it must hold

    @property
    def name(self) -> str:
        """Of its runs."""
        return f"backbone_{self.sha256[:8]}"

    @property
    def settings(self) -> dict[str, Any]:
        """What is recorded of it: the content alone, whatever the file is called."""
        return {"backbone": self.sha256}

    def origin(self, seed: int, results: Path, cache: Path, machine: Machine) -> Origin:
        """The ResNet in the file, heads and wrappings left out; ConvertError where it is not that ResNet."""
        found = read_backbone(self.file, self.encoder)

        def write(run: Path) -> dict[str, Any]:
            from harness.engine.pretrain import save

            save(found.state, run / "backbone.pth")
            return {"file": self.file.name, "prefix": found.prefix, "left_out": list(found.left_out)}

        return Origin(self.sha256, True, {}, write)


def digest(content: Any) -> str:
    """16 hexadecimal digits of JSON content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def code(strategy: Any) -> str:
    """16 hexadecimal digits of the sources that decide a pre-training, a strategy's own file included."""
    sources = sorted(file for pattern in CODE for file in ROOT.glob(pattern))
    texts = [file.read_bytes() for file in [*sources, Path(inspect.getfile(type(strategy)))]]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


def find(results: Path, key: str) -> Path | None:
    """The folder of a run that has written this backbone."""
    for file in sorted((results / "runs").glob("*/backbone.pth")):
        if records.read_provenance(file.parent).get("backbone", {}).get("key") == key:
            return file.parent
    return None


def take_over(donor: Path, run: Path) -> None:
    """Give a run another one's parts, the backbone last, and before it the note whose they are."""
    note = records.read_json(run / "provenance.json")
    files.write_json(run / "provenance.json", note | {"backbone": note["backbone"] | {"taken_over_from": donor.name}})
    for name in reversed(PARTS):
        if (donor / name).exists():
            files.link(donor / name, run / name)


def forget_other(run: Path, key: str) -> bool:
    """Whether an unfinished try at other code or data was there; its parts are removed, so that nothing is mixed."""
    file = run / "provenance.json"
    if not file.exists() or records.read_provenance(run).get("backbone", {}).get("key") == key:
        return False
    files.sweep(run, *PARTS, CHECKPOINTS, file.name)
    shutil.rmtree(run / "tensorboard", ignore_errors=True)
    return True
