"""A COCO folder is read with its quirks, any flaw in it is one line that names the file, and it is scored exactly."""

import copy
import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from detectron2.data import DatasetCatalog

from benchmarks.coco_fpn import CocoFpn
from benchmarks.data.coco import CocoError, listing, read
from benchmarks.detection.catalog import registered
from tests.pictures import COCO_IDS, coco_folder, spoilt

Listing = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return coco_folder(tmp_path / "coco")


def edit(folder: Path, change: Callable[[Listing], object], split: str = "train2017") -> None:
    path = listing(folder, split)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_reads_both_splits(folder: Path) -> None:
    coco = read(folder)
    assert coco.classes == tuple(f"kind {id}" for id in COCO_IDS)
    assert coco.images == (6, 6)
    assert coco.summary == "6 train images with 80 objects, 6 test images with 80 objects, 80 classes"


QUIRKS: dict[str, dict[str, Any]] = {
    "no height": {"bbox": [2, 2, 10, 0.0], "area": 0.0},
    "tiny": {"bbox": [2.01, 2.02, 0.5, 0.25], "area": 0.1},
    "out by rounding": {"bbox": [-0.4, -0.6, 65.1, 48.9]},
    "a second polygon of two points": {"segmentation": [[2, 2, 12, 2, 12, 10], [2, 2, 3, 3]]},
    "a polygon that leaves the image": {"segmentation": [[-3, -3, 70.5, 2, 12, 10]]},
    "a crowd of polygons": {"iscrowd": 1, "category_id": 2},
}


@pytest.mark.parametrize("quirk", QUIRKS)
def test_what_coco_itself_has_passes(folder: Path, quirk: str) -> None:
    edit(folder, lambda found: found["annotations"][0].update(id=901, category_id=2))
    edit(folder, lambda found: found["annotations"].append({**found["annotations"][0], **QUIRKS[quirk], "id": 902}))
    edit(folder, lambda found: found["annotations"][0].update(category_id=1))
    assert read(folder).train.objects == 80 + (quirk != "a crowd of polygons")


def test_the_fingerprint_follows_the_content_not_the_place(folder: Path, tmp_path: Path) -> None:
    first = read(folder).fingerprint
    assert read(shutil.copytree(folder, tmp_path / "elsewhere")).fingerprint == first
    seen = {first}
    edit(folder, lambda found: found["annotations"][0].update(area=79), "val2017")
    seen.add(read(folder).fingerprint)
    with (folder / "train2017/000000000001.jpg").open("ab") as image:
        image.write(b"\0")
    seen.add(read(folder).fingerprint)
    assert len(seen) == 3


def in_train(change: Callable[[Listing], object]) -> Callable[[Path], object]:
    return lambda folder: edit(folder, change)


def in_val(change: Callable[[Listing], object]) -> Callable[[Path], object]:
    return lambda folder: edit(folder, change, "val2017")


def image(**fields: Any) -> Callable[[Path], object]:
    return in_train(lambda found: found["images"][0].update(fields))


def thing(number: int = 0, **fields: Any) -> Callable[[Path], object]:
    return in_train(lambda found: found["annotations"][number].update(fields))


def write(text: str) -> Callable[[Path], object]:
    return lambda folder: listing(folder, "train2017").write_text(text)


def share_an_image(folder: Path) -> None:
    edit(folder, lambda found: found["images"][5].update(file_name="000000000001.jpg"), "val2017")
    shutil.copy(folder / "train2017/000000000001.jpg", folder / "val2017")


