"""The scenes tell the truth about themselves, are the same everywhere, and are written whole or not at all."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.data import voc as reader
from benchmarks.scenes import DEMO, pixels
from benchmarks.scenes import compose as module
from benchmarks.scenes import folder as folders
from benchmarks.scenes import layout as settings
from benchmarks.scenes.compose import Scene, compose
from benchmarks.scenes.draws import Draws
from benchmarks.scenes.folder import png, write, write_jpegs
from benchmarks.scenes.layout import CLASSES, HERE, Layout, fingerprint, rows
from harness import ROOT
from tests.scenes import CROWDED, GOLDEN, HUGE, PLAIN, TINY, hashes
from tests.scenes import main as golden_main

LAYOUTS = [PLAIN, CROWDED, TINY, HUGE]
COUNTS = {"trainval": 5, "test": 3}


def some(layout: Layout) -> list[Scene]:
    return [compose(layout, 7, split, index) for split, index in product(("trainval", "test"), range(10))]


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


def test_ten_scenes_and_a_written_folder_are_the_golden_ones_here_too() -> None:
    assert hashes() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_scenes_are_composed_without_torch_and_in_another_process_alike() -> None:
    code = (
        "import sys; from tests.scenes import SCENES, compose\n"
        "assert not {'torch', 'detectron2', 'harness', 'methods', 'pytest', 'tqdm'} & sys.modules.keys()\n"
        "print(compose(*SCENES['crowded']).digest)"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == json.loads(GOLDEN.read_text(encoding="utf-8"))["crowded"]


def test_numpy_of_one_vector_unit_composes_what_numpy_of_another_does() -> None:
    code = (
        "import numpy\n"
        "try: from numpy._core import _multiarray_umath as core\n"
        "except ImportError: from numpy.core import _multiarray_umath as core\n"
        "print(*(name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)))"
    )
    command = [sys.executable, "-c", code]
    units = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert units
    command = [sys.executable, "-m", "tests.scenes"]
    plain = os.environ | {"NPY_DISABLE_CPU_FEATURES": units}
    run = subprocess.run(command, cwd=HERE.parents[1], env=plain, capture_output=True, text=True, check=False)
    assert "13 of 13 hashes are the golden ones" in run.stdout


def test_the_check_names_the_scene_that_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pixels, "LUMA", (300, 586, 114))
    assert golden_main() == 1
    assert capsys.readouterr().out.splitlines()[1:] == ["  differs: recoloured"]


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

    module.asset.cache_clear()
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
    return module.Layer(np.full((16, 8, 4), 255, np.uint8), place, mask, total, label, "", ((1, 0, x), (0, 1, 0)))


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
    calm = Layout(size=64, rotation=30)
    pose = module._posed(Draws(0), calm, module.asset.__wrapped__("square.png"), 0)
    layer = module._placed(64, pose, 4, 4, "chair", "square.png")
    painted = np.full((64, 64, 3), 100, np.uint8)
    pixels.paint(painted[layer.place], layer.pixels)
    assert np.abs(painted.astype(int) - 100).max() <= 2


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
        ({"recolour": 2}, "recolour 2"),
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
    pictures = dict.fromkeys(folders.PICTURES, "png")
    for folder, suffix in {"Annotations": "xml", **pictures}.items():
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
    assert root.findtext("filename") == f"{name}.png"
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
    with Image.open(voc / "JPEGImages" / "test_000001.png") as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), scene.image)
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
    assert differing == {"scenes.json", "instances.jsonl", "ImageSets/Main/trainval.txt", "ImageSets/Main/test.txt"}


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
    original = folders._save

    def save(folder: Path, name: str, scene: Scene) -> None:
        original(folder, name, scene)
        (tmp_path / "voc").mkdir()
        (tmp_path / "voc" / "theirs").write_text("theirs")

    monkeypatch.setattr(folders, "_save", save)
    with pytest.raises(FileExistsError, match="voc exists and is not an empty folder"):
        write(tmp_path / "voc", PLAIN, {"test": 1}, 0, False)
    assert contents(tmp_path) == {"voc/theirs": b"theirs"}


def test_the_progress_bar_counts_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    write(tmp_path / "voc", PLAIN, {"test": 2}, 0, True)
    assert "2/2" in capsys.readouterr().err
    write(tmp_path / "quiet", PLAIN, {"test": 2}, 0, False)
    assert capsys.readouterr() == ("", "")


def test_the_fingerprint_tells_settings_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint(PLAIN, COUNTS, 0)
    assert first == fingerprint(Layout(size=64), dict(reversed(COUNTS.items())), 0)
    others = [fingerprint(CROWDED, COUNTS, 0), fingerprint(PLAIN, {"test": 3}, 0)]
    others.append(fingerprint(PLAIN, COUNTS, 1))
    others.append(fingerprint(replace(PLAIN, recolour=0.5), COUNTS, 0))
    monkeypatch.setattr(settings, "assets", lambda: b"other assets")
    others.append(fingerprint(PLAIN, COUNTS, 0))
    assert len({first, *others}) == 6


def test_a_new_version_keeps_the_names_of_sets_and_composes_them_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = replace(DEMO, train=2, test=1, layout=replace(DEMO.layout, size=32))
    name, before = scenes.id, scenes.folder(tmp_path)
    monkeypatch.setattr(settings, "VERSION", settings.VERSION + 1)
    assert (scenes.id, scenes.folder(tmp_path)) == (name, before.with_name(f"{name}-v{settings.VERSION}"))


def test_records_on_earlier_scenes_have_the_names_of_sets_of_today() -> None:
    record = json.loads((ROOT / "results/demo/runs/location-s0-70933313/config.json").read_text(encoding="utf-8"))
    assert record["data"] == DEMO.id


def test_a_cached_folder_that_was_changed_is_refused_and_one_packed_anew_is_not(tmp_path: Path) -> None:
    scenes = replace(DEMO, train=2, test=1, layout=replace(DEMO.layout, size=32))
    folder = scenes.folder(tmp_path)
    file = folder / "JPEGImages" / "trainval_000001.png"
    with Image.open(file) as image:
        image.save(file, compress_level=9)
    assert scenes.folder(tmp_path) == folder
    before = contents(folder)
    annotation = folder / "Annotations" / "test_000000.xml"
    annotation.write_text(annotation.read_text().replace("<xmin>", "<xmin>1"))
    with pytest.raises(ValueError, match=f"{folder}: not the scenes that were written there: remove it"):
        scenes.folder(tmp_path)
    annotation.write_bytes(before["Annotations/test_000000.xml"])
    image = Image.open(io.BytesIO(before["JPEGImages/trainval_000001.png"]))
    image.putpixel((0, 0), (1, 2, 3))
    image.save(file)
    with pytest.raises(ValueError, match="not the scenes"):
        scenes.folder(tmp_path)
    for spoilt in (b"", before["JPEGImages/trainval_000001.png"][:500]):
        file.write_bytes(spoilt)
        with pytest.raises(ValueError, match="not the scenes"):
            scenes.folder(tmp_path)
    file.write_bytes(before["JPEGImages/trainval_000001.png"])
    (folder / "SegmentationClass" / "test_000000.png").unlink()
    with pytest.raises(ValueError, match="not the scenes"):
        scenes.folder(tmp_path)


def test_scenes_are_read_as_pascal_voc_with_boxes_and_classes(tmp_path: Path) -> None:
    write(tmp_path / "voc", replace(PLAIN, classes=("bed", "chair")), {"trainval": 6, "test": 6}, 0, False)
    voc = reader.read(tmp_path / "voc")
    assert voc.images == (6, 6)
    scene = compose(replace(PLAIN, classes=("bed", "chair")), 0, "test", 3)
    assert voc.test[3].boxes == tuple(tuple(map(float, box)) for box in scene.boxes)
    assert voc.test[3].labels == scene.labels


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (145, 151), (300, 73)])
def test_a_png_without_compression_is_a_valid_one(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    data = png(image)
    with Image.open(io.BytesIO(data)) as opened:
        opened.verify()
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode == "RGB"
        assert np.array_equal(np.asarray(opened), image)
    rows = size[0] * (1 + 3 * size[1])
    assert len(zlib.decompress(data[8 + 25 + 8 : -4 - 12])) == rows  # stricter than Pillow: the stream must end
    assert len(data) == 8 + 25 + 12 + 12 + 6 + rows + 5 * -(-rows // 65_535)


def test_jpegs_to_time_the_decoding_of_show_the_first_scenes(tmp_path: Path) -> None:
    files = write_jpegs(tmp_path, PLAIN, 2)
    assert files == sorted(tmp_path.iterdir())
    for index, file in enumerate(files):
        with Image.open(file, formats=["JPEG"]) as image:
            assert np.abs(np.asarray(image, float) - compose(PLAIN, 0, "trainval", index).image).mean() < 5


def test_each_object_says_which_sprite_it_is_and_where_that_lies(voc: Path) -> None:
    models = {row["file"]: row["class"] for row in rows()}
    lines = [json.loads(line) for line in (voc / "instances.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == [
        f"{split}_{index:06d}" for split, n in COUNTS.items() for index in range(n)
    ]
    scene = compose(PLAIN, 3, "test", 1)
    assert [models[one["sprite"]] for one in lines[6]["objects"]] == list(scene.labels)
    assert [one["transform"] for one in lines[6]["objects"]] == [[list(row) for row in one] for one in scene.transforms]


@pytest.mark.parametrize("ease", [0, 10, 22])
@pytest.mark.parametrize("extent", [(0.1, 0.15), (0.5, 1)])
def test_a_transform_leads_from_a_pixel_of_the_sprite_to_where_it_was_painted(
    ease: int, extent: tuple[float, float]
) -> None:
    """A sprite whose red says the column and whose green says the row."""
    y, x = np.mgrid[:60, :100].astype(np.uint8)
    sprite = np.stack([2 * x, 2 * y, np.zeros_like(x), np.full_like(x, 255)], axis=2)
    seen = set()
    for seed in range(12):
        pose = module._posed(Draws(seed), Layout(size=96, rotation=180, extent=extent), sprite, ease)
        layer = module._placed(96, pose, 20 - seed, 5, "chair", "planted")
        (a, b, c), (d, e, f) = layer.transform
        rows, columns = np.nonzero(layer.pixels[..., 3] == 255)
        down, across = layer.place[0].start + rows + 0.5, layer.place[1].start + columns + 0.5
        column, row = (layer.pixels[rows, columns, channel] / 2 + 0.5 for channel in (0, 1))
        scale = (a * a + d * d) ** 0.5
        apart = np.hypot(a * column + b * row + c - across, d * column + e * row + f - down)
        assert len(rows) > 10
        assert np.median(apart) < 0.25 + 0.5 * scale
        seen.add(a * e - b * d > 0)
    assert seen == {True, False}  # mirrored ones too


# Whole numbers


def test_draws_are_sha_256_of_key_and_count_and_reach_every_number() -> None:
    first = int.from_bytes(hashlib.sha256(b"7/test/0/0").digest()[:8], "big")
    draws = Draws(7, "test", 0)
    assert draws.below(1000) == first * 1000 // 2**64
    counts = Counter(draws.between(-2, 3) for _ in range(6000))
    assert set(counts) == set(range(-2, 4))
    assert all(900 < count < 1100 for count in counts.values())
    assert sorted(draws.shuffled("abcde")) == list("abcde")
    assert len({tuple(draws.shuffled("abc")) for _ in range(100)}) == 6


def test_no_library_of_mathematics_can_round_a_direction_otherwise() -> None:
    """The nearest of all angles keeps a millionth of the last digit from where the rounding turns, libm 10⁻¹⁶."""
    angles = np.radians(np.arange(-18_000, 18_001) / pixels.DEGREE)
    digits = np.concatenate([np.cos(angles), np.sin(angles)]) * pixels.ONE
    assert np.abs(np.abs(digits - np.floor(digits)) - 0.5).min() > 1e-6
    assert pixels.direction(9_000) == (0, pixels.ONE)
    assert pixels.direction(-3_000)[1] == -pixels.ONE // 2


def test_products_by_255_are_rounded_to_the_nearest() -> None:
    first, second = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    assert np.array_equal(pixels.by255(first, second), np.rint(first.astype(float) * second / 255))


def photo() -> pixels.Picture:
    """A part of a photo, opaque."""
    file = next(row["file"] for row in rows() if row["kind"] == "background")
    return module.asset.__wrapped__(file)[:140, :210]


def rgb(picture: pixels.Picture) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture[..., :3]))


@pytest.mark.parametrize("size", [(70, 40), (210, 140), (333, 300), (1, 1)])
@pytest.mark.parametrize(
    ("kernel", "theirs", "apart"),
    [(pixels.sharp, Image.Resampling.BICUBIC, 0.6), (pixels.soft, Image.Resampling.HAMMING, 0.9)],
)
def test_scaling_is_pillows_to_a_grey_level(
    size: tuple[int, int], kernel: Any, theirs: Image.Resampling, apart: float
) -> None:
    ours, oracle = pixels.resized(photo(), size, kernel), np.asarray(rgb(photo()).resize(size, theirs), float)
    assert ours.shape == (size[1], size[0], 4)
    assert np.abs(ours[..., :3] - oracle).mean() < apart
    assert (ours[..., 3] == 255).all()


@pytest.mark.parametrize("factor", [1, 2, 5, 16])
def test_shrinking_is_pillows(factor: int) -> None:
    whole = photo()[: 140 // factor * factor, : 210 // factor * factor]
    oracle = np.asarray(rgb(whole).reduce(factor), float)
    assert np.abs(pixels.shrunk(whole, factor)[..., :3] - oracle).max() <= 1
    assert pixels.shrunk(photo()[:3, :3], 2)[1, 1, 3] == 64  # a quarter of a block is there


@pytest.mark.parametrize("angle", [0, 5, 45, -90, 133, 180])
def test_turning_is_pillows(angle: int) -> None:
    ours = pixels.turned(photo(), angle * pixels.DEGREE)
    oracle = np.asarray(rgb(photo()).rotate(-angle, Image.Resampling.BILINEAR, expand=True), float)
    assert ours.shape[:2] == oracle.shape[:2]
    assert np.abs(ours[..., :3] - oracle).mean() < 0.5
    assert set(np.unique(ours[..., 3])) <= {0, 255}


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1, 3.3, 12])
def test_blurring_is_a_gaussian_whose_weights_sum_to_one(sigma: float) -> None:
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[50, 50] = 255
    kernel = np.array(pixels._bell(pixels.fixed(sigma)))
    assert kernel.sum() == 1 << pixels.SHARE
    assert np.array_equal(kernel, kernel[::-1])
    steps = np.arange(len(kernel)) - len(kernel) // 2
    assert (kernel * steps**2).sum() / kernel.sum() == pytest.approx(sigma**2, rel=0.02, abs=0.004)
    image = np.ascontiguousarray(photo()[..., :3])
    oracle = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)), float)
    assert np.abs(pixels.blurred(image, pixels.fixed(sigma)) - oracle).mean() < 1
    assert np.array_equal(pixels.blurred(image, 0), image)


def test_white_stays_white_and_clear_stays_clear_whatever_is_done() -> None:
    white, clear = np.full((20, 30, 4), 255, np.uint8), np.zeros((20, 30, 4), np.uint8)
    for kernel in (pixels.soft, pixels.sharp):
        for size in ((7, 5), (64, 64)):
            assert (pixels.resized(white, size, kernel) == 255).all()
            assert (pixels.resized(clear, size, kernel) == 0).all()
    assert set(np.unique(pixels.turned(white, 1234))) == {0, 255}
    assert (pixels.shrunk(white, 2) == 255).all()
    assert (pixels.blurred(white[..., :3], pixels.ONE) == 255).all()
    assert (pixels.relit(clear, (3 * pixels.ONE,) * 3, (pixels.ONE,) * 3) == 0).all()
    assert (pixels.relit(white, (0,) * 3, (pixels.ONE // 2,) * 3)[..., :3] == 128).all()
    assert (pixels.relit(white, (3 * pixels.ONE,) * 3, (pixels.ONE,) * 3) == 255).all()


def test_recolouring_moves_nothing_but_colours_and_is_off_unless_asked_for() -> None:
    plain, off, on = (
        compose(layout, 7, "test", 4)
        for layout in (
            Layout(size=64, blur=0),
            Layout(size=64, blur=0, recolour=0),
            Layout(size=64, blur=0, recolour=1),
        )
    )
    assert pickle.dumps(plain) == pickle.dumps(off)
    for same in ("boxes", "instances", "classes"):
        assert np.array_equal(getattr(plain, same), getattr(on, same))
    assert (plain.labels, plain.sprites, plain.transforms) == (on.labels, on.sprites, on.transforms)
    changed = (plain.image != on.image).any(axis=2)
    assert changed[plain.instances > 0].mean() > 0.9
    assert changed.mean() < 0.9  # not the background


def test_recolouring_draws_from_a_stream_of_its_own() -> None:
    """So little of it that no pixel changes leaves all else as it is: light and blur are drawn as before."""
    plain, little = (compose(replace(PLAIN, recolour=share), 7, "test", 4) for share in (0, 1e-9))
    assert np.array_equal(plain.image, little.image)


def test_a_recoloured_sprite_keeps_its_shades_and_not_its_hue() -> None:
    half = pixels.ONE // 2
    shades = np.array([[[200, 0, 0, 255], [0, 102, 0, 255], [60, 60, 60, 60]]], np.uint8)
    whole = pixels.recoloured(shades, (2 * half, half, 0), pixels.ONE)
    assert whole.tolist() == [[[59, 29, 0, 255], [59, 29, 0, 255], [60, 30, 0, 60]]]
    assert np.array_equal(pixels.recoloured(shades, (half, half, half), 0), shades)


def test_sprites_of_one_scene_are_recoloured_independently() -> None:
    """One sprite, planted often, has as many colours."""
    draws = Draws("colours")
    grey = np.full((1, 1, 4), 120, np.uint8)
    grey[..., 3] = 255
    colours = {tuple(module._recoloured(draws, 1.0, grey)[0, 0, :3].tolist()) for _ in range(20)}
    assert len(colours) == 20


def colours(layout: Layout, split: str, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean and mean square of R, G and B over each labelled object's own pixels, and its class."""
    scenes = [compose(layout, 0, split, index) for index in range(count)]
    own = [
        scene.image[scene.instances == number] / 255 for scene in scenes for number in range(1, len(scene.labels) + 1)
    ]
    classes = [CLASSES.index(label) for scene in scenes for label in scene.labels]
    return np.array([[*pixels.mean(0), *(pixels**2).mean(0)] for pixels in own]), np.array(classes)


def told_by_colour(layout: Layout) -> float:
    """Per cent of test objects whose class a linear fit to the train objects' colours tells."""
    (x, y), (other, truth) = (colours(layout, split, count) for split, count in (("trainval", 300), ("test", 200)))
    centre, spread = x.mean(0), x.std(0)
    learnt, tested = (np.pad((six - centre) / spread, ((0, 0), (0, 1)), constant_values=1) for six in (x, other))
    weights, *_ = np.linalg.lstsq(learnt, np.eye(len(CLASSES))[y], rcond=None)
    return 100 * float(((tested @ weights).argmax(1) == truth).mean())


def test_classes_of_recoloured_scenes_cannot_be_told_by_colour() -> None:
    """By chance a third is told."""
    plain = Layout(size=48, classes=DEMO.layout.classes)
    assert told_by_colour(plain) > 60
    assert told_by_colour(replace(plain, recolour=1)) < 45
