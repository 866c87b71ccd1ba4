"""Progress is a bar on a terminal, and lines that say how long it takes in a log file."""

from __future__ import annotations

import sys
from itertools import count

import pytest

from benchmarks.resuming.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of the one clock that progress looks at."""
    now = [0.0]
    monkeypatch.setattr("benchmarks.resuming.progress.SOONEST", 15.0)
    monkeypatch.setattr("benchmarks.resuming.progress.time.monotonic", lambda: now[0])
    return now


def work(clock: list[float], units: int, seconds: float, done: int = 0, shown: bool = True) -> None:
    """Do work of which every unit takes so long."""
    with Progress[None]("pre-train", "images", units, done, shown) as bar:
        for _ in range(done, units):
            clock[0] += seconds
            bar.note("loss 0.5")
            bar.advance()


def test_a_log_file_has_a_line_for_each_tenth_of_long_work(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    work(clock, 1000, 0.5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "pre-train: 100 of 1,000 images (10 %), loss 0.5, 2.0 images/s, 0:07:30 left"
    assert lines[-1] == "pre-train: 1,000 of 1,000 images (100 %), loss 0.5, 2.0 images/s, 0:00:00 left"


def test_work_of_days_has_a_line_every_five_minutes(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 600, 100.0)
    assert len(capsys.readouterr().err.splitlines()) == 200


def test_work_that_goes_on_counts_its_speed_from_there(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 1000, 0.5, done=900)
    assert capsys.readouterr().err == "pre-train: 1,000 of 1,000 images (100 %), loss 0.5, 2.0 images/s, 0:00:00 left\n"


def test_short_work_and_the_other_ranks_are_silent(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 1000, 0.004)
    work(clock, 1000, 1.0, shown=False)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar_and_no_lines(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    work(clock, 20, 10.0)
    shown = capsys.readouterr().err
    assert "pre-train:" in shown
    assert shown.count("\n") == 1


def test_a_loop_is_counted_item_by_item(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    seconds = count(0, 20)
    with Progress("test", "batches", 3, items="abc") as batches:
        assert len(batches) == 3
        for _, clock[0] in zip(batches, seconds, strict=False):
            pass
    assert "test: 2 of 3 batches (66 %), 0.1 batches/s, 0:00:10 left" in capsys.readouterr().err
