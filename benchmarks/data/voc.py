"""A reader of Pascal VOC folders (layout of the VOC2007 devkit), which refuses a folder if any part is unusable."""

import hashlib
import math
import unicodedata
import warnings
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shown

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from PIL import Image

Box = tuple[float, float, float, float]

LISTS = Path("ImageSets", "Main")
IMAGES = "JPEGImages"
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow has Ghostscript run what calls itself EPS
EXIF_ORIENTATION = 0x0112
EXIF_SIDEWAYS = (5, 6, 7, 8)  # the orientations that swap width and height


class VocError(ValueError):
    """A VOC folder that cannot be used; the message names the file and what is wrong with it, in one line."""


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
    """A checked data set: its images decode, its boxes lie inside, its classes can be learnt and scored."""

    folder: Path
    classes: tuple[str, ...]  # sorted; all that are named in train, and test names no other
    train: tuple[Record, ...]
    test: tuple[Record, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both splits' records in order; a copy of the folder elsewhere has the same one."""
        lines = [r.digest for r in self.train] + ["test"] + [r.digest for r in self.test]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def images(self) -> tuple[int, int]:
        """Number of train and of test images."""
        return len(self.train), len(self.test)

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


def read(folder: Path) -> Voc:
    """Read and check both splits of a folder; raise VocError, one line that names the file.

    The test split is test.txt or else val.txt; for the train split see `train_lists`.
    """
    return check(folder, read_split(folder, *train_lists(folder)), read_split(folder, "test", "val"))


def train_lists(folder: Path) -> tuple[str, str]:
    """Return the names of the lists of train images, of which the first one that exists counts.

    With a test.txt it is trainval.txt or else train.txt. Without one, val.txt is the test split, which VOC's own
    trainval.txt contains, so that train.txt comes first.
    """
    return ("trainval", "train") if (folder / LISTS / "test.txt").is_file() else ("train", "trainval")


def train_images(folder: Path, images: Path) -> list[Path]:
    """Return the files in `images` that `read` trains on, unopened; none where only test images are listed.

    Where there is no list of a split at all, every file of `images` is returned.
    """
    lists = [folder / LISTS / f"{name}.txt" for name in train_lists(folder)]
    for path in lists:
        if path.is_file():
            return [_image(images, id) for id in dict.fromkeys(_ids(path))]
    tested = any((folder / LISTS / f"{name}.txt").is_file() for name in ("test", "val"))
    return [] if tested or not images.is_dir() else visible_files(images)


def visible_files(folder: Path) -> list[Path]:
    """Return the files of a folder itself, without hidden ones."""
    return [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]


def check(folder: Path, train: tuple[Record, ...], test: tuple[Record, ...]) -> Voc:
    """Return both splits as a data set; raise VocError if they share an image or one of them lacks a class."""
    shared = {r.id for r in train} & {r.id for r in test}
    if shared:
        raise VocError(f"{folder}: image {min(shared)!r} is in train and in test")
    learnt = Counter(label for r in train for label in r.labels)
    if not learnt:
        raise VocError(f"{folder}: the train split has no objects")
    for record in test:
        for label in record.labels:
            if label not in learnt:
                raise VocError(f"{folder}: class {shown(label)} of test image {record.id!r} is missing in train")
    # detectron2's evaluator divides by this count: without the check the AP of every class becomes NaN
    scored = {label for r in test for label, hard in zip(r.labels, r.difficult, strict=True) if not hard}
    for label in sorted(learnt):
        if label not in scored:
            raise VocError(f"{folder}: class {shown(label)} has no object in test that is not marked difficult")
    return Voc(folder, tuple(sorted(learnt)), train, test)


def read_split(folder: Path, *names: str) -> tuple[Record, ...]:
    """Return the records of the first of ImageSets/Main/{names}.txt that exists, in the file's order."""
    if not folder.is_dir():
        raise VocError(f"{folder}: no such folder")
    lists = [folder / LISTS / f"{name}.txt" for name in names]
    for path in lists:
        if path.is_file():
            return tuple(_record(folder, id) for id in _ids(path))
    raise VocError(f"{lists[0]}: missing" + "".join(f", and so is {path.name}" for path in lists[1:]))


def _ids(path: Path) -> list[str]:
    ids = _lines(path)
    if not ids:
        raise VocError(f"{path}: no image is listed")
    for id, count in Counter(ids).items():
        if count > 1:
            raise VocError(f"{path}: image {id!r} is listed {count} times")
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


def _record(folder: Path, id: str) -> Record:
    jpeg = _image(folder / IMAGES, id)
    files = [folder / "Annotations" / f"{name}.xml" for name in spellings(id)]
    path = next((file for file in files if file.is_file()), files[0])
    root, raw = _parse(path)
    size = root.find("size")
    if size is None:
        raise VocError(f"{path}: no <size>")
    width, height = (_whole(_number(size, tag, path), tag, path) for tag in ("width", "height"))
    _check_image(jpeg, width, height)
    objects = [_object(node, width, height, path) for node in root.findall("object")]
    digest = hashlib.sha256(f"{id}\n{jpeg.stat().st_size}\n".encode() + raw).hexdigest()
    boxes, labels, difficult = zip(*objects, strict=True) if objects else ((), (), ())
    return Record(id, jpeg, width, height, boxes, labels, difficult, digest)


def _image(folder: Path, id: str) -> Path:
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


def _parse(path: Path) -> tuple[ET.Element, bytes]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise VocError(f"{path}: unreadable: {error.strerror}") from None
    try:
        return fromstring(raw, forbid_dtd=True), raw  # a document type can define entities without bound
    except DefusedXmlException:
        raise VocError(f"{path}: a document type or an entity: not a Pascal VOC annotation") from None
    except (ET.ParseError, LookupError, ValueError) as error:
        raise VocError(f"{path}: malformed XML: {error}") from None


def _check_image(path: Path, width: int, height: int) -> None:
    """Decode the whole image, since a truncated file opens without an error."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            image.load()
            size = image.size
            sideways = image.getexif().get(EXIF_ORIENTATION) in EXIF_SIDEWAYS
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them into
        raise VocError(f"{path}: not a readable image: {' '.join(str(error).split())}") from None
    size, turned = (size[::-1], " once turned by its EXIF orientation") if sideways else (size, "")
    if size != (width, height):
        raise VocError(f"{path}: {size[0]}x{size[1]} px{turned}, but its XML says {width}x{height}")


def _object(node: ET.Element, width: int, height: int, path: Path) -> tuple[Box, str, bool]:
    label = (node.findtext("name") or "").strip()
    frame = node.find("bndbox")
    if not label or frame is None:
        raise VocError(f"{path}: an object without {'<bndbox>' if label else '<name>'}")
    box = _box(frame, width, height, f"{path}: object {shown(label)}")
    # strangers' files often lack it: VOC's meaning of absence is "not difficult"
    difficult = (node.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise VocError(f"{path}: object {shown(label)}: <difficult> is {shown(difficult)}, 0 or 1 was expected")
    return box, label, difficult == "1"


def _box(frame: ET.Element, width: int, height: int, where: str) -> Box:
    """Return the edges of a box from VOC's corners, which count from 1, include both ends and must lie in the image."""
    x0, y0, x1, y1 = (_number(frame, tag, where) for tag in ("xmin", "ymin", "xmax", "ymax"))
    shown = f"box {x0:g} {y0:g} {x1:g} {y1:g}"
    if x1 <= x0 or y1 <= y0:
        raise VocError(f"{where}: {shown} is inverted or has no area")
    if x0 < 1 or y0 < 1 or x1 > width or y1 > height:
        raise VocError(f"{where}: {shown} leaves the image, 1 1 {width} {height}")
    return x0 - 1, y0 - 1, x1, y1


def _number(node: ET.Element, tag: str, where: Path | str) -> float:
    text = node.findtext(tag)
    if text is None:
        raise VocError(f"{where}: no <{tag}>")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise VocError(f"{where}: <{tag}> is {shown(text.strip())}, a number was expected")
    return value


def _whole(value: float, tag: str, where: Path) -> int:
    if value != int(value) or value < 1:
        raise VocError(f"{where}: <{tag}> is {value:g}, a whole number of pixels was expected")
    return int(value)