FLAWS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "coco: no such folder"),
    "no train split": (lambda f: shutil.rmtree(f / "train2017"), "train2017: missing, the train2017 split needs it"),
    "no val split": (lambda f: shutil.rmtree(f / "val2017"), "val2017: missing, the val2017 split needs it"),
    "no listing": (lambda f: listing(f, "val2017").unlink(), "instances_val2017.json: missing, the val2017 split"),
    "broken": (write('{"images": ['), "instances_train2017.json: malformed JSON: Expecting value"),
    "empty file": (write(""), "malformed JSON: Expecting value"),
    "mark": (write("\ufeff{}"), "malformed JSON: Unexpected UTF-8 BOM"),
    "another encoding": (lambda f: listing(f, "val2017").write_bytes("{}".encode("utf-16")), "malformed JSON: 'utf-8'"),
    "deep": (write("[" * 100_000), "malformed JSON: nested too deeply"),
    "no object": (write("[]"), "no list of categories"),
    "no images": (in_train(lambda f: f.pop("images")), "no list of images"),
    "no annotations": (in_train(lambda f: f["annotations"].clear()), "no list of annotations"),
    "crowds alone": (
        in_train(lambda f: f.update(annotations=f["annotations"][-1:])),
        "train2017.json: no object that is not a crowd",
    ),
    "79 categories": (in_train(lambda f: f["categories"].pop()), "79 categories instead of COCO's 80"),
    "equal names": (in_train(lambda f: f["categories"][0].update(name="kind 2")), "79 categories instead of COCO's 80"),
    "half a letter": (in_train(lambda f: f["categories"][0].update(name="\ud800")), "name is '\\ud800', a text was"),
    "other categories": (in_val(lambda f: f["categories"][0].update(name="other")), "its categories are not those of"),
    "not learnt": (
        in_train(lambda f: f["annotations"].pop(7)),
        "val2017.json: category 'kind 8' has no object in train2017",
    ),
    "in both": (
        share_an_image,
        "image '000000000001.jpg' is in train2017 and in val2017",
    ),
    "no image": (lambda f: (f / "val2017/000000000007.jpg").unlink(), "000000000007.jpg: missing, but listed in inst"),
    "empty image": (lambda f: (f / "val2017/000000000007.jpg").write_bytes(b""), "7.jpg: empty, but listed in inst"),
    "listed twice": (image(file_name="000000000002.jpg"), "000000000002.jpg: listed twice in inst"),
    "a path": (
        image(file_name="../train2017/000000000001.jpg"),
        "1.jpg: missing, but listed in instances_train2017.json, whose names are relative",
    ),
    "no name": (image(file_name=None), "id 1: file_name is None, a text was expected"),
    "no size": (in_train(lambda f: f["images"][0].pop("width")), "image '000000000001.jpg': width is None, pixels"),
    "half a pixel": (image(height=47.5), "height is 47.5, pixels were expected"),
    "no id": (in_train(lambda f: f["annotations"][0].pop("id")), "an entry of annotations has the id None"),
    "a true id": (in_train(lambda f: f["images"][0].update(id=True)), "an entry of images has the id True"),
    "zero": (thing(id=0), "an entry of annotations has the id 0, a whole number"),
    "same id": (thing(id=101), "the id 101 is twice in annotations"),
    "unknown image": (thing(image_id=99), "annotation 100: image_id is 99, which the file does not list"),
    "unknown category": (thing(category_id=12), "annotation 100: category_id is 12, which the file does not"),
    "a list": (thing(category_id=[[1]]), "annotation 100: category_id is [[1]], which"),
    "no crowd": (thing(iscrowd=None), "annotation 100: iscrowd is None, 0 or 1 was"),
    "ignored": (thing(ignore=1), "annotation 100: ignore is 1, which detectron2 does not know"),
    "no area": (thing(area="80"), "annotation 100: area is '80', square pixels"),
    "three numbers": (thing(bbox=[1, 2, 3]), "annotation 100: bbox is [1, 2, 3], x y width height"),
    "no number": (thing(bbox=[1, 2, 3, float("nan")]), "malformed JSON: NaN is not a number of JSON"),
    "beyond numbers": (write('{"categories": [{"id": 1e999}]}'), "an entry of categories has the id inf"),
    "huge": (thing(bbox=[1, 2, 3, 10**400]), "annotation 100: bbox is [1, 2, 3, 1000"),
    "negative": (thing(bbox=[12, 2, -10, 8]), "annotation 100: bbox 12 2 -10 8 has no area"),
    "a point": (thing(bbox=[12, 2, 0, 0]), "annotation 100: bbox 12 2 0 0 has no area"),
    "outside": (thing(bbox=[2, 2, 63.1, 8]), "annotation 100: bbox 2 2 63.1 8 leaves the image, 64x48"),
    "above": (thing(bbox=[2, -1.1, 6, 8]), "annotation 100: bbox 2 -1.1 6 8 leaves the image, 64x48"),
    "no mask": (thing(segmentation=[]), "annotation 100: segmentation is [], a list of polygons"),
    "odd": (thing(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "segmentation is [[1, 2, 3, 4, 5, 6, ...]], a list of poly"),
    "two points": (thing(segmentation=[[1, 2, 3, 4]]), "annotation 100: segmentation begins with 4 coordinates"),
    "far outside": (thing(segmentation=[[1, 2, 1e9, 4, 5, 6]]), "segmentation is [[1, 2, 1000000000.0,"),
    "no crowd's mask": (thing(segmentation={"size": [48, 64], "counts": [3072]}), "a list of polygons was expected"),
    "compressed": (thing(-1, segmentation={"size": [48, 64], "counts": "abc"}), "an uncompressed RLE of the image"),
    "short": (thing(-1, segmentation={"size": [48, 64], "counts": [3071]}), "an uncompressed RLE of the image"),
    "turned": (thing(-1, segmentation={"size": [64, 48], "counts": [3072]}), "an uncompressed RLE of the image"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_is_one_line_that_names_it(folder: Path, flaw: str) -> None:
    spoil, message = FLAWS[flaw]
    spoil(folder)
    with pytest.raises(CocoError) as error:
        read(folder)
    assert message in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_other_tools_write_is_read_as_everybody_reads_it(folder: Path) -> None:
    sound = read(folder)
    for split in ("train2017", "val2017"):

        def as_others(found: Listing, split: str = split) -> None:
            for entry in found["images"]:
                entry["file_name"] = f"{split}/{entry['file_name']}"
            for entry in found["annotations"][:-1]:  # the last one is a crowd
                del entry["iscrowd"]

        edit(folder, as_others, split)
    data = read(folder)
    assert data.images == sound.images
    assert data.tested == sound.tested
    assert data.summary == sound.summary
    with registered(data, "others") as names:
        for name in names:
            entries = DatasetCatalog.get(name)
            assert all(Path(entry["file_name"]).is_file() for entry in entries)
            assert len(entries) == 6


ODD: list[Any] = [None, True, -1, 0, 1, 10**300, 1e308, float("nan"), float("inf"), "", "7", "\ud800", [], {}, [[]]]
ODD += [[[[[1]]]], [1, 2, 3, 4], {"id": 1}, {"size": [48, 64], "counts": [3072]}, [[0, 0, 9, 0, 9, 9]], "a\nb"]


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every container of a JSON content with each of its keys."""
    keys = list(content) if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else []
    return [(content, key) for key in keys] + [place for key in keys for place in places(content[key])]


def mutate_content(content: Listing, chance: random.Random) -> str:
    found, key = chance.choice(places(content))
    kind = chance.randrange(5)
    if kind == 0:
        del found[key]
    elif kind == 1 and isinstance(found, list):
        found.insert(key, copy.deepcopy(found[key]))
    elif kind == 1:
        found[f"{key}s"] = found.pop(key)
    elif kind == 2:
        found[key] = [found[key]]
    else:
        found[key] = chance.choice(ODD)
    return json.dumps(content)


def test_three_hundred_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    from detectron2.data.datasets import load_coco_json

    folder, chance = coco_folder(tmp_path / "coco"), random.Random(0)
    refusals, flaws = [], list[str]()
    sound = {split: listing(folder, split).read_bytes() for split in ("train2017", "val2017")}
    for number in range(300):
        split = chance.choice(list(sound))
        path, raw = listing(folder, split), sound[split]
        mutated = mutate_content(json.loads(raw), chance).encode() if number % 3 else spoilt(raw, chance, b"[")
        path.write_bytes(mutated)
        start = time.perf_counter()
        try:
            read(folder)
            load_coco_json(str(path), str(folder / split))  # what is read can be trained on
        except CocoError as error:
            refusals.append(str(error))
            flaws += error.flaws
        assert time.perf_counter() - start < 1
        path.write_bytes(raw)
    assert 150 < len(refusals) < 300
    assert max(map(len, flaws)) < 500
    assert not any("\n" in refusal for refusal in refusals)


def judge(folder: Path, shift: float | None = 0) -> dict[str, float]:
    """The scores of detections that are the annotations themselves, boxes moved right; None: of none at all."""
    import torch
    from detectron2.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks

    with registered(read(folder), "coco") as (_, test):
        from detectron2.data import DatasetCatalog

        evaluator = CocoFpn().evaluator(test)
        evaluator.reset()
        for image in DatasetCatalog.get(test):
            objects = [one for one in image["annotations"] if not one["iscrowd"] and shift is not None]
            boxes = [BoxMode.convert(one["bbox"], one["bbox_mode"], BoxMode.XYXY_ABS) for one in objects]
            polygons = PolygonMasks([one["segmentation"] for one in objects])
            found = Instances((image["height"], image["width"]))
            found.pred_boxes = Boxes(torch.tensor(boxes).reshape(-1, 4) + torch.tensor([shift or 0, 0, shift or 0, 0]))
            found.scores = torch.ones(len(objects))
            found.pred_classes = torch.tensor([one["category_id"] for one in objects])
            found.pred_masks = BitMasks.from_polygon_masks(polygons, image["height"], image["width"]).tensor
            evaluator.process([image], [{"instances": found}])
        return CocoFpn().scores(evaluator.evaluate())


def test_the_annotations_themselves_score_100(folder: Path, tmp_path: Path) -> None:
    perfect = dict.fromkeys(["AP", "AP50", "AP75", "mask_AP", "mask_AP50", "mask_AP75"], 100)
    assert judge(folder) == pytest.approx(perfect)
    # 10 px wide boxes that overlap by 8 have an IoU of 8 / 12: above .50, .55, .60 and .65
    moved = {**perfect, "AP": 40, "AP75": 0}
    assert judge(folder, shift=2) == pytest.approx(moved)


def test_nothing_found_scores_0(folder: Path, tmp_path: Path) -> None:
    assert set(judge(folder, shift=None).values()) == {0}
