"""A reader of COCO 2017 folders, which refuses the whole folder if any part is unusable (METHODS 10.3)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as shown
from typing import Any, NamedTuple

from benchmarks.data.contents import BY_CONTENT, hashes
from benchmarks.data.flaws import DataError, Findings

TRAIN, TEST = "train2017", "val2017"
CATEGORIES = 80
SLACK = 1  # px by which a box may leave its image, by rounding
SIDE = 65_535  # px: a JPEG has no longer one
MOST = 2**53  # ids above lose digits in COCO's evaluation

Entry = Mapping[str, Any]


class CocoError(DataError):
    """A COCO folder that cannot be used; the message names the file and what is wrong with it, in one line."""


class Split(NamedTuple):
    """The part of an annotation file that is kept, since the whole takes gigabytes of memory."""

    path: Path
    categories: dict[int, str]
    names: frozenset[str]  # of the image files
    objects: int  # crowds left out
    classes: frozenset[int]  # of these objects
    digest: str  # sha256 of the file's bytes and of the names and sizes of its images


@dataclass(frozen=True)
class Coco:
    """A checked data set: detectron2 can read its annotations, all images exist, each test class has train objects."""

    folder: Path
    train: Split
    test: Split
    contents: tuple[str, ...] = ()  # the SHA-256 of each image's file, train then test; none: their sizes identify them

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of their ids, as detectron2 numbers them."""
        return tuple(name for _, name in sorted(self.train.categories.items()))

    @property
    def images(self) -> tuple[int, int]:
        """Number of train and of test images."""
        return len(self.train.names), len(self.test.names)

    @property
    def learnt(self) -> list[Path]:
        """The files of the train images."""
        return [self.folder / TRAIN / name for name in sorted(self.train.names)]

    @property
    def tested(self) -> list[Path]:
        """The files of the test images."""
        return [self.folder / TEST / name for name in sorted(self.test.names)]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both splits; a copy of the folder elsewhere has the same one.

        It begins with BY_CONTENT where it covers what the images' files contain.
        """
        whole = hashlib.sha256("\n".join([self.train.digest, self.test.digest, *self.contents]).encode()).hexdigest()
        return (BY_CONTENT if self.contents else "") + whole

    def with_contents(self, cache: Path) -> Coco:
        """Return it with the hashes of its images, which `cache` remembers."""
        return replace(self, contents=tuple(hashes([*self.learnt, *self.tested], cache)))

    @property
    def summary(self) -> str:
        """One line: images, objects and classes."""
        train, test = self.images
        return (
            f"{train} train images with {self.train.objects} objects, {test} test images with "
            f"{self.test.objects} objects, {len(self.train.categories)} classes"
        )


def listing(folder: Path, split: str) -> Path:
    """Return the file that lists a split's images and objects."""
    return folder / "annotations" / f"instances_{split}.json"


def within(name: str, split: str) -> str:
    """Return an image's name within its split's folder, by which some tools begin it: train2017/1.jpg."""
    return name.removeprefix(f"{split}/")


def read(folder: Path) -> Coco:
    """Read and check both splits of a folder; raise CocoError, one line that names the file."""
    if not folder.is_dir():
        raise CocoError(f"{folder}: no such folder")
    for split in (TRAIN, TEST):
        for part in (listing(folder, split), folder / split):
            if not part.exists():
                raise CocoError(f"{part}: missing, the {split} split needs it")
    train, test = (_split(listing(folder, split), folder / split) for split in (TRAIN, TEST))
    if train.categories != test.categories:
        raise CocoError(f"{test.path}: its categories are not those of {train.path.name}")
    if shared := train.names & test.names:
        raise CocoError(f"{folder}: image {min(shared)!r} is in {TRAIN} and in {TEST}")
    if unlearnt := test.classes - train.classes:
        name = test.categories[min(unlearnt)]
        raise CocoError(f"{test.path}: category {name!r} has no object in {TRAIN}")
    return Coco(folder, train, test)


def _split(path: Path, folder: Path) -> Split:
    content, digest = _parse(path)
    categories = {id: _printable(entry, "name", path) for id, entry in _table(content, "categories", path).items()}
    if len(set(categories.values())) != CATEGORIES:
        raise CocoError(f"{path}: {len(set(categories.values()))} categories instead of COCO's {CATEGORIES}")
    images = _table(content, "images", path)
    names = [within(_image(image, path), folder.name) for image in images.values()]
    digest.update("".join(_sizes(folder, names, path)).encode())
    objects = _table(content, "annotations", path, least=1)  # COCO's evaluation takes the id 0 for "no match"
    findings = Findings()
    for id, entry in objects.items():
        with findings.collected():
            _check(entry, images, categories, f"{path}: annotation {id}")
    if findings.flaws:
        raise CocoError(*findings.flaws)
    classes = [entry["category_id"] for entry in objects.values() if not entry.get("iscrowd", 0)]
    if not classes:  # COCO's evaluation would find no AP
        raise CocoError(f"{path}: no object that is not a crowd")
    return Split(path, categories, frozenset(names), len(classes), frozenset(classes), digest.hexdigest())


