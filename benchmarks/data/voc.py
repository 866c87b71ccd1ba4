"""A reader of Pascal VOC folders (layout of the VOC2007 devkit): it mends and counts what real folders often have.

It refuses a folder if any part is unusable, and then names all of its flaws.
"""

import hashlib
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from reprlib import repr as shown

from benchmarks.data.contents import BY_CONTENT, hashes
from benchmarks.data.flaws import DataError, Findings
from benchmarks.data.pixels import size_of
from benchmarks.data.voc_xml import Box, check_size, objects, parse
from benchmarks.data.voc_xml import VocError as VocError

LISTS = Path("ImageSets", "Main")
IMAGES = "JPEGImages"
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
LISTED_TWICE = "images that a list names more than once, taken once"


@dataclass(frozen=True)
class Record:
    """One image and its objects; the three tuples have one entry an object, none for an empty image."""

    id: str
    jpeg: Path
    width: int  # px, as detectron2 reads the image: after its EXIF rotation
    height: int  # px
    boxes: tuple[Box, ...]  # px, x0 y0 x1 y1 by their edges: VOC's xmin - 1, ymin - 1, xmax, ymax
    labels: tuple[str, ...]
    difficult: tuple[bool, ...]  # trained on, but neither missed nor found in the evaluation
    digest: str  # sha256 of the id, the image's size in bytes and the annotation


@dataclass(frozen=True)
class Voc:
    """A checked data set: its images decode, its boxes lie inside, its classes can be learnt."""

    folder: Path
    classes: tuple[str, ...]  # sorted; all that are named in train, and test names no other
    train: tuple[Record, ...]
    test: tuple[Record, ...]
    mended: tuple[str, ...] = ()  # a line for each kind of flaw
    contents: tuple[str, ...] = ()  # the SHA-256 of each image's file, train then test; none: their sizes identify them

    @property
    def fingerprint(self) -> str:
        """SHA-256 of records, images and what was mended; a copy elsewhere has the same one.

        It begins with BY_CONTENT where it covers what the images' files contain.
        """
        lines = [r.digest for r in self.train] + ["test"] + [r.digest for r in self.test] + [*self.mended]
        whole = hashlib.sha256("\n".join([*lines, *self.contents]).encode()).hexdigest()
        return (BY_CONTENT if self.contents else "") + whole

    def with_contents(self, cache: Path) -> "Voc":
        """Return it with the hashes of its images, which `cache` remembers."""
        return replace(self, contents=tuple(hashes([r.jpeg for r in (*self.train, *self.test)], cache)))

    @property
    def images(self) -> tuple[int, int]:
        """Number of train and of test images."""
        return len(self.train), len(self.test)

    @cached_property
    def unscored(self) -> tuple[str, ...]:
        """The classes without an object in test that is not difficult: learnt, but left out of the mean AP."""
        scored = {label for r in self.test for label, hard in zip(r.labels, r.difficult, strict=True) if not hard}
        return tuple(label for label in self.classes if label not in scored)

    @property
    def notes(self) -> list[str]:
        """What a reader of the scores must know: what was mended, and the classes that are not scored."""
        count = len(self.classes)
        left = f"AP over {count - len(self.unscored)} of {count} classes: no test object that is not difficult of "
        return [*self.mended, *([left + ", ".join(self.unscored)] if self.unscored else [])]

    @property
    def learnt(self) -> list[Path]:
        """The files of the train images."""
        return [record.jpeg for record in self.train]

    @property
    def tested(self) -> list[Path]:
        """The files of the test images."""
        return [record.jpeg for record in self.test]

    @property
    def summary(self) -> str:
        """One line: images, objects and classes."""
        objects = [sum(len(r.labels) for r in split) for split in (self.train, self.test)]
        return (
            f"{len(self.train)} train images with {objects[0]} objects, "
            f"{len(self.test)} test images with {objects[1]} objects, "
            f"{len(self.classes)} classes: {', '.join(self.classes)}"
        )


def read(folder: Path, strict: bool = False) -> Voc:
    """Read and check both splits of a folder; raise VocError, which names all flaws in one line.

    The test split is test.txt or else val.txt; for the train split see `train_lists`. With `strict` nothing is mended.
    """
    findings = Findings(strict)
    train = read_split(folder, findings, *train_lists(folder / LISTS))
    return check(folder, train, read_split(folder, findings, "test", "val"), findings)


def train_lists(lists: Path) -> tuple[str, str]:
    """Return the names of a folder's lists of train images, of which the first one that exists counts.

    With a test.txt it is trainval.txt or else train.txt. Without one, val.txt is the test split, which VOC's own
    trainval.txt contains, so that train.txt comes first.
    """
    return ("trainval", "train") if (lists / "test.txt").is_file() else ("train", "trainval")


