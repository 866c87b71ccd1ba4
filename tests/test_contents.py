"""Data are known by what their files contain, and what was read once is remembered."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.coco_fpn import CocoFpn
from benchmarks.data import contents
from benchmarks.data.contents import hashes
from benchmarks.voc_folder import VocFolder
from harness.engine.backbones import learnt_images
from harness.experiment import Pretraining, parse
from tests.pictures import coco_folder, photos, voc_folder

OLD = 1_600_000_000  # seconds since 1970: long before now


def squares(folder: Path, colour: str) -> Path:
    """Three BMPs of one colour, of the same names and sizes whatever the colour."""
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), colour).save(folder / f"{number}.bmp")
    return folder


def fingerprint(folder: Path, cache: Path) -> str:
    training = parse(["--strategy", "location", "--data", str(folder)]).backbone
    assert isinstance(training, Pretraining)
    data = learnt_images(training, cache, reduced=False)[2]
    return str(data["fingerprint"])


def test_images_are_known_by_their_content_wherever_they_lie(tmp_path: Path) -> None:
    black, white = (fingerprint(squares(tmp_path / colour, colour), tmp_path) for colour in ("black", "white"))
    assert black != white
    assert black.startswith("content-")
    assert fingerprint(shutil.copytree(tmp_path / "white", tmp_path / "elsewhere"), tmp_path) == white


def test_a_benchmark_s_images_are_known_by_their_content(tmp_path: Path) -> None:
    cat = {"a": [("cat", 5, 6, 20, 25)]}
    for benchmark, folder, name in (
        (VocFolder(), voc_folder(tmp_path / "voc", train=cat, val={"v": cat["a"]}), "JPEGImages/v.jpg"),
        (CocoFpn(), coco_folder(tmp_path / "coco"), "val2017/000000000007.jpg"),
    ):
        first = benchmark.prepare(folder, tmp_path).fingerprint
        copy = shutil.copytree(folder, tmp_path / f"{folder.name}-copy")
        assert benchmark.prepare(copy, tmp_path).fingerprint == first
        raw = bytearray((folder / name).read_bytes())
        raw[-3] ^= 1
        (folder / name).write_bytes(raw)
        assert benchmark.prepare(folder, tmp_path).fingerprint != first
        assert first.startswith("content-")


def test_what_was_hashed_is_not_read_again_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, read = photos(tmp_path / "photos", 3), list[str]()
    for file in files:
        os.utime(file, (OLD, OLD))
    compute = contents.content_hash

    def noted(file: Path) -> str:
        read.append(file.name)
        return compute(file)

    monkeypatch.setattr(contents, "content_hash", noted)
    first = hashes(files, tmp_path / "cache")
    assert (hashes(files, tmp_path / "cache"), len(read)) == (first, 3)
    files[1].write_bytes(files[1].read_bytes()[::-1])
    assert hashes(files, tmp_path / "cache")[1] != first[1]
    assert hashes(files, tmp_path / "cache")[::2] == first[::2]
    assert read[3:] == ["1.jpg", "1.jpg"]  # it has changed only just now, and could do so again unseen
    os.replace(shutil.copy2(files[2], tmp_path / "other"), files[2])  # another inode
    hashes(files, tmp_path / "cache")
    assert sorted(read[5:]) == ["1.jpg", "2.jpg"]


def test_a_cache_that_cannot_be_used_is_no_obstacle(tmp_path: Path) -> None:
    files = photos(tmp_path / "photos", 2)
    (tmp_path / "file").write_text("")
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / contents.MEMORY).write_text("no table of facts\n" * 100)
    assert hashes(files, tmp_path / "file") == hashes(files, tmp_path / "spoilt") == hashes(files, None)
