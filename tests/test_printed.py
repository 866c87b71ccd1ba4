"""What harness prints to be typed can be typed: every command is whole, and a wrong folder of records is named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest

from harness import ROOT
from harness.cli import main
from tests.runs import recorded

DEMO = ROOT / "results" / "demo"
WORDS = ["--preset", "study", "--set", "epochs=3", "--benchmark", "voc-folder", "--benchmark-data", "own voc",
         "--data", "photos", "--results", "my runs"]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with empty results, data of the user's and an empty DIR."""
    for name in ("my runs", "own voc", "photos", "DIR"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.engine.estimate.estimate", lambda trials, machine: "")
    return tmp_path


def commands(text: str) -> list[list[str]]:
    """Return the words of every line of a text that is a command of harness, or ends with one."""
    found = re.findall(r"(?:^|: +|^\S[\w ]* )(harness (?:run|reproduce|show|table|figure)\b.*)$", text, re.MULTILINE)
    found += re.findall(r"^ +(harness run .*)$", text, re.MULTILINE)
    return [shlex.split(line)[1:] for line in dict.fromkeys(found)]


def options(words: Iterable[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


@pytest.mark.parametrize(
    "line",
    [["table", "A1", *WORDS], ["table", "A2", *WORDS, "--format", "md"], ["reproduce", "A2", *WORDS, "--dry-run"],
     ["submit", "A2", *WORDS, "--dry-run"], ["plan", "A2", *WORDS, "--device", "cpu"],
     ["reproduce", "A2", "--seeds", "4-5", *WORDS, "--dry-run"], ["table", "coco"], ["table", "coco", *WORDS[:4]],
     ["table", "A1", "--preset", "paper", "--results", "my runs"]],
    ids=lambda line: " ".join(line[:3]),
)  # fmt: skip
def test_every_command_that_is_printed_is_whole_and_runs(
    line: list[str], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.engine.estimate.hours", lambda experiment, machine: 1.0)
    assert main(line) == 0
    printed = commands(capsys.readouterr().out)
    assert len(printed) >= 4
    asked = options(line) - {"--dry-run", "--format", "--device", "--seeds"}
    for words in printed:
        assert asked <= options(words)
        assert main([*words, "--dry-run"]) == 0
    if "--seeds" in line:
        assert {words[words.index("--seed") + 1] for words in printed} == {"4", "5"}
    if line[:2] == ["table", "coco"]:
        assert all("--benchmark-data" in words for words in printed)


def test_a_record_and_an_empty_plot_name_commands_that_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(here / "my runs" / "runs" / "one", {"seed": 0, "strategy": {"name": "location"}}, {"AP": 1.0})
    assert main(["show", "one", "--results", "my runs"]) == 0
    (words,) = commands(capsys.readouterr().out)
    assert main(words) == 0
    assert '"run": "one"' in capsys.readouterr().out
    assert main(["plot", "A2", *WORDS]) == 2
    (words,) = commands(capsys.readouterr().err)
    assert options(WORDS) <= options(words)
    assert main([*words, "--dry-run"]) == 0


def test_a_report_prints_whole_commands(here: Path) -> None:
    assert main(["report", "A2", *WORDS, "--out", "x.html"]) == 0
    page = Path("x.html").read_text(encoding="utf-8").replace("&#39;", "'")
    made = [words for words in commands(page.replace("<pre><code>", "\n")) if words[0] == "run"]
    assert len(made) >= 4
    assert all(options(WORDS) <= options(words) for words in made)
    assert main([*made[0], "--dry-run"]) == 0


READERS = [
    "table A1", "claims A1", "plan A1", "report --out x.html", "compare a b", "plot A1", "show a", "runs", "runs rm a",
    "figure A1 --run a", "figure matches --run a", "export a --to timm",
]  # fmt: skip


@pytest.mark.parametrize("line", READERS)
def test_a_wrong_folder_of_records_is_named(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(here / "results" / "mine" / "runs" / "one", {"seed": 0}, {"AP": 1.0})
    (here / "afile").touch()
    for wrong, said in (
        ("results/mime", "no such folder: did you mean 'results/mine'?"),
        ("results/mine/runs", "a folder within the records: did you mean 'results/mine'?"),
        ("results/mine/runs/one", "a folder within the records: did you mean 'results/mine'?"),
        ("elsewhere", "no such folder"),
    ):
        assert main([*line.split(), "--results", wrong]) == 2
        told = capsys.readouterr()
        assert (told.out, told.err) == ("", f"harness: --results {wrong}: {said}\n")
    assert main([*line.split(), "--results", "afile"]) == 2
    assert "not a folder" in capsys.readouterr().err
    assert not Path("x.html").exists()


def test_a_fresh_checkout_lists_the_commands(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("harness.verbs.options", "harness.evidence.render"):
        monkeypatch.setattr(f"{module}.RESULTS", here / "results")
    for absent in (True, False):
        assert main(["table", "A1"]) == 0
        assert len(commands(capsys.readouterr().out)) == 8
        if absent:
            (here / "results").mkdir()