def train_images(folder: Path, images: Path) -> list[Path]:
    """Return the files in `images` that `read` trains on, unopened; none where only test images are listed.

    Where there is no list of a split at all, every file of `images` is returned.
    """
    lists = [folder / LISTS / f"{name}.txt" for name in train_lists(folder / LISTS)]
    for path in lists:
        if path.is_file():
            return [image_of(images, id) for id in dict.fromkeys(listed(path))]
    tested = any((folder / LISTS / f"{name}.txt").is_file() for name in ("test", "val"))
    return [] if tested or not images.is_dir() else visible_files(images)


def visible_files(folder: Path) -> list[Path]:
    """Return the files of a folder itself, without hidden ones."""
    return [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]


def check(folder: Path, train: tuple[Record, ...], test: tuple[Record, ...], findings: Findings) -> Voc:
    """Return both splits as a data set; raise VocError for all flaws, those between the two splits included."""
    flaws = findings.flaws
    tested = {normal(r.id) for r in test}
    flaws += [f"{folder}: image {r.id!r} is in train and in test" for r in train if normal(r.id) in tested]
    learnt = Counter(label for r in train for label in r.labels)
    if not flaws and not learnt:
        flaws.append(f"{folder}: the train split has no objects")
    unlearnt = {label: r.id for r in reversed(test) for label in r.labels if label not in learnt}
    if not flaws:  # else an annotation with the class may be among those with a flaw
        flaws += [f"{folder}: class {shown(c)} of test image {id!r} is missing in train" for c, id in unlearnt.items()]
    voc = Voc(folder, tuple(sorted(learnt)), train, test, findings.mended)
    if not flaws and (findings.strict or len(voc.unscored) == len(voc.classes)):
        missing = "has no object in test that is not marked difficult"
        flaws += [f"{folder}: class {shown(label)} {missing}" for label in voc.unscored]
    if flaws:
        raise VocError(*flaws)
    return voc


def read_split(folder: Path, findings: Findings, *names: str) -> tuple[Record, ...]:
    """Return the records of the first of ImageSets/Main/{names}.txt that exists, in the file's order.

    Flaws of images and annotations enter the findings. Raises VocError if there is no list or nothing in it.
    """
    if not folder.is_dir():
        raise VocError(f"{folder}: no such folder")
    lists = [folder / LISTS / f"{name}.txt" for name in names]
    path = next((path for path in lists if path.is_file()), None)
    if path is None:
        raise VocError(f"{lists[0]}: missing" + "".join(f", and so is {path.name}" for path in lists[1:]))
    records = []
    ids = Counter(listed(path))
    for id, count in ids.items():
        if count > 1:
            findings.mend(LISTED_TWICE, f"{path}: image {id!r} is listed {count} times")
        with findings.collected():
            records.append(_record(folder, id, findings))
    return tuple(records)


def listed(path: Path) -> list[str]:
    """Return the names without suffix that a list has, one a line; VocError for none, and for a path among them."""
    ids = _lines(path)
    if not ids:
        raise VocError(f"{path}: no image is listed")
    for id in ids:
        if "/" in id or "\\" in id:
            raise VocError(f"{path}: {id!r} is a path, an image's name without suffix was expected")
    return ids


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in _decode(path).splitlines() if line.strip()]


def _decode(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise VocError(f"{path}: unreadable: {error}") from None


def _record(folder: Path, id: str, findings: Findings) -> Record:
    jpeg = image_of(folder / IMAGES, id)
    files = [folder / "Annotations" / f"{name}.xml" for name in spellings(id)]
    path = next((file for file in files if file.is_file()), files[0])
    root, raw = parse(path)
    size, turned = decoded(jpeg)
    check_size(root, size, path, f"{jpeg}: {size[0]}x{size[1]} px{turned}", findings)
    held = tuple(objects(root, size, path, findings))
    digest = hashlib.sha256(f"{id}\n{jpeg.stat().st_size}\n".encode() + raw).hexdigest()
    boxes, labels, difficult = zip(*held, strict=True) if held else ((), (), ())
    return Record(id, jpeg, *size, boxes, labels, difficult, digest)


def image_of(folder: Path, id: str) -> Path:
    """Return the file of an image that a list names; VocError if there is none."""
    for name in spellings(id):
        for suffix in SUFFIXES:
            if (folder / (name + suffix)).is_file():
                return folder / (name + suffix)
    if id.endswith(SUFFIXES):
        raise VocError(f"{folder / id}: {id!r} has a suffix, but ImageSets lists names without one")
    raise VocError(f"{folder / (id + SUFFIXES[0])}: missing, but listed in ImageSets")


def spellings(name: str) -> list[str]:
    """Return a name as it is written and in both of Unicode's normal forms: systems store accents in either."""
    return [*dict.fromkeys([name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))])]


def normal(name: str) -> str:
    """Return a name in Unicode's composed form, in which two spellings of it are equal."""
    return unicodedata.normalize("NFC", name)


def decoded(path: Path) -> tuple[tuple[int, int], str]:
    """Return what size_of says of an image that is decoded whole; VocError for one that cannot be."""
    try:
        return size_of(path)
    except DataError as error:
        raise VocError(*error.flaws) from None
