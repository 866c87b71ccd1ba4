"""`harness data check` names all flaws of a folder at once, and counts and draws what is in it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.data import coco
from harness.cli import main
from tests.pictures import coco_folder, photos, voc_folder


def test_a_voc_folder_is_counted_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cat, dog = ("cat", 0, 5, 20, 25), ("dog", 1, 1, 9, 9)
    folder = voc_folder(tmp_path / "voc", train={"a": [cat, dog], "b": [cat]}, val={"v": [cat]})
    sheet = tmp_path / "sheet.png"
    assert main(["data", "check", str(folder), "--sheet", str(sheet)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Pascal VOC: 2 train images with 3 objects, 1 test images with 1 objects, 2 classes: cat, dog",
        "cat: 2 objects in train, 1 in test",
        "dog: 1 objects in train, 0 in test",
        "images of 40 to 40 px in width and 30 to 30 px in height",
        "mended: 3 boxes that begin before 1, VOC's first pixel, moved there",
        "AP over 1 of 2 classes: no test object that is not difficult of dog",
        f"drawn: {sheet}",
        "no flaw",
    ]
    with Image.open(sheet) as drawn:
        assert drawn.size == (768, 384)
    assert main(["data", "check", str(folder), "--strict"]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("leaves the image") == len(captured.out.splitlines()) == 3
    assert captured.err == f"harness: {folder}: 3 flaws, named above\n"


def test_all_flaws_of_a_coco_folder_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = coco_folder(tmp_path / "coco")
    assert main(["data", "check", str(folder), "--sheet", str(tmp_path / "sheet.jpg")]) == 0
    assert "80 classes" in capsys.readouterr().out
    file = coco.listing(folder, "train2017")
    content = json.loads(file.read_text())
    for each in content["annotations"][:3]:
        each["bbox"] = [0, 0, -1, 5]
    file.write_text(json.dumps(content))
    assert main(["data", "check", str(folder)]) == 2
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_every_image_of_a_pre_training_folder_is_decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in photos(tmp_path / "photos", 5)[:2]:
        file.write_bytes(file.read_bytes()[:400])
    assert main(["data", "check", str(tmp_path / "photos"), "--sheet", str(tmp_path / "sheet.png")]) == 2
    first, sizes, *flaws, drawn = capsys.readouterr().out.splitlines()
    assert first == "5 images to pre-train on: 5 .jpg"
    assert sizes == "images of 40 to 40 px in width and 30 to 30 px in height"
    assert [flaw.partition(": ")[0] for flaw in flaws] == [str(tmp_path / "photos" / f"{n}.jpg") for n in (0, 1)]
    assert drawn.startswith("drawn: ")
