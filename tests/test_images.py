"""Which images a backbone is pre-trained on: all of a folder, of a benchmark's folder the train images alone."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import detection_utils
from PIL import Image

from benchmarks.data import coco
from benchmarks.data.voc import VocError, decoded, read
from benchmarks.detection.catalog import wide_pixels_scaled
from harness.cli import main
from harness.engine.images import find_images, list_images, refuse_test_images, shared_images
from harness.engine.provenance import fingerprint
from methods import views
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


def wide(folder: Path) -> Path:
    """A PNG of 16 bits with every 257th value once a row."""
    file = folder / "wide.png"
    Image.fromarray(np.linspace(0, 65535, 256)[None].repeat(64, 0).astype(np.uint16)).save(file)
    return file


def test_pixels_of_16_bits_are_scaled_alike_by_both_readers_where_pillow_clips_them(tmp_path: Path) -> None:
    levels = np.arange(256)
    assert (np.asarray(views.read(wide(tmp_path)))[0, :, 1] == levels).all()
    with wide_pixels_scaled():
        read = detection_utils.read_image(str(wide(tmp_path)), format="BGR")
    assert (read[5] == levels[:, None]).all()
    tiff = tmp_path / "wide.tif"
    Image.open(wide(tmp_path)).save(tiff)
    assert (np.asarray(views.read(tiff))[0, :, 0] == levels).all()


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_32_bits_are_refused_by_name_by_both_readers(tmp_path: Path, kind: type) -> None:
    file = tmp_path / "deep.tif"
    Image.fromarray(np.full((8, 8), 1000, kind)).save(file)
    with pytest.raises(views.BrokenImage, match=r"deep\.tif: .*of 32 bits, have no range"):
        views.read(file)
    with pytest.raises(VocError, match=r"deep\.tif: .*of 32 bits, have no range"):
        decoded(file)


def test_links_to_folders_are_followed_each_real_folder_once(tmp_path: Path) -> None:
    for part in ("ssd/a", "ssd/b", "in/c"):
        photos(tmp_path / part, 2)
    for name, target in {"b": "ssd/b", "a": "ssd/a", "also_a": "ssd/a", "c/loop": "in", "d": "in/c"}.items():
        (tmp_path / "in" / name).symlink_to(tmp_path / target)
    images, notes = find_images(tmp_path / "in")
    found = [str(file.relative_to(tmp_path / "in")) for file in images]
    assert found == [f"{folder}/{number}.jpg" for folder in ("a", "b", "c") for number in (0, 1)]
    assert notes == [f"links to folders that are taken already, left out: 3 ({tmp_path}/in/also_a)"]


def test_a_name_in_latin_1_is_read_and_has_a_fingerprint(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    folder = os.fsencode(tmp_path / "photos")
    os.rename(folder + b"/0.jpg", folder + b"/caf\xe9.jpg")
    images = list_images(tmp_path / "photos")
    assert len(fingerprint(images, tmp_path / "photos")) == 16
    assert views.read(images[0]).size == (40, 30)


def test_with_check_images_all_images_are_decoded_before_a_run_and_in_a_dry_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = coco_folder(tmp_path / "coco")
    images = photos(tmp_path / "photos", 2)
    cut = folder / "train2017" / "000000000003.jpg"
    for file in (cut, images[0]):
        file.write_bytes(file.read_bytes()[:-200])
    line = ["run", "--strategy", "location", "--data", str(tmp_path / "photos"), "--benchmark", "coco-fpn",
            "--benchmark-data", str(folder), "--set", "encoder=resnet50", "--device", "cpu", "--check-images",
            "--results", str(tmp_path / "results")]  # fmt: skip
    for more in ([], ["--dry-run"]):
        assert main([*line, *more]) == 2
        error = capsys.readouterr().err
        assert "2 flaws: " in error
        assert "photos/0.jpg: not a readable image" in error
        assert "train2017/000000000003.jpg: not a readable image" in error
    assert not (tmp_path / "results").exists()
