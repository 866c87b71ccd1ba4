"""The scenes tell the truth about themselves, repeat from their seed, and are written whole or not at all."""

import csv
import hashlib
import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.scenes import compose as module
from benchmarks.scenes import folder as folders
from benchmarks.scenes import layout as settings
from benchmarks.scenes.compose import Scene, compose
from benchmarks.scenes.folder import write
from benchmarks.scenes.layout import CLASSES, HERE, Layout, fingerprint

PLAIN = Layout(size=64)
CROWDED = Layout(size=64, objects=(5, 8), extent=(0.4, 0.9), distractors=(1, 3), cut=0.5, rotation=90)
TINY = Layout(size=32, extent=(0.25, 0.25), objects=(1, 3))
HUGE = Layout(size=97, extent=(1, 1), objects=(1, 3), visible=0.6)
LAYOUTS = [PLAIN, CROWDED, TINY, HUGE]
COUNTS = {"trainval": 5, "test": 3}


def some(layout: Layout) -> list[Scene]:
    return [compose(layout, 7, split, index) for split, index in product(("trainval", "test"), range(10))]


def rows() -> list[dict[str, str]]:
    with open(HERE / "split.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voc") / "new" / "scenes"
    write(folder, PLAIN, COUNTS, 3, False)
    return folder


def test_a_scene_depends_on_its_arguments_alone() -> None:
    first = compose(PLAIN, 1, "trainval", 4)
    compose(CROWDED, 9, "test", 0)
    assert pickle.dumps(first) == pickle.dumps(compose(PLAIN, 1, "trainval", 4))
    others = [compose(PLAIN, *other) for other in ((2, "trainval", 4), (1, "test", 4), (1, "trainval", 5))]
    assert len({scene.image.tobytes() for scene in [first, *others]}) == 4


def test_another_process_draws_the_same_bytes() -> None:
    code = (
        "import sys, hashlib; from benchmarks.scenes.compose import compose\n"
        "from benchmarks.scenes.layout import Layout\n"
        "assert not {'torch', 'detectron2', 'harness', 'methods'} & sys.modules.keys()\n"
        "print(hashlib.sha256(compose(Layout(size=64), 1, 'test', 2).image.tobytes()).hexdigest())"
    )
    root = HERE.parents[1]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == hashlib.sha256(compose(PLAIN, 1, "test", 2).image.tobytes()).hexdigest()


def test_train_and_test_share_no_model_and_no_background() -> None:
    sides = {side: {row["model"] for row in rows() if row["split"] == side} for side in ("train", "test")}
    assert not sides["train"] & sides["test"]
    drawn = {split: drawn_files(split) for split in ("trainval", "test")}
    models = {row["file"]: (row["model"], row["split"]) for row in rows()}
    assert {models[file][1] for file in drawn["trainval"]} == {"train"}
    assert {models[file][1] for file in drawn["test"]} == {"test"}


def drawn_files(split: str) -> set[str]:
    """The files that the scenes of a split open."""
    files: set[str] = set()

    def read(archive: zipfile.ZipFile, name: str) -> bytes:
        files.add(name)
        with archive.open(name) as file:
            return file.read()

    module._sprite.cache_clear()
    module._photo.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "read", read)
        for index in range(12):
            compose(PLAIN, 0, split, index)
    assert {file.split("/")[0] for file in files} == {"sprites", "distractors", "backgrounds"}
    return files


