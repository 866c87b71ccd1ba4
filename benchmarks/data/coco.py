"""A reader of COCO 2017 folders, which refuses the whole folder if any part is unusable (METHODS 10.3).

It then names all flaws.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.data import pixels
from benchmarks.data.coco_json import CocoError as CocoError
from benchmarks.data.coco_json import Entry, Rules, check, image_name, parse, printable, table
from benchmarks.data.contents import BY_CONTENT, facts, hashes
from benchmarks.data.flaws import Findings

TRAIN, TEST = "train2017", "val2017"
CATEGORIES = 80


class Split(NamedTuple):
    """The part of an annotation file that is kept, since the whole takes gigabytes of memory."""

    path: Path
    folder: Path  # that the names of the images are relative to
    categories: dict[int, str]
    names: frozenset[str]  # of the image files
    objects: int  # crowds left out
    classes: frozenset[int]  # of these objects
    digest: str  # sha256 of the file's bytes and of the names and sizes of its images

    @property
    def files(self) -> list[Path]:
        """The image files."""
        return [Path(os.path.normpath(self.folder / name)) for name in sorted(self.names)]


@dataclass(frozen=True)
class Coco:
    """A checked data set: detectron2 can read its annotations, all images exist, each test class has train objects."""

    folder: Path
    train: Split
    test: Split
    contents: tuple[str, ...] = ()  # the SHA-256 of each image's file, train then test; none: their sizes identify them
    own: bool = False  # whether it is a folder of somebody's own, whose annotations are used as `plain` returns them
    masks: bool = True
    flaws: tuple[str, ...] = ()  # a line for each kind of small flaw, mended or not

    @property
    def categories(self) -> dict[int, str]:
        """Id → name of the categories; in a folder of one's own of those that train has an object of."""
        every = sorted(self.train.categories.items())
        return {id: name for id, name in every if not self.own or id in self.train.classes}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of their ids, as detectron2 numbers them."""
        return tuple(self.categories.values())

    @property
    def images(self) -> tuple[int, int]:
        """Number of train and of test images."""
        return len(self.train.names), len(self.test.names)

    @property
    def learnt(self) -> list[Path]:
        """The files of the train images."""
        return self.train.files

    @property
    def tested(self) -> list[Path]:
        """The files of the test images."""
        return self.test.files

    @property
    def notes(self) -> list[str]:
        """What a reader of the scores must know: what was mended, and the classes that are not scored."""
        names = self.categories
        left = [name for id, name in names.items() if id not in self.test.classes]
        line = f"AP over {len(names) - len(left)} of {len(names)} classes: no test object of {', '.join(left)}"
        return [*self.flaws, *([line] if left else [])]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both splits; a copy of the folder elsewhere has the same one.

        It begins with BY_CONTENT where it covers what the images' files contain.
        """
        parts = [self.train.digest, self.test.digest, *self.contents, *self.flaws]
        whole = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return (BY_CONTENT if self.contents else "") + whole

    def with_contents(self, cache: Path) -> Coco:
        """Return it with the hashes of its images, which `cache` remembers; test images that train has are noted."""
        found = hashes([*self.learnt, *self.tested], cache)
        learnt = set(found[: len(self.learnt)])
        shared = [file for file, sha in zip(self.tested, found[len(self.learnt) :], strict=True) if sha in learnt]
        line = f"{len(shared):,} test images are train images too, by content"
        noted = [f"{line} ({shared[0].name} is the first)"] if self.own and shared else []
        return replace(self, contents=tuple(found), flaws=(*self.flaws, *noted))

    @property
    def summary(self) -> str:
        """One line: images, objects and classes."""
        train, test = self.images
        return (
            f"{train} train images with {self.train.objects} objects, {test} test images with "
            f"{self.test.objects} objects, {len(self.classes)} classes"
        )


def listing(folder: Path, split: str) -> Path:
    """Return the file that lists a split's images and objects."""
    return folder / "annotations" / f"instances_{split}.json"


def located(name: str, folder: Path, root: Path) -> str | None:
    """Return an image's name relative to its split's folder; None where neither that nor the root holds such a file.

    Some tools write names that are relative to the root, train2017/1.jpg. A name that leads out of it is none.
    """
    if ".." in Path(name).parts or os.path.isabs(name):
        return None
    places = (place for place in (folder, root) if os.path.isfile(place / name))
    return next((name if place == folder else os.path.relpath(place / name, folder) for place in places), None)


