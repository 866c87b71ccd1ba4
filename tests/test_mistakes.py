"""What a user's mistake gets: one clear line, at once, and of code of the user's the lines that led to it."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from benchmarks.resuming import signals
from harness import ROOT, cli
from harness.cli import main
from harness.engine import observers
from harness.engine.distributed import CONTINUES
from harness.terminal import Traced
from tests.test_cli import SMALL, refused


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package `mine` where the user stands; nothing of it stays imported."""
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    yield tmp_path / "mine"
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


BROKEN = {
    "def f(:\n    pass\n": ("SyntaxError: invalid syntax", ["line 1: def f(:"]),
    "import nosuchmodule\n": ("ModuleNotFoundError: No module named 'nosuchmodule'", ["line 1: import nosuchmodule"]),
    "def g():\n    return 1 / 0\n\n\ng()\n": (
        "ZeroDivisionError: division by zero",
        ["line 5: g()", "line 2: return 1 / 0"],
    ),
    "raise SystemExit(0)\n": ("SystemExit: 0", ["line 1: raise SystemExit(0)"]),
    "import json\n\njson.loads('{')\n": (
        "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ["line 3: json.loads('{')"],
    ),
}
ASKED = {
    "strategy": "run --strategy mine.broken",
    "benchmark": "run --strategy location --benchmark mine.broken",
    "table": "table mine.broken",
    "module": "figure A1 --run x --code mine.broken",
}


@pytest.mark.parametrize("code", BROKEN, ids=[says for says, _ in BROKEN.values()])
@pytest.mark.parametrize("kind", ASKED)
def test_a_broken_file_of_the_user_s_shows_its_own_lines_alone(
    kind: str, code: str, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine / "broken.py").write_text(code, encoding="utf-8")
    assert main(shlex.split(ASKED[kind])) == 2
    says, lines = BROKEN[code]
    first = f"harness: {kind} 'mine.broken' cannot be imported: {says}"
    assert capsys.readouterr().err.splitlines() == [first, *(f"  mine/broken.py, {line}" for line in lines)]


def test_a_broken_file_is_an_error_with_the_same_text_in_python(mine: Path) -> None:
    (mine / "broken.py").write_text("raise SystemExit(0)\n", encoding="utf-8")
    with pytest.raises(
        Traced, match=r"table 'mine.broken' cannot be imported: SystemExit: 0\n  mine/broken.py, line 1"
    ):
        harness.table("mine.broken")


STRATEGY = """
from dataclasses import dataclass
from methods import geometry
from methods.correspondence import Strategy

@dataclass(frozen=True)
class Mine(Strategy):
    def __call__(self, query, key, similarity):
        return {}

STRATEGY = Mine
"""


def test_a_strategy_that_fails_on_its_first_batch_leaves_no_folder(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was trained, and a mended strategy would begin anew: there is nothing to keep."""
    (mine / "raises.py").write_text(STRATEGY.format("geometry.overlap(query.box, 3)"), encoding="utf-8")
    (mine / "tuple.py").write_text(STRATEGY.format("(query, key)"), encoding="utf-8")
    line = ["run", *SMALL, "--results", "results", "--strategy"]
    said = refused(capsys, *line, "mine.raises")
    assert "raises.py): __call__ raised TypeError: 'int' object is not subscriptable mine" in said
    assert said.endswith("mine/raises.py, line 9: return geometry.overlap(query.box, 3)")
    assert "__call__ returned a tuple" in refused(capsys, *line, "mine.tuple")
    assert list(Path("results", "runs").iterdir()) == []


AT_ONCE = {
    "run --strategy location --device mps": "--device mps: choose cpu, cuda or cuda:N",
    "run --strategy location --device cuda1": "--device cuda1: choose cpu, cuda or cuda:N",
    "run --strategy location --workers -1 --dry-run": "--workers -1: must be at least 0",
    "speed --workers -1": "--workers -1: must be at least 0",
    "run --strategy location --data nosuch": "nosuch: no such folder",
    "run --strategy location --preset paper": "no data of its own to pre-train on: --data DIR",
    "run --strategy location --benchmark voc-folder": "benchmark 'voc-folder' needs a folder: --benchmark-data DIR",
    "run --strategy location --benchmark coco-fpn": "benchmark 'coco-fpn' needs a COCO folder: --benchmark-data DIR",
    "run --strategy location --benchmark voc-folder --benchmark-data nosuch": "nosuch: no such folder",
    "run --strategy location --results afile": "--results afile: not a folder",
    "table A1 --results afile/runs": "--results afile/runs: not a folder",
    "run --strategy location --processes 3 --dry-run": "batch=64: cannot be divided among 3 processes",
    "reproduce A1 --processes 3 --dry-run": "batch=64: cannot be divided among 3 processes",
    "reproduce A1 --jobs 0 --dry-run": "--jobs 0: at least 1 was expected",
    "reproduce A1 --data nosuch": "nosuch: no such folder",
}


def test_what_needs_no_torch_is_refused_without_it(tmp_path: Path) -> None:
    (tmp_path / "afile").touch()
    code = (
        "import sys; from harness.cli import main\n"
        f"for line in {list(AT_ONCE)}: print(main(line.split()), 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
                          env={"PYTHONPATH": str(ROOT)})  # fmt: skip
    lines = done.stderr.splitlines()
    assert lines[1::2] == ["2 False"] * len(AT_ONCE), done.stderr
    assert all(said in line for said, line in zip(AT_ONCE.values(), lines[::2], strict=True)), done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["afile"]


@pytest.mark.parametrize("notes", [(), (CONTINUES,)])
def test_ctrl_c_promises_to_continue_only_where_something_was_saved(
    notes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "run", lambda line: signals.interrupt(signal.SIGINT, *notes))
    assert main(["run"]) == 130
    assert capsys.readouterr().err == "\n" + "; ".join(["harness: stopped", *notes]) + "\n"


@pytest.mark.parametrize("saved", [None, "checkpoint.pth", "backbone.pth"])
def test_a_stopped_run_says_that_it_continues_if_it_has_weights(
    saved: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(folder: Path, *_: object) -> None:
        if saved:
            (folder / saved).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(observers, "observe", stop)
    assert main(["run", "--strategy", "random", *SMALL, "--results", str(tmp_path)]) == 130
    assert (CONTINUES in capsys.readouterr().err) == (saved is not None)


def test_ctrl_c_while_modules_are_imported_is_one_line() -> None:
    code = (
        "import sys, harness.__main__ as command\n"
        "class Stop:\n    def find_spec(self, name, *_):\n        if name == 'methods.correspondence':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\nsys.exit(command.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (130, "\nharness: stopped\n")


def test_the_command_begins_where_ctrl_c_is_caught() -> None:
    assert "harness = harness.__main__:main" in (ROOT / "setup.cfg").read_text(encoding="utf-8")