def test_split_csv_names_exactly_the_assets() -> None:
    with zipfile.ZipFile(HERE / "assets.zip") as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    assert Counter(row["file"] for row in rows()) == Counter(names)
    assert {row["class"] for row in rows() if row["kind"] == "sprite"} == set(CLASSES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_boxes_labels_and_masks_agree(layout: Layout) -> None:
    for scene in some(layout):
        assert scene.image.shape == (layout.size, layout.size, 3)
        assert scene.image.dtype == scene.instances.dtype == scene.classes.dtype == np.uint8
        assert set(np.unique(scene.instances)) - {0} == set(range(1, len(scene.labels) + 1))
        assert np.array_equal(scene.classes > 0, scene.instances > 0)
        for number, (box, label) in enumerate(zip(scene.boxes, scene.labels, strict=True), 1):
            mask = scene.instances == number
            assert set(scene.classes[mask]) == {1 + CLASSES.index(label)}
            assert tuple(box) == extent(mask)


def extent(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    ys, xs = np.nonzero(mask)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_object_shows_a_quarter_and_says_what_hides_it(layout: Layout) -> None:
    for scene in some(layout):
        assert 1 <= len(scene.labels) <= layout.objects[1]
        assert len(scene.labels) >= min(2, layout.objects[0])
        assert min(scene.visible) >= layout.visible
        for share, truncated, occluded in zip(scene.visible, scene.truncated, scene.occluded, strict=True):
            assert truncated or occluded or share >= 1 - module.OCCLUDED
            assert not (truncated or occluded) or share < 1


def planted(x: int, label: str, total: int = 128) -> module.Layer:
    """A solid sprite 8 pixels wide and 16 high in an image of 32."""
    place = np.s_[0:16, x : x + 8]
    mask = np.zeros((32, 32), np.bool_)
    mask[place] = True
    return module.Layer(np.full((16, 8, 4), 255, np.float32), place, mask, total, label)


def test_what_lies_in_front_or_beyond_the_edge_is_told() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    scene = module._annotate(image, [planted(0, "chair"), planted(4, ""), planted(20, "bed", total=256)])
    assert scene.labels == ("chair", "bed")
    assert scene.boxes.tolist() == [[0, 0, 4, 16], [20, 0, 28, 16]]
    assert scene.visible == (0.5, 0.5)
    assert scene.truncated == (False, True)
    assert scene.occluded == (True, False)


@pytest.mark.parametrize(("beyond", "fits"), [(0, True), (128, True), (129, False)])
def test_an_object_half_hidden_and_half_beyond_the_edge_is_the_limit(beyond: int, fits: bool) -> None:
    behind = planted(8, "chair", total=128 + beyond)  # of which 64 pixels stay
    assert module._fits(PLAIN, [behind, planted(4, "")]) == fits
    assert module._fits(PLAIN, [planted(4, "chair"), planted(4, "")]) is False


def test_a_subset_of_the_classes_is_kept_to() -> None:
    scenes = some(Layout(size=64, classes=("vehicle", "bed")))
    assert {label for scene in scenes for label in scene.labels} == {"vehicle", "bed"}


def test_crowding_makes_objects_smaller_before_it_makes_them_fewer() -> None:
    crowded = Layout(size=64, objects=(5, 5), extent=(0.2, 0.9), visible=0.5, distractors=(2, 2))
    assert [len(scene.labels) for scene in some(crowded)] == [5] * 20


def test_a_pasted_sprite_keeps_its_colour_to_the_rim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grey on grey stays grey: mixing in the black of clear pixels would leave a halo."""
    square, file, archive = Image.new("RGBA", (64, 64)), io.BytesIO(), io.BytesIO()
    square.paste((100, 100, 100, 255), (16, 16, 48, 48))
    square.save(file, "png")
    with zipfile.ZipFile(archive, "w") as writable:
        writable.writestr("square.png", file.getvalue())
    monkeypatch.setattr(module, "_archive", lambda: zipfile.ZipFile(archive))
    rng = np.random.default_rng(0)
    calm = Layout(size=64, light=0, rotation=30)
    sprite = module._posed(rng, calm, module._sprite.__wrapped__("square.png"), 0)
    layer = module._placed(rng, calm, sprite, (4, 4), "chair")
    canvas = np.full((64, 64, 3), 100, np.float32)[layer.place]
    painted = canvas * (1 - layer.pixels[..., 3:] / 255) + layer.pixels[..., :3]
    assert np.abs(painted - 100).max() <= 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"classes": ("chiar",)},
            r"no class 'chiar' in scenes: did you mean 'chair'\? choose from",
        ),
        ({"classes": ()}, "without classes: choose from"),
        ({"classes": ("bed", "bed")}, "'bed' is named twice"),
        ({"size": 16}, "size 16: choose at least 32"),
        ({"objects": (0, 2)}, r"objects \(0, 2\): choose a least and a most from 1 to 255"),
        ({"objects": (3, 2)}, r"objects \(3, 2\)"),
        ({"distractors": (0, 1, 2)}, "distractors"),
        ({"extent": (0.01, 0.5)}, "extent .* from 0.0625 to 1"),
        ({"extent": (0.5, float("nan"))}, "extent"),
        ({"visible": 0.1}, "visible 0.1"),
        ({"cut": 0.9}, "cut 0.9"),
        ({"rotation": -1}, "rotation -1"),
        ({"light": 1}, "light 1"),
        ({"blur": 2}, "blur 2"),
    ],
)
def test_a_layout_that_gives_no_scene_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Layout(**settings)
    assert "\n" not in str(caught.value)


def test_an_unknown_split_and_a_negative_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no split 'train' in scenes: .*choose from trainval, test"):
        compose(PLAIN, 0, "train", 0)
    with pytest.raises(ValueError, match="neither number may be negative"):
        compose(PLAIN, -1, "test", 0)
    with pytest.raises(ValueError, match="no split 'val'"):
        write(tmp_path / "voc", PLAIN, {"trainval": 1, "val": 1}, 0, False)
    assert not list(tmp_path.iterdir())


def test_the_folder_is_complete_voc(voc: Path) -> None:
    names = {split: [f"{split}_{index:06d}" for index in range(count)] for split, count in COUNTS.items()}
    for split, expected in names.items():
        assert (voc / "ImageSets" / "Main" / f"{split}.txt").read_text().split() == expected
    every = sorted(name for part in names.values() for name in part)
    masks = {"SegmentationClass": "png", "SegmentationObject": "png"}
    for folder, suffix in {"JPEGImages": "jpg", "Annotations": "xml", **masks}.items():
        found = sorted(path.name for path in (voc / folder).iterdir())
        assert found == [f"{name}.{suffix}" for name in every]
    assert (voc / "CREDITS.md").read_bytes() == (HERE / "CREDITS.md").read_bytes()
    record = json.loads((voc / "scenes.json").read_text())
    assert (record["counts"], record["seed"], record["layout"]["size"]) == (COUNTS, 3, 64)
    assert oct((voc.stat().st_mode ^ voc.parent.stat().st_mode) & 0o777) == "0o0"


@pytest.mark.parametrize(("split", "index"), [("trainval", 4), ("test", 0)])
def test_the_annotation_holds_the_scene(voc: Path, split: str, index: int) -> None:
    scene, name = compose(PLAIN, 3, split, index), f"{split}_{index:06d}"
    root = ElementTree.parse(voc / "Annotations" / f"{name}.xml").getroot()
    assert root.findtext("filename") == f"{name}.jpg"
    assert [root.findtext(f"size/{key}") for key in ("width", "height", "depth")] == ["64", "64", "3"]
    assert [item.findtext("name") for item in root.iter("object")] == list(scene.labels)
    for number, item in enumerate(root.iter("object")):
        box = [int(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
        assert [box[0] - 1, box[1] - 1, box[2], box[3]] == scene.boxes[number].tolist()
        assert 1 <= box[0] <= box[2] <= 64
        assert 1 <= box[1] <= box[3] <= 64
        assert item.findtext("truncated") == str(int(scene.truncated[number]))
        assert item.findtext("occluded") == str(int(scene.occluded[number]))
        assert (item.findtext("pose"), item.findtext("difficult")) == ("Unspecified", "0")


def test_the_pictures_hold_the_scene(voc: Path) -> None:
    scene = compose(PLAIN, 3, "test", 1)
    with Image.open(voc / "JPEGImages" / "test_000001.jpg") as image:
        assert np.abs(np.asarray(image, float) - scene.image).mean() < 5
    for folder, mask in (("SegmentationClass", scene.classes), ("SegmentationObject", scene.instances)):
        with Image.open(voc / folder / "test_000001.png") as image:
            assert image.mode == "P"
            assert np.array_equal(np.asarray(image), mask)
            palette = image.getpalette() or []
            assert palette[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
            assert palette[45:48] == [192, 128, 128]  # VOC's person


def test_the_same_seed_writes_the_same_bytes_whatever_the_count(voc: Path, tmp_path: Path) -> None:
    write(tmp_path / "again", PLAIN, {"test": 2, "trainval": 6}, 3, False)
    first, again = contents(voc), contents(tmp_path / "again")
    assert sum(name.startswith("JPEGImages") for name in first.keys() & again.keys()) == 5 + 2
    differing = {name for name in first.keys() & again.keys() if first[name] != again[name]}
    assert differing == {"scenes.json", "ImageSets/Main/trainval.txt", "ImageSets/Main/test.txt"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_nothing(
    stop: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(folder: Path, name: str, scene: Scene) -> None:
        assert len(list(tmp_path.iterdir())) == 1
        if name == "trainval_000002":
            raise stop

    monkeypatch.setattr(folders, "_save", save)
    with pytest.raises(stop):
        write(tmp_path / "voc", PLAIN, COUNTS, 0, False)
    assert not list(tmp_path.iterdir())


def test_an_occupied_folder_is_refused_and_an_empty_one_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "voc").mkdir()
    write(tmp_path / "voc", PLAIN, {"test": 1}, 0, False)
    before = contents(tmp_path)
    monkeypatch.delattr(folders, "_save")  # refused before any work
    with pytest.raises(FileExistsError, match="voc exists and is not an empty folder"):
        write(tmp_path / "voc", PLAIN, {"test": 2}, 0, False)
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]


def test_a_folder_that_another_fills_meanwhile_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(folder: Path, name: str, scene: Scene) -> None:
        (tmp_path / "voc").mkdir()
        (tmp_path / "voc" / "theirs").write_text("theirs")

    monkeypatch.setattr(folders, "_save", save)
    with pytest.raises(FileExistsError, match="voc exists and is not an empty folder"):
        write(tmp_path / "voc", PLAIN, {"test": 1}, 0, False)
    assert contents(tmp_path) == {"voc/theirs": b"theirs"}


def test_the_progress_bar_counts_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "voc", PLAIN, {"test": 2}, 0, True)
    assert "2/2" in capsys.readouterr().err
    write(tmp_path / "quiet", PLAIN, {"test": 2}, 0, False)
    assert capsys.readouterr() == ("", "")


def test_the_fingerprint_tells_settings_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint(PLAIN, COUNTS, 0)
    assert first == fingerprint(Layout(size=64), dict(reversed(COUNTS.items())), 0)
    others = [fingerprint(CROWDED, COUNTS, 0), fingerprint(PLAIN, {"test": 3}, 0)]
    others.append(fingerprint(PLAIN, COUNTS, 1))
    monkeypatch.setattr(settings, "VERSION", settings.VERSION + 1)
    others.append(fingerprint(PLAIN, COUNTS, 0))
    monkeypatch.setattr(settings, "assets", lambda: b"other assets")
    others.append(fingerprint(PLAIN, COUNTS, 0))
    assert len({first, *others}) == 6
