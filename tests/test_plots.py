"""Plots hold what the records hold, and the same records give the same bytes."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.scenes import Scenes
from harness import records, tables
from harness.cli import main
from harness.evidence import plots, style
from harness.evidence.plots import differences, gauges, scores, steps
from harness.evidence.plots.parts import axis_of, estimate
from harness.evidence.rows import Row, fill_rows
from harness.experiment import parse


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two finished runs of `location` and one of `simsiam`, with curves."""
    for line, ap in (("location --seed 0", 10.0), ("location --seed 1", 14.0), ("simsiam", 3.0)):
        write(tmp_path, line, ap, steps=2)
    return tmp_path


def write(results: Path, line: str, ap: float, steps: int) -> None:
    """A finished run; a curve if there are steps."""
    experiment = parse(["--strategy", *line.split()])
    folder = results / "runs" / experiment.run_id
    folder.mkdir(parents=True)
    scores = {"AP": ap, "AP50": 2 * ap, "AP75": ap / 2}
    for name, content in (("config", experiment.settings), ("run", {}), ("scores", scores)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    points = [
        {"step": step, "epoch": 0, "loss": ap - step, "error": None, "pairs": 49.0} for step in range(1, steps + 1)
    ]
    if points:
        text = "".join(json.dumps(point) + "\n" for point in points)
        (folder / "curve.jsonl").write_text(text, encoding="utf-8")


def test_every_row_has_a_colour_of_its_own() -> None:
    for table in tables.TABLES.values():
        colours = [style.ROWS[label] for label in (*table.rows, *table.controls)]
        assert len(set(colours)) == len(colours)


def points(ax: Axes) -> set[tuple[float, float]]:
    return {(x, y) for line in ax.lines for x, y in np.asarray(line.get_xydata()).tolist()}


def test_dots_lie_at_the_runs_and_their_mean(results: Path) -> None:
    rows = fill_rows("A1", (), records.read_all(results)[0])
    ax = scores.measured(Figure().subplots(), rows, tables.SCORES[0])
    drawn = points(ax)
    assert {(10, 4), (14, 4), (12, 4), (3, 0)} <= drawn
    assert {y for _, y in drawn} == {0, 4}
    assert [text.get_text() for text in ax.get_yticklabels()][4] == "location (n=2)"
    assert (0, 4) in drawn  # where the interval of `location` would leave the possible scores
    paper = scores.reported(Figure().subplots(), rows, tables.SCORES[0])
    assert (54.9, 4) in points(paper)


def test_a_curve_is_the_mean_of_the_runs(results: Path) -> None:
    (row,) = (row for row in fill_rows("gauges", (), records.read_all(results)[0]) if row.label == "location")
    assert gauges.values_over_steps(row.runs, tables.Column("loss", "loss")) == ([1, 2], [[9, 8], [13, 12]])
    ax = gauges.curve(Figure().subplots(), [row], tables.Column("loss", "loss"))
    assert np.array_equal(ax.lines[0].get_ydata(), [11, 10])
    assert gauges.values_over_steps(row.runs, tables.GAUGES[4]) == ([], [[], []])


def test_a_bar_is_the_interval_and_one_seed_has_none(results: Path) -> None:
    rows = {row.label: row for row in fill_rows("A1", (), records.read_all(results)[0])}
    mean, low, high = estimate(rows["location"], tables.SCORES[0])
    assert mean == 12
    assert (low, high) == pytest.approx(
        (12 - 12.706 * 2, 12 + 12.706 * 2), abs=0.01
    )  # Student's t of one degree of freedom
    assert estimate(rows["SimSiam"], tables.SCORES[0]) == (3, None, None)


@pytest.mark.parametrize("name", tables.TABLES)
def test_the_same_records_give_the_same_bytes(name: str, results: Path, tmp_path: Path) -> None:
    rows = fill_rows(name, (), records.read_all(results)[0])  # of coco without a run
    for stem in ("one", "two"):
        plots.write(name, rows, "ours", tmp_path / stem)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()


@pytest.mark.parametrize("kind", ["steps", "gauges"])
def test_a_score_against_the_pre_training_gives_the_same_bytes(kind: str, results: Path, tmp_path: Path) -> None:
    for stem in ("one", "two"):
        words = ["plot", "A1", "--against", kind, "--results", str(results), "--out", str(tmp_path / stem)]
        assert main(words) == 0
    for end in ("png", "pdf"):
        assert (tmp_path / f"one.{end}").read_bytes() == (tmp_path / f"two.{end}").read_bytes()


def test_a_score_lies_at_the_steps_of_every_length(results: Path) -> None:
    write(results, "simsiam --set epochs=9", 7.0, steps=9)
    write(results, "random", 5.0, steps=0)
    found = steps.lengths("A1", (), records.read_all(results)[0])
    ax = steps.over_steps(Figure().subplots(), found, tables.SCORES[0])
    lines = {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in ax.lines}
    assert [y for _, y in lines["SimSiam"]] == [3, 7]
    assert [x / 9 * 2 for x, _ in lines["SimSiam"][1:]] == pytest.approx([lines["SimSiam"][0][0]])
    assert [y for _, y in lines["random"]] == [5, 5]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["2", "9"]


def test_a_score_lies_at_its_run_s_gauge(results: Path) -> None:
    rows = fill_rows("A1", (), records.read_all(results)[0])
    ax = gauges.against_gauge(Figure().subplots(), rows, tables.GAUGES[3], tables.SCORES[0])
    assert {(49, 10), (49, 14), (49, 12), (49, 3)} == points(ax)
    assert (ax.get_xlabel(), axis_of(tables.SCORES[0])) == ("pairs per image", "AP, %")


@pytest.mark.parametrize(
    ("words", "said"),
    [("A1 --against SimSam", "did you mean 'SimSiam'?"), ("A1 --against random", "no row shares a seed"),
     ("gauges --against steps", "no table of scores 'gauges'"), ("A1 --against gauges --score ap", "no score 'ap'"),
     ("A2 --against gauges", "nothing to draw against gauges"), ("A2 --against steps", "against steps")],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said_in_one_line_and_its_choices(
    words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "location", 5.0, steps=0)
    assert main(["plot", *words.split(), "--results", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert all(line.startswith("  ") for line in told.splitlines()[1:])  # choices, one a line


def test_rows_of_one_s_own_are_drawn_as_text_with_a_look_of_their_own(tmp_path: Path) -> None:
    row = Row(r"_50%_{x}$ $\input{a}$", False, "", {"x": 1.0}, (), None)
    plots.write("A1", [row], r"$\no$", tmp_path / "own", [tables.Column("x", r"$\frac$")])
    assert style.look(row.label) == style.look(row.label) != style.look("another")


def test_without_a_run_there_is_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "A1", "--results", str(tmp_path)]) == 2
    assert "fills a row of table A1: harness reproduce A1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_axis_ends_where_no_score_is_possible(results: Path) -> None:
    write(results, "random", 0.5, steps=0)
    rows = fill_rows("A1", (), records.read_all(results)[0])
    ax = scores.measured(Figure().subplots(), rows, tables.SCORES[0])
    assert ax.get_xlim()[0] == 0
    assert ax.get_xlim()[1] <= 100
    free = scores.measured(Figure().subplots(), rows, tables.Column("AP", "AP"))
    assert free.get_xlim()[0] < 0


def test_a_dotted_line_stands_at_random_s_mean_and_is_explained(results: Path) -> None:
    without = fill_rows("A1", (), records.read_all(results)[0])
    write(results, "random", 5.0, steps=0)
    rows = fill_rows("A1", (), records.read_all(results)[0])
    ax = scores.measured(Figure().subplots(), rows, tables.SCORES[0])
    dotted = [np.asarray(line.get_xdata()).tolist() for line in ax.lines if line.get_linestyle() == ":"]
    assert dotted == [[5.0, 5.0]]
    assert "mean of random" in plots.plot_scores(rows, tables.SCORES)[1]
    assert "mean of random" not in plots.plot_scores(without, tables.SCORES)[1]


def test_the_loss_is_drawn_from_its_own_start_and_a_long_curve_has_few_points(results: Path) -> None:
    (row,) = (row for row in fill_rows("gauges", (), records.read_all(results)[0]) if row.label == "location")
    ax = gauges.curve(Figure().subplots(), [row], gauges.LOSS)
    assert np.array_equal(ax.lines[0].get_ydata(), [0, -1])
    assert gauges.change([5.0, 9.0, *[4.0] * 18]) == [-2.0, 2.0, *[-3.0] * 18]  # the median of 5 and 9
    assert len(gauges.thinned(range(1001))) <= gauges.MOST_POINTS
    assert gauges.thinned(range(1000))[:2] == [2.0, 7.0]


def test_a_forest_plot_holds_the_paired_differences_and_the_paper_s(results: Path) -> None:
    write(results, "simsiam --seed 1", 6.0, steps=2)
    rows = fill_rows("A1", (), records.read_all(results)[0])
    found = {one.row.label: one for one in differences.differences(rows, tables.SCORES[0], "SimSiam")}
    assert "SimSiam" not in found
    location = found["location"]
    assert (location.ours.difference, location.ours.seeds) == (7.5, 2)  # of 10 − 3 and 14 − 6
    assert location.paper == pytest.approx(54.9 - 53.5)
    assert (found["random"].paper, found["random"].ours.seeds) == (None, 0)
    ax = differences.forest(Figure().subplots(), [*found.values()], tables.SCORES[0], "SimSiam")
    place = [*found].index("location")
    assert {(7.5, place), (0, 0), (0, 1)} <= points(ax)
    assert any(point == pytest.approx((1.4, place)) for point in points(ax))
    texts = [text.get_text() for text in ax.texts]
    assert "−17.2" in texts  # feature similarity lies beyond the axis: an arrow and its number
    assert {"+7.50", "2", "+1.4", "[+1.15, +13.85]"} <= set(texts)


def test_against_a_row_is_a_forest_plot_with_a_title_or_without(results: Path, tmp_path: Path) -> None:
    line = ["plot", "A1", "--against", "SimSiam", "--results", str(results), "--out"]
    for stem, more in (("one", []), ("two", []), ("bare", ["--no-title"])):
        assert main([*line, str(tmp_path / stem), *more]) == 0
    images = [(tmp_path / f"{stem}.png").read_bytes() for stem in ("one", "two", "bare")]
    assert images[0] == images[1] != images[2]
    assert main(line[:-1]) == 0
    assert (results / "plots" / "A1-against-SimSiam.png").exists()


def test_a_score_that_should_be_impossible_is_shown_where_the_benchmark_allows_it(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scenes, "score_range", None)
    write(results, "random", -7.0, steps=0)
    rows = fill_rows("A1", (), records.read_all(results)[0])
    ax = scores.measured(Figure().subplots(), rows, tables.SCORES[0])
    assert ax.get_xlim()[0] < -7
