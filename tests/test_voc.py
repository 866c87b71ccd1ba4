"""A Pascal VOC folder is read exactly, and any flaw in it is one line that names the file."""

import random
import re
import shutil
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.data.voc import VocError, read
from benchmarks.voc_folder import VocFolder
from harness.engine.images import list_images
from tests.pictures import Objects, spoilt, voc_folder, voc_xml

TRAIN: dict[str, Objects] = {"a": [("dog", 1, 1, 20, 30)], "b": [("cat", 5, 6, 40, 30)], "empty": []}
TEST: dict[str, Objects] = {"c d": [("cat", 2, 3, 10, 11), ("dog", 11, 3, 30, 30)]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return voc_folder(tmp_path / "voc", trainval=TRAIN, test=TEST)


def test_reads_both_splits_with_boxes_by_their_edges(folder: Path) -> None:
    voc = read(folder)
    assert voc.classes == ("cat", "dog")
    assert [r.id for r in voc.train] == ["a", "b", "empty"]
    assert voc.train[0].boxes == ((0.0, 0.0, 20.0, 30.0),)
    assert (voc.train[2].boxes, voc.train[2].labels) == ((), ())
    (test,) = voc.test
    assert (test.id, test.width, test.height) == ("c d", 40, 30)
    assert test.boxes == ((1.0, 2.0, 10.0, 11.0), (10.0, 2.0, 30.0, 30.0))
    assert (test.labels, test.difficult) == (("cat", "dog"), (False, False))
    assert voc.summary == ("3 train images with 2 objects, 1 test images with 2 objects, 2 classes: cat, dog")


def change(folder: Path, id: str, old: str, new: str) -> object:
    path = folder / "Annotations" / f"{id}.xml"
    assert old in path.read_text()
    return path.write_text(path.read_text().replace(old, new))


def test_reads_fractions_and_difficult_objects_as_written(folder: Path) -> None:
    change(folder, "a", "<xmax>20</xmax>", "<xmax>20.0</xmax>")
    change(folder, "b", "<xmin>5</xmin>", "<xmin>5.25</xmin>")
    change(folder, "b", "<bndbox>", "<difficult>1</difficult><bndbox>")
    voc = read(folder)
    assert voc.train[0].boxes[0][2] == 20.0
    assert voc.train[1].boxes[0][0] == 4.25
    assert voc.train[1].difficult == (True,)


def test_a_list_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    (folder / "ImageSets/Main/trainval.txt").write_text("a\nb\n", encoding="utf-8-sig")
    assert [r.id for r in read(folder).train] == ["a", "b"]


@pytest.mark.parametrize(
    "names", ["trainval test", "train test", "train trainval test", "train val", "train val trainval"]
)
def test_a_backbone_is_pre_trained_on_the_images_that_a_detector_is_trained_on(names: str, tmp_path: Path) -> None:
    objects: Objects = [("cat", 5, 6, 40, 30)]
    lists = {"train": ["a b"], "val": ["c"], "trainval": ["a b", "c"], "test": ["d"]}
    folder = voc_folder(tmp_path / "voc", **{name: dict.fromkeys(lists[name], objects) for name in names.split()})
    for file in (folder / "ImageSets/Main").iterdir():
        file.write_text(file.read_text(), encoding="utf-8-sig")
    assert [file.stem for file in list_images(folder)] == [record.id for record in read(folder).train]


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_of_another_colour_mode_is_legal(folder: Path, mode: str) -> None:
    Image.new(mode, (40, 30)).save(folder / "JPEGImages/a.jpg")
    assert len(read(folder).train) == 3


def turned(folder: Path, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", size).save(folder / "JPEGImages/a.jpg", exif=exif)


def test_the_size_is_that_after_the_exif_rotation(folder: Path) -> None:
    turned(folder, (30, 40))
    assert read(folder).train[0].width == 40
    turned(folder, (40, 30))
    with pytest.raises(VocError, match="30x40 px once turned by its EXIF orientation, but its XML says 40x"):
        read(folder)


@pytest.mark.parametrize(
    ("present", "train", "test"),
    [
        (("trainval", "train", "val", "test"), "trainval", "test"),
        (("train", "val", "test"), "train", "test"),
        (("trainval", "train", "val"), "train", "val"),
    ],
)
def test_which_lists_make_the_splits(tmp_path: Path, present: Sequence[str], train: str, test: str) -> None:
    objects = [("dog", 1, 1, 20, 30)]
    voc = read(voc_folder(tmp_path / "voc", **{name: {name: objects} for name in present}))
    assert ([r.id for r in voc.train], [r.id for r in voc.test]) == ([train], [test])


def test_the_fingerprint_follows_the_content_not_the_place(folder: Path, tmp_path: Path) -> None:
    first = read(folder).fingerprint
    assert read(shutil.copytree(folder, tmp_path / "elsewhere")).fingerprint == first
    seen = {first}
    change(folder, "a", "<xmax>20</xmax>", "<xmax>21</xmax>")
    seen.add(read(folder).fingerprint)
    Image.effect_noise((40, 30), 90).save(folder / "JPEGImages/a.jpg")
    seen.add(read(folder).fingerprint)
    (folder / "ImageSets/Main/trainval.txt").write_text("b\na\n")
    seen.add(read(folder).fingerprint)
    change(folder, "c d", "<xmin>2</xmin>", "<xmin>3</xmin>")
    seen.add(read(folder).fingerprint)
    assert len(seen) == 5


def cut(folder: Path, bytes: int) -> None:
    path = folder / "JPEGImages/a.jpg"
    Image.effect_noise((40, 30), 90).save(path)
    path.write_bytes(path.read_bytes()[:bytes])


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def box(x0: float, y0: float, x1: float, y1: float) -> Callable[[Path], object]:
    text = voc_xml([("dog", x0, y0, x1, y1)])
    return write("Annotations/a.xml", text)


FLAWS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "voc: no such folder"),
    "no lists": (lambda f: shutil.rmtree(f / "ImageSets"), "Main/train.txt: missing, and so is trainval.txt"),
    "no test list": (lambda f: (f / "ImageSets/Main/test.txt").unlink(), "test.txt: missing, and so is val"),
    "empty list": (write("ImageSets/Main/test.txt", "\n"), "test.txt: no image is listed"),
    "a path": (write("ImageSets/Main/test.txt", "../a\n"), "test.txt: '../a' is a path"),
    "not text": (lambda f: (f / "ImageSets/Main/test.txt").write_bytes(b"\xff\xfe"), "test.txt: unreadable"),
    "in both": (write("ImageSets/Main/test.txt", "a\n"), "image 'a' is in train and in test"),
    "no jpeg": (lambda f: (f / "JPEGImages/a.jpg").unlink(), "JPEGImages/a.jpg: missing, but listed"),
    "no xml": (lambda f: (f / "Annotations/a.xml").unlink(), "Annotations/a.xml: unreadable: No such file"),
    "broken xml": (write("Annotations/a.xml", "<annotation>"), "a.xml: malformed XML: no element found"),
    "encoding": (write("Annotations/a.xml", '<?xml version="1.0" encoding="no"?><a/>'), "a.xml: malformed"),
    "entities": (write("Annotations/a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'), "a.xml: a document"),
    "hidden": (
        lambda f: (f / "Annotations/a.xml").write_bytes("<!DOCTYPE a><a/>".encode("utf-16")),
        "a.xml: a document type or an entity",
    ),
    "no size": (write("Annotations/a.xml", "<annotation/>"), "a.xml: no <size>"),
    "no width": (lambda f: change(f, "a", "width", "wide"), "a.xml: no <width>"),
    "half a pixel": (lambda f: change(f, "a", ">40<", ">40.5<"), "a.xml: <width> is 40.5, a whole number"),
    "no name": (lambda f: change(f, "a", "name>", "label>"), "a.xml: an object without <name>"),
    "no box": (lambda f: change(f, "a", "bndbox", "polygon"), "a.xml: an object without <bndbox>"),
    "no corner": (lambda f: change(f, "a", "xmax", "right"), "a.xml: object 'dog': no <xmax>"),
    "no number": (lambda f: change(f, "a", ">20<", ">nan<"), "object 'dog': <xmax> is 'nan', a number"),
    "difficult": (
        lambda f: change(f, "a", "<bndbox>", "<difficult>yes</difficult><bndbox>"),
        "a.xml: object 'dog': <difficult> is 'yes', 0 or 1",
    ),
    "inverted": (box(20, 1, 10, 30), "a.xml: object 'dog': box 20 1 10 30 is inverted"),
    "outside": (box(41, 1, 50, 30), "a.xml: object 'dog': box 41 1 50 30 lies outside of the image, 1 1 40 30"),
    "zero bytes": (lambda f: cut(f, 0), "JPEGImages/a.jpg: not a readable image"),
    "truncated": (lambda f: cut(f, 600), "JPEGImages/a.jpg: not a readable image: image file is truncated"),
    "other size": (write("Annotations/a.xml", voc_xml([], 41, 30)), "a.jpg: 40x30 px, but its XML says 41x30"),
    "class not learnt": (
        lambda f: change(f, "c d", ">cat<", ">cow<"),
        "class 'cow' of test image 'c d' is missing in train",
    ),
    "no class scored": (
        lambda f: change(f, "c d", "<bndbox>", "<difficult>1</difficult><bndbox>"),
        "class 'cat' has no object in test that is not marked difficult",
    ),
    "nothing to learn": (write("ImageSets/Main/trainval.txt", "empty\n"), "the train split has no objects"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_is_one_line_that_names_it(folder: Path, flaw: str) -> None:
    spoil, message = FLAWS[flaw]
    spoil(folder)
    with pytest.raises(VocError) as error:
        read(folder)
    assert message in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


# what real folders have: how it comes, a note, and what strict=True says; the corners are VOC's own
SMALL_FLAWS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "from zero": (
        box(0, 5, 40, 30),
        "mended: 1 boxes that begin before 1",
        "box 0 5 40 30 leaves the image, 1 1 40 30",
    ),
    "a fraction": (box(0.5, 5, 40, 30), "mended: 1 boxes that begin before 1", "box 0.5 5 40 30 leaves the image"),
    "over the edge": (box(1, 1, 41, 30), "mended: 1 boxes that reach over", "box 1 1 41 30 leaves the image"),
    "listed twice": (
        write("ImageSets/Main/trainval.txt", "a\nb\na\nempty\n"),
        "mended: 1 images that a list names more than once",
        "trainval.txt: image 'a' is listed 2 times",
    ),
    "no size": (
        lambda f: change(f, "a", "<width>40</width><height>30<", "<width>0</width><height>0<"),
        "mended: 1 annotations whose size is 0",
        "a.xml: the size is 0x0",
    ),
    "class not scored": (
        lambda f: change(f, "c d", ">cat<", ">dog<"),
        "AP over 1 of 2 classes: no test object that is not difficult of cat",
        "class 'cat' has no object in test that is not marked difficult",
    ),
}


@pytest.mark.parametrize("flaw", SMALL_FLAWS)
def test_a_small_flaw_of_a_real_folder_is_mended_told_and_refused_only_if_strict(folder: Path, flaw: str) -> None:
    spoil, note, strictly = SMALL_FLAWS[flaw]
    sound = read(folder, strict=True)
    assert sound.notes == []
    spoil(folder)
    voc = read(folder)
    (told,) = VocFolder().notes(voc)
    assert told.startswith(note)
    assert voc.fingerprint != sound.fingerprint
    assert [record.id for record in voc.train] == ["a", "b", "empty"]
    assert (voc.train[0].width, voc.train[0].height) == (40, 30)
    with pytest.raises(VocError, match=re.escape(strictly)):
        VocFolder(strict=True).prepare(folder, folder)


@pytest.mark.parametrize(
    ("corners", "edges"),
    [
        ((7, 7, 7, 7), (6, 6, 7, 7)),
        ((20, 1, 20, 30), (19, 0, 20, 30)),
        ((0, 5, 40, 30), (0, 4, 40, 30)),
        ((0, 0.5, 13.25, 30), (0, 0, 13.25, 30)),
        ((-3, 5, 41, 99), (0, 4, 40, 30)),
    ],
)
def test_corners_are_mended_by_the_least_change(
    folder: Path, corners: tuple[float, float, float, float], edges: tuple[float, float, float, float]
) -> None:
    box(*corners)(folder)
    assert read(folder).train[0].boxes == (edges,)


def test_an_image_may_be_a_png(folder: Path) -> None:
    Image.open(folder / "JPEGImages/a.jpg").save(folder / "JPEGImages/a.png")
    (folder / "JPEGImages/a.jpg").unlink()
    voc = read(folder, strict=True)
    assert voc.train[0].jpeg.name == "a.png"
    assert voc.notes == []


@pytest.mark.parametrize("encoding", ["GB2312", "gbk", "iso-8859-1", "UTF-16"])
def test_an_annotation_is_read_in_the_encoding_that_it_declares(folder: Path, encoding: str) -> None:
    label = "caf\xe9" if encoding == "iso-8859-1" else "\u732b"
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + voc_xml([(label, 1, 1, 20, 30), ("dog", 1, 1, 20, 30)])
    (folder / "Annotations/a.xml").write_bytes(text.encode(encoding))
    assert read(folder).train[0].labels == (label, "dog")


def test_all_flaws_are_named_at_once_the_first_ten_and_their_count(tmp_path: Path) -> None:
    ids = [f"{number:02}" for number in range(12)]
    objects: Objects = [("dog", 9, 1, 3, 30), ("dog", 1, 1, 20, 30), ("dog", 1, 9, 20, 3)]
    folder = voc_folder(tmp_path / "voc", train=dict.fromkeys(ids, objects), val={"v": [("cat", 1, 1, 9, 9)]})
    (folder / "JPEGImages/03.jpg").write_bytes(b"")
    with pytest.raises(VocError) as error:
        read(folder)
    assert len(error.value.flaws) == 2 * 11 + 1
    assert str(error.value).startswith("23 flaws: ")
    assert str(error.value).endswith("; and 13 more")
    assert "03.jpg: not a readable image" in str(error.value)
    assert str(error.value).count(" is inverted") == 9


ODD = ["", " ", "nan", "-inf", "1e308", "9" * 5000, "1_0", "0x1F", "١٢", "-1", "0", "12.5", "a\nb", "&", "d\u0301"]


def mutated(text: str, chance: random.Random) -> bytes:
    """An annotation with one element dropped, doubled, renamed, filled otherwise or put into another."""
    root = ET.fromstring(text)
    parent, child = chance.choice([(parent, child) for parent in root.iter() for child in parent])
    kind = chance.randrange(5)
    if kind == 0:
        parent.remove(child)
    elif kind == 1:
        parent.append(child)
    elif kind == 2:
        child.tag = chance.choice(["object", "size", "name", "bndbox", "other"])
    elif kind == 3:
        child.append(parent[0] if parent[0] is not child else ET.Element("name"))
    else:
        child.text = chance.choice(ODD)
    return ET.tostring(root)


def test_three_hundred_mutated_annotations_are_read_or_refused(folder: Path) -> None:
    path, chance = folder / "Annotations/a.xml", random.Random(0)
    sound, refusals = path.read_bytes(), []
    for number in range(300):
        path.write_bytes(mutated(sound.decode(), chance) if number % 2 else spoilt(sound, chance, b"<object>"))
        start = time.process_time()
        try:
            read(folder)
        except VocError as error:
            refusals.append(str(error))
        assert time.process_time() - start < 2
    assert 150 < len(refusals) < 300
    assert max(map(len, refusals)) < 500
    assert not any("\n" in refusal for refusal in refusals)
