"""Plots hold what the records hold, and the same records give the same bytes."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness import plots, records, tables
from harness.cli import main
from harness.experiment import build, words


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two finished runs of `location` and one of `simsiam`, with curves."""
    for line, ap in (("location --seed 0", 10.0), ("location --seed 1", 14.0), ("simsiam", 3.0)):
        experiment = build(words().parse_args(["--strategy", *line.split()]))
        folder = tmp_path / "runs" / experiment.run_id
        folder.mkdir(parents=True)
        scores = {"AP": ap, "AP50": 2 * ap, "AP75": ap / 2}
        for name, content in (("config", experiment.settings), ("run", {}), ("scores", scores)):
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        points = [{"step": step, "epoch": 0, "loss": ap - step, "error": None} for step in (1, 2)]
        text = "".join(json.dumps(point) + "\n" for point in points)
        (folder / "curve.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_every_row_has_a_colour_of_its_own() -> None:
    for table in tables.TABLES.values():
        colours = [plots.COLOURS[label] for label in (*table.rows, *table.controls)]
        assert len(set(colours)) == len(colours)


def points(ax: Axes) -> set[tuple[float, float]]:
    return {(x, y) for line in ax.lines for x, y in np.asarray(line.get_xydata()).tolist()}


def test_dots_lie_at_the_runs_and_their_mean(results: Path) -> None:
    rows = tables.rows("A1", (), records.read_all(results)[0])
    ax = plots.measured(Figure().subplots(), rows, tables.SCORES[0])
    drawn = points(ax)
    assert {(10, 4), (14, 4), (12, 4), (3, 0)} <= drawn
    assert {y for _, y in drawn} == {0, 4}
    assert [text.get_text() for text in ax.get_yticklabels()][4] == "location (n=2)"
    paper = plots.reported(Figure().subplots(), rows, tables.SCORES[0])
    assert (54.9, 4) in points(paper)


def test_a_curve_is_the_mean_of_the_runs(results: Path) -> None:
    (row,) = (row for row in tables.rows("gauges", (), records.read_all(results)[0]) if row.label == "location")
    assert plots.lines_of(row.runs, tables.Column("loss", "loss")) == ([1, 2], [[9, 8], [13, 12]])
    ax = plots.gauge(Figure().subplots(), [row], tables.Column("loss", "loss"))
    assert np.array_equal(ax.lines[0].get_ydata(), [11, 10])
    assert plots.lines_of(row.runs, tables.GAUGES[4]) == ([], [[], []])


@pytest.mark.parametrize("name", tables.TABLES)
def test_the_same_records_give_the_same_bytes(name: str, results: Path, tmp_path: Path) -> None:
    for stem in ("one", "two"):
        assert main(["plot", name, "--results", str(results), "--out", str(tmp_path / stem)]) == 0
    for kind in ("png", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()


def test_without_a_run_there_is_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "A1", "--results", str(tmp_path)]) == 2
    assert "fills a row of table A1: harness reproduce A1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