def read(folder: Path, cache: Path | None = None) -> Coco:
    """Read and check both splits of a folder of COCO 2017; raise CocoError, which names all flaws in one line.

    `cache` remembers which images could be opened.
    """
    if not folder.is_dir():
        raise CocoError(f"{folder}: no such folder")
    for split in (TRAIN, TEST):
        for part in (listing(folder, split), folder / split):
            if not part.exists():
                raise CocoError(f"{part}: missing, the {split} split needs it")
    findings = Findings()
    train, test = (
        read_split(listing(folder, name), folder / name, folder, Rules(), findings, cache, name == TEST)
        for name in (TRAIN, TEST)
    )
    counts = {split.path: len(set(split.categories.values())) for split in (train, test)}
    findings.flaws += [
        f"{path}: {count} categories instead of COCO's {CATEGORIES}"
        for path, count in counts.items()
        if count != CATEGORIES
    ]
    if findings.flaws:
        raise CocoError(*findings.flaws)
    if train.categories != test.categories:
        raise CocoError(f"{test.path}: its categories are not those of {train.path.name}")
    if shared := train.names & test.names:
        raise CocoError(f"{folder}: image {min(shared)!r} is in {TRAIN} and in {TEST}")
    if unlearnt := test.classes - train.classes:
        name = test.categories[min(unlearnt)]
        raise CocoError(f"{test.path}: category {name!r} has no object in {TRAIN}")
    return Coco(folder, train, test)


def read_split(
    path: Path, folder: Path, root: Path, rules: Rules, findings: Findings, cache: Path | None, decode: bool
) -> Split:
    """Return a split whose images lie in `folder`, or else where their names say below `root`; flaws are collected.

    Every image is opened, or decoded, and has the size that the file says.
    """
    content, digest = parse(path)
    categories, sound, names = dict[int, str](), dict[int, Entry](), dict[str, Entry]()
    for id, entry in table(content, "categories", path, findings).items():
        with findings.collected():
            categories[id] = printable(entry, "name", path)
    images = table(content, "images", path, findings)
    for id, image in images.items():
        with findings.collected():
            name = image_name(image, path)
            place = located(name, folder, root)
            size = (folder / place).stat().st_size if place else 0
            if not place or not size or place in names:
                state = "missing, but listed" if not place else "empty, but listed" if not size else "listed twice"
                hint = f", whose names are relative to {folder.name}" if "/" in name else ""
                raise CocoError(f"{folder / name}: {state} in {path.name}{hint}")
            sound[id] = names[place] = image
            digest.update(f"{place}\t{size}\n".encode())
    _check_pixels(names, folder, path, findings, cache, decode)
    objects = table(content, "annotations", path, findings, least=rules.least)
    unsound = images.keys() - sound.keys()
    for id, entry in objects.items():
        if not (type(entry.get("image_id")) is int and entry["image_id"] in unsound):  # which is named already
            with findings.collected():
                check(entry, sound, categories, f"{path}: annotation {id}", rules, findings)
    classes = [entry.get("category_id") for entry in objects.values() if not entry.get("iscrowd", 0)]
    if not classes:  # COCO's evaluation would find no AP
        findings.flaws.append(f"{path}: no object that is not a crowd")
    known = frozenset(id for id in classes if isinstance(id, int) and id in categories)
    return Split(path, folder, categories, frozenset(names), len(classes), known, digest.hexdigest())


def _check_pixels(
    images: Mapping[str, Entry], folder: Path, path: Path, findings: Findings, cache: Path | None, decode: bool
) -> None:
    """Open each image, or decode it, and compare its size with that of the annotation file."""
    files = [folder / name for name in images]
    kind, look = ("decoded", pixels.decoded) if decode else ("opened", pixels.opened)
    for file, image, size in zip(files, images.values(), facts(files, cache, kind, look), strict=True):
        with findings.collected():
            wanted = f"{image['width']}x{image['height']}"
            if size != wanted:
                (width, height), turned = pixels.size_of(file, decode)
                raise CocoError(f"{file}: {width}x{height} px{turned}, but {path.name} says {wanted}")
