"""README.md and docs/: every command runs as it is printed, long ones dry and small; every quoted output is today's."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from docs import outputs
from docs.generate import fields_of
from harness import ROOT, plugins
from harness.cli import main
from harness.engine import estimate
from harness.verbs import speed
from methods.encoder import build_encoder
from tests.pictures import photos

DEMO = ROOT / "results" / "demo"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TEXTS = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for file in (*outputs.PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md")
}
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(harness|make) ([^`]+)`")
OPTION = re.compile(r"`(--[a-z-]+)")
SMALL = ["--dry-run", "--set", "encoder=resnet18", "--device", "cpu"]
FROZEN = {"matching", "linear", "retrieval", "clusters", "structure"}  # without a detector
TINY = shlex.split(
    "--set epochs=1 --set batch=2 --set size=64 --set width=8 --set heads.hidden=8 --set heads.out=8"
    " --workers 0 --device cpu --set benchmark.iterations=2 --set benchmark.batch=1 --set benchmark.train=6"
    " --set benchmark.test=3 --set benchmark.layout.size=48 --set benchmark.sizes=48"
)
EXTENDING = "docs/extending.md"  # whose examples test_extending.py runs
(NEAREST,) = re.findall(r"^`mine/nearest.py`.*?```python\n(.*?)^```$", TEXTS["README.md"], re.MULTILINE | re.DOTALL)
EXTRA = {  # verb: what keeps it short here
    "run": SMALL, "submit": ["--dry-run"], "reproduce": ["--dry-run"], "data": ["--images", "2"],
    "speed": ["--set", "size=32", "--set", "encoder=resnet18", "--set", "batch=2", "--workers", "0", "--device", "cpu",
              "--no-fused"],
    "figure": ["--size", "32", "--out", "x"], "export": ["--results", "weights"],
}  # fmt: skip


class Line(NamedTuple):
    """A line of a block of commands."""

    page: str
    text: str  # without its comment


def lines() -> list[Line]:
    """Return every line of the blocks without a language, and the commands of the quoted outputs."""
    found = []
    for page, text in TEXTS.items():
        for language, block in BLOCK.findall(text):
            rows = block.splitlines() if not language else []
            if language == "console":
                rows = [row.removeprefix("$ ") for row in block.splitlines() if row.startswith("$ ")]
            rows = "\n".join(rows).replace("\\\n", " ").splitlines()
            found += [Line(page, row.split("  # ")[0].rstrip()) for row in rows if row.strip()]
    return found


LINES = lines()
COMMANDS = sorted({line.text for line in LINES if line.text.startswith("harness ") and line.page != EXTENDING})
QUOTES = [(page.name, quote) for page in outputs.PAGES for quote in outputs.quotes(page)]


def test_every_line_of_a_block_is_a_command_of_a_kind_that_is_tested() -> None:
    assert {line.text.split()[0] for line in LINES} == {
        *("harness", "make", "torchrun"),  # see below
        *(".venv/bin/ruff", "OMP_NUM_THREADS=1"),  # what `make test` runs, and pytest
    }


def test_the_pages_show_every_verb() -> None:
    verbs = {command.split()[1] for command in COMMANDS}
    assert verbs == {verb.split()[0] for verb in outputs.verbs()}


def plant_weights(results: Path) -> None:
    """Copy a record of ours and give it the weights that git does not have."""
    folder = Path(shutil.copytree(ROOT / "results/demo/runs/simsiam-s1-3c6ee06e", results / "runs/simsiam-s1-3c6ee06e"))
    torch.save(build_encoder("resnet18", zero_init=False).state_dict(), folder / "backbone.pth")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_do_what_they_say(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "imagenet" / "train", 2)
    photos(tmp_path / "photos", 2)
    for folder in ("VOCdevkit", "coco", "my-voc", "my-coco", "other-photos"):
        (tmp_path / folder).mkdir()
    plant_strategy(tmp_path)
    torch.save(build_encoder("resnet18", zero_init=False).state_dict(), tmp_path / "moco_v2.pth")
    plant_weights(tmp_path / "weights")
    (tmp_path / "results" / "plots").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "STEPS", 1)
    monkeypatch.setattr(estimate, "fastest", lambda step, device: 0.01)
    args = [str(ROOT / word) if word.startswith("results/demo") else word for word in shlex.split(command)[1:]]
    few = ["--set", "batch=2"] if args[0] == "run" and "--data" in args else []  # as many as there are photos
    sides = ["--set", "benchmark.sizes=64"] if args[0] == "run" and not FROZEN & {*",".join(args).split(",")} else []
    assert main([*args, *EXTRA.get(args[0], []), *few, *sides]) == 0


def plant_strategy(folder: Path) -> None:
    """Write the README's strategy below a folder."""
    (folder / "mine").mkdir()
    (folder / "mine" / "nearest.py").write_text(NEAREST, encoding="utf-8")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the README's strategy, where the user stands."""
    plant_strategy(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


def test_the_readme_s_strategy_is_short_and_fills_a_row(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = [line for line in NEAREST.splitlines() if line.strip()]
    assert len(code) <= 15
    assert main(["run", "--strategy", "mine.nearest", *TINY, "--results", "results"]) == 0
    (curve,) = mine.glob("results/runs/mine.nearest-s0-*/curve.jsonl")
    points = [json.loads(line) for line in curve.read_text(encoding="utf-8").splitlines()]
    assert all(point["matched"] == 1 and point["pairs"] == 4 for point in points)
    capsys.readouterr()
    settings = TINY[: TINY.index("--workers")] + TINY[TINY.index("cpu") + 1 :]
    row = "nearest centre=--strategy mine.nearest"
    assert main(["table", "A1", "--row", row, *settings, "--results", "results", "--format", "json"]) == 0
    filled = {row["row"]: row["n"] for row in json.loads(capsys.readouterr().out)}
    assert filled["nearest centre"] == 1


@pytest.mark.parametrize("line", sorted({line.text for line in LINES if line.text.startswith("torchrun ")}))
def test_what_torchrun_starts_is_a_command(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "fastest", lambda step, device: 0.01)
    assert main([*shlex.split(line.partition("-m harness ")[2]), *SMALL]) == 0


@pytest.mark.parametrize("line", sorted({line.text for line in LINES if "/pytest " in line.text}))
def test_pytest_is_called_with_a_file_that_exists(line: str) -> None:
    assert all((ROOT / word).is_file() for word in line.split() if word.startswith("tests/"))


def test_ruff_and_mypy_are_called_as_make_test_does() -> None:
    called = {command for line in LINES if "ruff" in line.text for command in line.text.split(" && ")}
    assert called
    assert all(command.replace(".venv/bin", "$(BIN)") in MAKEFILE for command in called)


def test_make_has_the_targets_that_are_named() -> None:
    named = {line.text.split()[1] for line in LINES if line.text.startswith("make ")}
    named |= {rest.split()[0] for text in TEXTS.values() for tool, rest in INLINE.findall(text) if tool == "make"}
    assert {"demo", "test", "docs"} <= named
    for target in named:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == "make test"


HELP = {verb: outputs.help_text(*verb.split()) for verb in outputs.verbs()}


@pytest.mark.parametrize("page", [page for page in TEXTS if page != "CHANGELOG.md"])
def test_commands_within_sentences_exist(page: str) -> None:
    for tool, rest in INLINE.findall(TEXTS[page]):
        if tool == "harness" and not rest.startswith("-"):
            verb, *args = rest.split()
            asked = {arg for arg in args if arg.startswith("--")}
            kinds = [text for name, text in HELP.items() if name.split()[0] == verb]
            assert kinds or verb in ("VERB", "…"), rest
            assert all(any(option in text for text in kinds) for option in asked), rest


@pytest.mark.parametrize("page", [page for page in TEXTS if page != "CHANGELOG.md"])
def test_options_that_are_named_exist(page: str) -> None:
    known = "\n".join([*HELP.values(), "--version", "--help"])
    assert [option for option in OPTION.findall(TEXTS[page]) if option not in known] == []


@pytest.mark.parametrize(("page", "quote"), QUOTES)
def test_quoted_outputs_are_what_is_printed(page: str, quote: outputs.Quote) -> None:
    assert quote.output == outputs.printed(quote.command), f"{page}: python -m docs.outputs writes {quote.command} anew"
    assert max(map(len, quote.output.splitlines())) <= 80


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_to_files_that_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", TEXTS[page]):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


def test_a_strategy_s_page_lists_its_settings_and_nothing_else() -> None:
    for name in plugins.strategy_files():
        found = plugins.strategy(name)
        assert {field for field, _, _ in fields_of(found, set())} == {field.name for field in fields(found)}


@pytest.mark.parametrize("page", [page for page in TEXTS if page != "CHANGELOG.md"])
def test_files_that_are_named_exist(page: str) -> None:
    named = re.findall(r"`((?:methods|harness|benchmarks|tests|results/demo)/[\w./-]+)`", TEXTS[page])
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("_build", "generated"))
    for name in ("methods", "benchmarks", "results", "README.md", "CITATION.cff"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-W",
            "--keep-going",
            "-b",
            "dummy",
            tmp_path / "docs",
            tmp_path / "out",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


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
