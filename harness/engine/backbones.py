"""Where a run's backbone comes from: trained now, reused from a run that has it, or read from a file."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.weights import Backbone, read_backbone
from harness import ROOT, records
from harness.engine import distributed, provenance
from harness.engine.images import find_images, source_folder
from harness.experiment import BackboneFile, Pretraining

if TYPE_CHECKING:
    from harness.engine.machine import Machine
    from methods.correspondence import Strategy

CODE = (  # that a backbone depends on
    "methods/**/*.py",
    "benchmarks/resuming/training.py",
    *(f"harness/engine/{name}.py" for name in ("pretrain", "gauges", "distributed")),
)


class BackboneSource(NamedTuple):
    """A backbone that can be written; whatever could be checked before has been."""

    key: str  # hash of all that the weights depend on, save the machine: equal keys, equal backbones
    trained: bool  # False: as the seed draws it
    facts: dict[str, Any]  # for the record
    write: Callable[[Path], dict[str, Any]]  # into a run's folder, unless it is there; returns facts of the backbone
    train: Callable[[Path], object] | None = None  # into any folder, with the other ranks; None: not trained here
    images: Sequence[Path] = ()  # that the weights depend on
    notes: Sequence[str] = ()  # on these images


def source(
    backbone: Pretraining | BackboneFile, seed: int, results: Path, cache: Path, machine: Machine, draw: bool = False
) -> BackboneSource:
    """Return where an experiment's backbone comes from; ValueError for missing images or a file of another network.

    draw: whether the curve is drawn for TensorBoard too.
    """
    if isinstance(backbone, BackboneFile):
        return file_source(backbone)
    return training_source(backbone, seed, results, cache, machine, draw)


def training_source(
    training: Pretraining, seed: int, results: Path, cache: Path, machine: Machine, draw: bool
) -> BackboneSource:
    """Return a backbone that is reused if a run of these results has it, and trained now if not."""
    images, notes, data = learnt_images(training, cache, machine.reduced)
    key = digest({**training.settings, "seed": seed, **data, "code": code(training.strategy)})

    def train(run: Path) -> None:
        from harness.engine.pretrain import pretrain  # torch is first needed here

        pretrain(training.strategy, training.recipe, images, run, seed, machine, draw)

    def write(run: Path) -> dict[str, str]:
        if (run / records.BACKBONE).exists():
            records.checkpoint(run).remove()  # a kill may have left it
        elif donor := find(results, key):
            records.reuse_backbone(donor, run)
        else:
            distributed.broadcast_job("pretrain", key)
            train(run)
        return {}

    return BackboneSource(key, training.strategy.trains, {"data": data} if data else {}, write, train, images, notes)


def learnt_images(training: Pretraining, cache: Path, reduced: bool) -> tuple[list[Path], list[str], dict[str, Any]]:
    """Return the images to pre-train on, notes on them, and their number and fingerprint for the record.

    All are empty where the strategy trains nothing and no folder is named: it reads no image.
    """
    if not training.strategy.trains and training.embedded is None and training.data is None:
        return [], [], {}
    folder = source_folder(training, cache)
    images, notes = find_images(folder)
    fingerprint = provenance.fingerprint(images, folder) + ("-reduced" if reduced else "")  # other pixels
    return images, notes, {"images": len(images), "fingerprint": fingerprint}


def file_source(file: BackboneFile) -> BackboneSource:
    """Return the backbone in a file, without heads and prefixes; ConvertError if it is another network's."""
    loaded = read_backbone(file.file, file.encoder, file.key)
    if loaded.others:
        print(place(file, loaded), flush=True)

    def write(run: Path) -> dict[str, Any]:
        records.write_weights(run, loaded.state)
        return {"file": file.file.name, "within": loaded.within, "prefix": loaded.prefix, "left_out": loaded.left_out}

    key = file.sha256 if file.key is None else digest(file.settings)
    return BackboneSource(key, True, {}, write)


def place(file: BackboneFile, loaded: Backbone) -> str:
    """Return a line that says where in its file a backbone lies, and which others there are."""
    name = ".".join(filter(None, (loaded.within, loaded.prefix.removesuffix("."))))
    others = f"; --backbone-key chooses another: {', '.join(loaded.others)}" if loaded.others else ""
    return f"backbone: {name or 'the network'} in {file.file}{others}"


def digest(content: object) -> str:
    """Return 16 hexadecimal digits of JSON content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def code(strategy: Strategy) -> str:
    """Return 16 hexadecimal digits of the source files that a pre-training depends on, a strategy's own included."""
    sources = sorted(file for pattern in CODE for file in ROOT.glob(pattern))
    texts = [file.read_bytes() for file in [*sources, Path(inspect.getfile(type(strategy)))]]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


def find(results: Path, key: str) -> Path | None:
    """Return the folder of a run that has the backbone of a key."""
    for folder in records.folders(results):
        noted = records.read_provenance(folder) if (folder / records.BACKBONE).exists() else {}
        if noted.get("backbone", {}).get("key") == key:
            return folder
    return None
