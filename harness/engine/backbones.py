"""Where a run's backbone comes from: trained now, reused from a run that has it, or read from a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.data.contents import hashes as hashes_of
from benchmarks.sources import hashes, own_files
from benchmarks.weights import Backbone, read_backbone
from harness import records
from harness.engine import distributed, identity, provenance
from harness.engine.images import find_images, source_folder
from harness.experiment import BackboneFile, Pretraining
from harness.settings import Json

if TYPE_CHECKING:
    from harness.engine.machine import Machine


class BackboneSource(NamedTuple):
    """A backbone that can be written; whatever could be checked before has been."""

    key: str  # hash of all that the weights depend on, save the machine and the code of this checkout
    reference: tuple[float, ...]  # what that code computes: where it agrees and the keys are equal, so are the weights
    files: Mapping[str, Path]  # of the user's own strategy
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
    files = own_files(type(training.strategy))
    key = digest({**training.settings, "seed": seed, **data, "files": hashes(files)})
    from harness.engine.reference import reference  # torch is first needed here

    numbers = reference(training.strategy, training.recipe)

    def train(run: Path) -> None:
        from harness.engine.pretrain import pretrain

        pretrain(training.strategy, training.recipe, images, run, seed, machine, draw)

    def write(run: Path) -> dict[str, str]:
        if (run / records.BACKBONE).exists():
            records.checkpoint(run).remove()  # a kill may have left it
        elif donor := find(results, key, numbers):
            records.reuse_backbone(donor, run)
        else:
            distributed.broadcast_job("pretrain", key, json.dumps(numbers))
            train(run)
        return {}

    facts = {"data": data} if data else {}
    return BackboneSource(key, numbers, files, training.strategy.trains, facts, write, train, images, notes)


def learnt_images(training: Pretraining, cache: Path, reduced: bool) -> tuple[list[Path], list[str], dict[str, Any]]:
    """Return the images to pre-train on, notes on them, and their number and fingerprint for the record.

    All are empty where the strategy trains nothing and no folder is named: it reads no image.
    """
    if not training.strategy.trains and training.embedded is None and training.data is None:
        return [], [], {}
    folder = source_folder(training, cache)
    images, notes = find_images(folder)
    kept = None if training.embedded else hashes_of(images, cache)  # the embedded ones are verified where they are made
    fingerprint = provenance.fingerprint(images, folder, kept) + ("-reduced" if reduced else "")  # other pixels
    return images, notes, {"images": len(images), "fingerprint": fingerprint}


def file_source(file: BackboneFile) -> BackboneSource:
    """Return the backbone in a file, without heads and prefixes; ConvertError if it is another network's."""
    loaded = read_backbone(file.file, file.encoder, file.key, file.width)
    if loaded.others:
        print(place(file, loaded), flush=True)

    def write(run: Path) -> dict[str, Any]:
        records.write_weights(run, loaded.state)
        return {"file": file.file.name, "within": loaded.within, "prefix": loaded.prefix, "left_out": loaded.left_out}

    key = file.sha256 if file.key is None else digest(file.settings)
    return BackboneSource(key, (), {}, True, {}, write)


def place(file: BackboneFile, loaded: Backbone) -> str:
    """Return a line that says where in its file a backbone lies, and which others there are."""
    name = ".".join(filter(None, (loaded.within, loaded.prefix.removesuffix("."))))
    others = f"; --backbone-key chooses another: {', '.join(loaded.others)}" if loaded.others else ""
    return f"backbone: {name or 'the network'} in {file.file}{others}"


def digest(content: object) -> str:
    """Return 16 hexadecimal digits of JSON content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def find(results: Path, key: str, reference: Sequence[float]) -> Path | None:
    """Return the folder of a run that has the backbone of a key, made by code whose reference numbers agree."""
    for folder in records.folders(results):
        if (folder / records.BACKBONE).exists() and is_of(records.read_provenance(folder), key, reference):
            return folder
    return None


def is_of(provenance: Json, key: str, reference: Sequence[float]) -> bool:
    """Return whether a record's provenance is that of a backbone of this key and of code that computes the same."""
    made_by = identity.recorded(provenance)
    same = made_by is not None and identity.agree(made_by.reference, reference)
    return same and provenance.get("backbone", {}).get("key") == key
