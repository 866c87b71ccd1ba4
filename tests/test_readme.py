"""Every command of the README runs as it is printed, the long ones dry and small; its figures are the records'."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from harness import ROOT, tables
from harness.cli import main
from harness.verbs import speed
from methods.encoder import build_encoder
from tests.pictures import photos

README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = ROOT / "results" / "demo"
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("harness ")]
SMALL = ["--dry-run", "--set", "encoder=resnet18", "--set", "size=32", "--set", "benchmark.sizes=64", "--device", "cpu"]


def test_the_readme_has_commands() -> None:
    assert {command.split()[1] for command in COMMANDS} == {
        "run", "reproduce", "table", "plot", "figure", "show", "compare", "data", "doctor", "speed", "claims", "plan",
        "export", "submit", "report",
    }  # fmt: skip


def plant_weights(results: Path) -> None:
    """A record of ours with the weights that git does not have."""
    folder = Path(shutil.copytree(ROOT / "results/demo/runs/simsiam-s1-3c6ee06e", results / "runs/simsiam-s1-3c6ee06e"))
    torch.save(build_encoder("resnet18", zero_init=False).state_dict(), folder / "backbone.pth")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_do_what_they_say(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "imagenet" / "train", 2)
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "coco").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "STEPS", 1)
    words = [str(ROOT / word) if word.startswith("results/") else word for word in shlex.split(command)[1:]]
    if words[0] == "export":
        plant_weights(tmp_path / "weights")
    extra = {
        "run": SMALL, "data": ["--images", "2"], "speed": ["--device", "cpu"], "figure": ["--size", "64", "--out", "x"],
        "export": ["--results", "weights"],
    }.get(words[0], [])  # fmt: skip
    assert main([*words, *extra]) == 0


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert ".ci/run" not in README
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == "make test"


FILES = {
    **{f"{name}.{kind}": ["table", name, "--format", kind]
       for name in ("A1", "A2", "gauges") for kind in ("md", "csv")},
    **{f"claims-{name}-{score}.md": ["claims", name, "--score", score, "--format", "md"]
       for name in ("A1", "A2") for score in ("AP", "AP50")},
}  # fmt: skip


def test_no_table_of_ours_is_forgotten() -> None:
    assert {file.name for file in (DEMO / "tables").iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_the_tables_are_the_records(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FILES[name], "--results", str(DEMO)]) == 0
    assert capsys.readouterr().out == (DEMO / "tables" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["A1", "gauges"])
def test_the_readme_s_tables_are_the_records(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", name, "--results", str(DEMO)]) == 0
    body = capsys.readouterr().out.split("\n\n")[1]
    assert len(body.splitlines()) == len(tables.TABLES[name].rows) + len(tables.TABLES[name].controls) + 3
    assert body.rstrip() in README


def test_the_readme_s_verdicts_are_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "A1", "--results", str(DEMO)]) == 0
    verdicts = capsys.readouterr().out.split("claims of the paper:\n\n")[1].split("\n\n")[0]
    assert verdicts in README
