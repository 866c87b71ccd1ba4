"""What a writer may replace: a file, or what a link leads to, and nothing else; where pictures and pages go."""

import os
import stat
from pathlib import Path

import pytest
import torch

from benchmarks.detection.convert import convert_file
from benchmarks.resuming import files
from benchmarks.weights import names
from harness.cli import main
from tests.test_cli import refused


def fill(path: Path, text: bytes = b"new") -> None:
    files.write(path, lambda out: out.write(text))


def test_a_writer_refuses_what_exists_and_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "device").symlink_to("/dev/full")
    (tmp_path / "file").write_text("old")
    before = sorted(os.listdir(tmp_path))
    says = {
        "pipe": "a device, a pipe or a socket, not a file",
        "device": "a device, a pipe or a socket, not a file",
        "folder": "a folder, not a file",
        "circle": "links that lead in a circle",
        "file/x": "file is a file, not a folder",
    }
    for name, text in says.items():
        with pytest.raises(ValueError, match=f"{name}: .*{text}$"):
            fill(tmp_path / name)
    with pytest.raises(ValueError, match=r"^/dev/full: a device, a pipe or a socket, not a file$"):
        fill(Path("/dev/full"))
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    with pytest.raises(ValueError, match="pipe: a device"):
        files.append(tmp_path / "pipe", {"step": 1})
    with pytest.raises(ValueError, match="pipe: a device"):
        files.link(tmp_path / "file", tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: a device"), files.lock(tmp_path / "pipe", "taken"):
        pass
    assert not files.is_locked(tmp_path / "pipe")
    assert sorted(os.listdir(tmp_path)) == before


def test_a_writer_follows_a_link_to_its_target(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old").write_text("old")
    for name in ("old", "new"):
        (tmp_path / name).symlink_to(Path("there") / name)
        fill(tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "there" / name).read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path / "there")) == ["new", "old"]


def test_a_converted_backbone_is_written_by_the_same_rule(tmp_path: Path) -> None:
    torch.save({name: torch.zeros(1) for name in names("resnet18")}, tmp_path / "a.pth")
    (tmp_path / "link.pth").symlink_to(tmp_path / "there.pth")
    convert_file(tmp_path / "a.pth", tmp_path / "link.pth", encoder="resnet18")
    assert (tmp_path / "link.pth").is_symlink()
    assert (tmp_path / "there.pth").is_file()


RECORDS = ["--results", "results/demo"]


def test_a_page_is_html_and_replaces_files_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "page.html")
    for out, says in {
        "/dev/full": "/dev/full: a device, a pipe or a socket, not a file",
        str(tmp_path / "page.html"): "page.html: a device, a pipe or a socket, not a file",
        "rep.pdf": "--out rep.pdf: the page is HTML: name it rep.html",
    }.items():
        assert says in refused(capsys, "report", "A1", *RECORDS, "--out", out)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert not Path("rep.pdf").exists()


def test_a_picture_is_named_by_its_ending_or_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    for out, made in {
        "x.png": ["x.png"],
        "y.PDF": ["y.PDF"],
        "both": ["both.pdf", "both.png"],
        "folder": ["folder/A1-gauges.pdf", "folder/A1-gauges.png"],
        "new/": ["new/A1-gauges.pdf", "new/A1-gauges.png"],
    }.items():
        before = set(tmp_path.rglob("*.*"))
        assert main(["plot", "A1", "--against", "gauges", *RECORDS, "--out", f"{tmp_path}/{out}"]) == 0
        written = set(tmp_path.rglob("*.*")) - before
        assert sorted(file.relative_to(tmp_path).as_posix() for file in written) == made
    assert (tmp_path / "x.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "y.PDF").read_bytes()[:4] == b"%PDF"
    capsys.readouterr()
    for words in (["plot", "A1", *RECORDS], ["figure", "matches"]):
        told = refused(capsys, *words, "--out", str(tmp_path / "x.svg"))
        assert told.endswith("x.svg: pictures are written as .png and .pdf")


@pytest.mark.parametrize("name", ["sheet", "sheet.xyz", "folder.png", "file/sheet.png"])
def test_a_sheet_is_checked_before_anything_is_composed(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    words = ["data", "scenes", "--images", "1", "--size", "48", "--out", str(tmp_path / "scenes")]
    assert name in refused(capsys, *words, "--sheet", str(tmp_path / name))
    assert not (tmp_path / "scenes").exists()