def _parse(path: Path) -> tuple[object, hashlib._Hash]:
    """Return the file's content and the SHA-256 of its bytes; like detectron2, accept no byte order mark."""
    try:
        raw = path.read_bytes()
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant), hashlib.sha256(raw)
    except OSError as error:
        raise CocoError(f"{path}: unreadable: {error.strerror}") from None
    except RecursionError:
        raise CocoError(f"{path}: malformed JSON: nested too deeply") from None
    except ValueError as error:
        raise CocoError(f"{path}: malformed JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _table(content: object, key: str, path: Path, least: int = 0) -> dict[int, Entry]:
    """Return id → entry of one of the file's lists."""
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise CocoError(f"{path}: no list of {key}")
    table: dict[int, Entry] = {}
    for entry in entries:
        id = entry.get("id") if isinstance(entry, dict) else None
        if type(id) is not int or not least <= id <= MOST:
            raise CocoError(f"{path}: an entry of {key} has the id {shown(id)}, a whole number was expected")
        if id in table:
            raise CocoError(f"{path}: the id {id} is twice in {key}")
        table[id] = entry
    return table


def _is_whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most  # JSON's true is an int to isinstance


def _printable(entry: Entry, key: str, path: Path) -> str:
    """Return a field's text, which must be printable: JSON can hold half a surrogate pair, which cannot be encoded."""
    text = entry.get(key)
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise CocoError(f"{path}: id {entry['id']}: {key} is {shown(text)}, a text was expected")
    return text


def _image(entry: Entry, path: Path) -> str:
    name = _printable(entry, "file_name", path)
    for side in ("width", "height"):
        if not _is_whole(entry.get(side), 1, SIDE):
            raise CocoError(f"{path}: image {shown(name)}: {side} is {shown(entry.get(side))}, pixels were expected")
    return name


def _sizes(folder: Path, names: Sequence[str], path: Path) -> Iterator[str]:
    """Yield a line with name and size in bytes of each image, from one listing of the folder."""
    try:
        with os.scandir(folder) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries}
    except OSError as error:
        raise CocoError(f"{folder}: unreadable: {error.strerror}") from None
    for name in names:
        if not sizes.get(name):
            state = "empty" if name in sizes else "missing"
            hint = f", whose names are relative to {folder.name}" if "/" in name else ""
            raise CocoError(f"{folder / name}: {state}, but listed in {path.name}{hint}")
        yield f"{name}\t{sizes.pop(name)}\n"  # gone: missing where it is listed again


def _check(entry: Entry, images: Mapping[int, Entry], categories: Mapping[int, str], where: str) -> None:
    for key, known in (("image_id", images), ("category_id", categories)):
        if type(entry.get(key)) is not int or entry[key] not in known:
            raise CocoError(f"{where}: {key} is {shown(entry.get(key))}, which the file does not list")
    if not _is_whole(entry.get("iscrowd", 0), 0, 1):  # where tools leave it out, everybody reads 0
        raise CocoError(f"{where}: iscrowd is {shown(entry['iscrowd'])}, 0 or 1 was expected")
    if entry.get("ignore", 0) != 0:
        raise CocoError(f"{where}: ignore is {shown(entry['ignore'])}, which detectron2 does not know")
    if not _are_numbers([entry.get("area")], 0, SIDE**2):
        raise CocoError(f"{where}: area is {shown(entry.get('area'))}, square pixels were expected")
    image = images[entry["image_id"]]
    _check_box(entry.get("bbox"), image["width"], image["height"], where)
    _check_mask(entry, image["width"], image["height"], where)


def _are_numbers(values: Sequence[Any], least: float, most: float) -> bool:
    """Return whether all values are numbers in the range; the parser has refused NaN."""
    return set(map(type, values)) <= {int, float} and least <= min(values) and max(values) <= most


def _check_box(box: object, width: int, height: int, where: str) -> None:
    if not (isinstance(box, list) and len(box) == 4 and _are_numbers(box, -SIDE, SIDE)):
        raise CocoError(f"{where}: bbox is {shown(box)}, x y width height in pixels were expected")
    x, y, wide, high = box
    text = f"bbox {x:g} {y:g} {wide:g} {high:g}"
    # train2017 has two boxes without height (cocoapi issue 355), which detectron2 leaves out
    if min(wide, high) < 0 or max(wide, high) == 0:
        raise CocoError(f"{where}: {text} has no area")
    if min(x, y) < -SLACK or x + wide > width + SLACK or y + high > height + SLACK:
        raise CocoError(f"{where}: {text} leaves the image, {width}x{height}")


def _check_mask(entry: Entry, width: int, height: int, where: str) -> None:
    mask = entry.get("segmentation")
    if entry.get("iscrowd", 0) and isinstance(mask, dict):
        if not _is_rle(mask, width, height):
            raise CocoError(f"{where}: segmentation is {shown(mask)}, an uncompressed RLE of the image was expected")
    elif not (isinstance(mask, list) and mask and all(_is_polygon(part, max(width, height)) for part in mask)):
        raise CocoError(f"{where}: segmentation is {shown(mask)}, a list of polygons was expected")
    elif len(mask[0]) < 6:  # COCO's evaluation would take it for a box; detectron2 leaves out such a one farther on
        raise CocoError(f"{where}: segmentation begins with {len(mask[0])} coordinates, at least 6 were expected")


def _is_rle(mask: Entry, width: int, height: int) -> bool:
    counts, size = mask.get("counts"), mask.get("size")
    whole = isinstance(counts, list) and all(_is_whole(count, 0, width * height) for count in counts)
    return whole and size == [height, width] and sum(mask["counts"]) == width * height


def _is_polygon(part: object, side: int) -> bool:
    """Return whether a part is pairs of numbers near the image: drawing a polygon takes memory in proportion to it."""
    return isinstance(part, list) and part != [] and len(part) % 2 == 0 and _are_numbers(part, -side, 2 * side)
