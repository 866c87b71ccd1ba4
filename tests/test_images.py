"""Which images a backbone is pre-trained on: all of a folder, of a benchmark's folder the train images alone."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.data import coco
from benchmarks.data.voc import VocError, read
from harness.cli import main
from harness.engine.images import list_images, refuse_test_images, shared_images
from tests.pictures import Objects, coco_folder, photos, voc_folder

CAT: Objects = [("cat", 5, 6, 20, 25)]


def voc(folder: Path, **splits: Sequence[str]) -> Path:
    """A VOC folder with one cat in every image."""
    return voc_folder(folder, **{split: dict.fromkeys(ids, CAT) for split, ids in splits.items()})


def names(folder: Path) -> list[str]:
    return [file.name for file in list_images(folder)]


def test_of_a_vocdevkit_the_train_images_alone_are_pre_trained_on(tmp_path: Path) -> None:
    voc(tmp_path / "VOC2007", trainval=["a"], test=["t"])
    photos(voc(tmp_path / "VOC2012", trainval=["x"]) / "SegmentationClass", 1)
    voc(tmp_path / "VOC2010", test=["u"])
    assert names(tmp_path) == ["a.jpg", "x.jpg"]
    assert names(tmp_path / "VOC2007" / "JPEGImages") == ["a.jpg"]
    with pytest.raises(ValueError, match=r"VOC2010: no images to pre-train on .* its train split"):
        list_images(tmp_path / "VOC2010")


def test_of_a_coco_folder_the_train_images_alone_are_pre_trained_on(tmp_path: Path) -> None:
    folder = coco_folder(tmp_path / "deep" / "coco")
    train = sorted(coco.read(folder).train.names)
    assert names(folder) == names(tmp_path) == train
    assert {file.parent.name for file in list_images(folder)} == {"train2017"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_both_sides_read_one_name_a_line(tmp_path: Path, encoding: str) -> None:
    ids = ["my photo 1", "my photo 2", unicodedata.normalize("NFD", "café"), "b.c"]
    folder = voc(tmp_path / "voc", train=ids, val=["v"])
    composed = "".join(unicodedata.normalize("NFC", id) + "\n" for id in ids)
    (folder / "ImageSets/Main/train.txt").write_text(composed, encoding=encoding)
    assert set(list_images(folder)) == {record.jpeg for record in read(folder).train}
    assert len(list_images(folder)) == 4


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        (b"a\ngone\n", "JPEGImages/gone.jpg: missing, but listed"),
        (b"a.jpg\n", "'a.jpg' has a suffix"),
        ("a\n".encode("utf-16"), "train.txt: unreadable"),
    ],
)
def test_a_listed_image_that_cannot_be_taken_is_refused_on_both_sides(tmp_path: Path, listed: bytes, says: str) -> None:
    folder = voc(tmp_path / "voc", train=["a", "b"], val=["v"])
    (folder / "ImageSets/Main/train.txt").write_bytes(listed)
    for side in (list_images, read):
        with pytest.raises(VocError, match=says):
            side(folder)


def test_test_images_are_counted_by_their_content_and_refused_unless_allowed(tmp_path: Path) -> None:
    images = photos(tmp_path / "images", 4)
    (tmp_path / "test").mkdir()
    same, other = tmp_path / "test" / "renamed.jpg", tmp_path / "test" / "other.jpg"
    same.write_bytes(images[2].read_bytes())
    changed = bytearray(images[1].read_bytes())
    changed[-3] ^= 1  # of the same size
    other.write_bytes(changed)
    assert shared_images(images, [other, same]) == {images[2]: same}
    assert refuse_test_images(images, [other], False).startswith("0 of the 4 images to pre-train on are among the 1 ")
    with pytest.raises(ValueError, match=r"1 of the 4 .*2\.jpg is .*renamed\.jpg.*--allow-test-images"):
        refuse_test_images(images, [other, same], False)
    assert refuse_test_images(images, [other, same], True).startswith("1 of the 4 images")
    assert "not known" in refuse_test_images(images, [], False)


def test_a_run_on_test_images_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = voc(tmp_path / "voc", train=["a", "b"], val=["v"])
    photos(tmp_path / "mine", 2)
    os.link(folder / "JPEGImages/v.jpg", tmp_path / "mine" / "copy.jpg")
    line = ["--data", str(tmp_path / "mine"), "--benchmark", "voc-folder", "--benchmark-data", str(folder)]
    results = tmp_path / "results"
    assert main(["run", "--strategy", "location", *line, "--device", "cpu", "--results", str(results)]) == 2
    assert "1 of the 3 images to pre-train on are among the 1 test images" in capsys.readouterr().err
    assert not results.exists()
