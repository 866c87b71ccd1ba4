"""A COCO folder of one's own is read in several layouts, with any categories, and scored as COCO scores."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from benchmarks.coco_folder import CocoFolder
from benchmarks.data import pixels
from benchmarks.data.coco import CocoError, listing
from benchmarks.data.coco_own import plain, read_own
from harness.cli import main
from methods.encoder import build_encoder
from tests.pictures import coco_folder

Listing = dict[str, Any]
SLIM: dict[str, Any] = {"sizes": (64,), "iterations": 2, "batch": 2, "channels": 16, "fc": 16, "warmup": 0}


def boxes_alone(content: Listing) -> None:
    """Leave out what tools leave out, with ids from 0 and a category that nothing is of."""
    content["annotations"] = [entry for entry in content["annotations"] if not entry["iscrowd"]]
    for number, entry in enumerate(content["annotations"]):
        for name in ("segmentation", "area", "iscrowd"):
            del entry[name]
        entry.update(id=number, category_id=1 + entry["category_id"] % 3)
    content["categories"] = [{"id": id, "name": f"part {id}"} for id in range(4)]


def edit(file: Path, change: Callable[[Listing], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in COCO's layout with boxes alone, of three classes."""
    made = coco_folder(tmp_path / "own")
    for split in ("train2017", "val2017"):
        edit(listing(made, split), boxes_alone)
    return made


def exported(folder: Path) -> None:
    """Lay a folder out as Roboflow exports it."""
    for old, new in (("train2017", "train"), ("val2017", "valid")):
        (folder / old).rename(folder / new)
        listing(folder, old).rename(folder / new / "_annotations.coco.json")


def under_images(folder: Path) -> None:
    """Lay the images below `images`, and name the splits train and val."""
    for old, new in (("train2017", "train"), ("val2017", "val")):
        (folder / "images").mkdir(exist_ok=True)
        (folder / old).rename(folder / "images" / new)
        listing(folder, old).rename(listing(folder, new))


def named_from_the_root(folder: Path) -> None:
    """Let the names of images begin at the root."""
    (folder / "photos").mkdir()
    for split in ("train2017", "val2017"):
        (folder / split).rename(folder / "photos" / split)
        edit(listing(folder, split), lambda found, split=split: [  # type: ignore[misc]
            image.update(file_name=f"photos/{split}/{image['file_name']}") for image in found["images"]
        ])  # fmt: skip


@pytest.mark.parametrize("lay_out", [lambda folder: None, exported, under_images, named_from_the_root])
def test_the_layouts_that_tools_write_are_read(folder: Path, lay_out: Callable[[Path], None]) -> None:
    lay_out(folder)
    data = read_own(folder, masks=False, strict=True)
    assert data.summary == "6 train images with 80 objects, 6 test images with 80 objects, 3 classes"
    assert data.classes == ("part 1", "part 2", "part 3")
    assert all(file.is_file() for file in (*data.learnt, *data.tested))


def test_annotations_become_coco_s_own(folder: Path) -> None:
    file = listing(folder, "train2017")
    edit(file, lambda found: found["annotations"][0].update(bbox=[60, 40, 10, 10]))
    data = read_own(folder, masks=False, strict=False)
    assert data.flaws == ("mended: 1 boxes that reach over the edge of their image, cut off there",)
    first = plain(json.loads(file.read_text()), data)["annotations"][0]
    assert first == {"id": 1, "image_id": 1, "category_id": 2, "iscrowd": 0, "bbox": [60, 40, 4, 8], "area": 32}
    with pytest.raises(CocoError, match="annotation 0: bbox 60 40 10 10 leaves the image, 64x48"):
        read_own(folder, masks=False, strict=True)
    with pytest.raises(CocoError, match=r"160 flaws: .* segmentation is None"):
        read_own(folder, masks=True, strict=False)


def test_all_flaws_are_named_at_once(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(listing(folder, "train2017"), lambda found: found["annotations"][3].update(bbox=[1, 1, -5, 4]))
    edit(listing(folder, "val2017"), lambda found: found["images"][1].update(width=99))
    (folder / "val2017/000000000009.jpg").unlink()
    cut = folder / "val2017/000000000007.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    assert main(["data", "check", str(folder)]) == 2
    said = capsys.readouterr().out
    for flaw in ("annotation 3: bbox 1 1 -5 4 has no area", "000000000008.jpg: 64x48 px, but instances_val2017.json",
                 "000000000009.jpg: missing", "000000000007.jpg: not a readable image"):  # fmt: skip
        assert flaw in said


def test_a_sound_folder_is_counted(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(folder)
    assert main(["data", "check", str(folder), "--sheet", str(tmp_path / "sheet.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("3 classes")
    assert "part 1: 25 objects in train" in lines
    assert (tmp_path / "sheet.png").is_file()


def test_images_in_train_and_in_test_are_counted_by_content_and_the_same_file_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    for number, file in enumerate(sorted((folder / "val2017").iterdir())):
        with Image.open(file) as image:
            image.point(lambda value, shift=number: value // 2 + shift).save(file)
    assert CocoFolder().prepare(folder, tmp_path).notes == []
    shutil.copy(folder / "train2017/000000000002.jpg", folder / "val2017/000000000008.jpg")
    benchmark = CocoFolder()
    assert benchmark.notes(benchmark.prepare(folder, tmp_path)) == [
        "1 test images are train images too, by content (000000000008.jpg is the first)"
    ]
    edit(listing(folder, "val2017"), lambda found: found["images"][0].update(file_name="train2017/000000000001.jpg"))
    with pytest.raises(CocoError, match=r"train2017/000000000001\.jpg: listed in train and in test"):
        benchmark.prepare(folder, tmp_path)


@pytest.mark.parametrize("masks", [False, True])
def test_two_iterations_are_scored_as_coco_scores(masks: bool, tmp_path: Path, folder: Path) -> None:
    where = coco_folder(tmp_path / "with-masks") if masks else folder
    benchmark = CocoFolder(**SLIM, masks=masks)
    data = benchmark.prepare(where, tmp_path)
    torch.save(build_encoder("resnet18", zero_init=False).state_dict(), tmp_path / "backbone.pth")
    scores = benchmark.evaluate(tmp_path / "backbone.pth", data, tmp_path / "run", 0)
    names = ["AP", "AP50", "AP75"]
    assert list(scores) == [*names, *(f"mask_{name}" for name in names if masks)]
    classes = json.loads((tmp_path / "run" / "classes.json").read_text())
    assert (len(classes), len(next(iter(classes.values())))) == (80 if masks else 3, len(scores))


def test_images_are_opened_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for file in folder.rglob("*.jpg"):
        os.utime(file, (1_600_000_000, 1_600_000_000))
    read_own(folder, False, False, tmp_path / "cache")
    monkeypatch.setattr(pixels, "_as_fact", lambda path, decode: pytest.fail(f"{path} is opened again"))
    read_own(folder, False, False, tmp_path / "cache")
