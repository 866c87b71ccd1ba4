"""Tables count a run only if its recorded settings are the row's, and print a command for every gap."""

import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.resuming import files
from harness import ROOT, records, tables
from harness.cli import main
from harness.evidence import render
from harness.evidence.claims import evidence
from harness.evidence.compare import compare
from harness.evidence.findings import render_claims
from harness.evidence.left_out import left_out, left_out_line
from harness.evidence.power import Cost, render_plan
from harness.evidence.rows import Row, fill_rows
from harness.experiment import Experiment, parse
from harness.verbs import reproduce as module
from harness.verbs.reproduce import plan
from tests.runs import recorded


def settings(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(parse(line.split()).settings))
    return found


def record(line: str, ap: float | None, name: str = "r") -> records.Record:
    scores = None if ap is None else {"AP": ap, "AP50": ap + 1, "AP75": ap - 1}
    return records.Record(Path(name), settings(line), scores, "COMPLETED" if scores else "RUNNING")


def lines(found: Sequence[records.Record], extra: Sequence[str] = ()) -> dict[str, Row]:
    return {row.label: row for row in fill_rows("A1", extra, found)}


def test_an_empty_checkout_s_table_is_the_to_do_list() -> None:
    text = render.render("A1", list(lines([]).values()), "demo", False, "text")
    assert "harness run --strategy location\n" in text
    assert "54.9" in text
    assert "NOT comparable" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_run_of_the_row_s_settings_counts() -> None:
    row = lines([record("--strategy location", 10), record("--strategy location --seed 1", 12)])["location"]
    assert (row.n, row.values(tables.SCORES[0])) == (2, [10, 12])


def test_a_column_of_a_table_over_several_benchmarks_holds_the_runs_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = tuple(replace(tables.SCORES[0], benchmark=name) for name in ("scenes", "voc-folder"))
    own = tables.Table("two benchmarks", {"location": "--strategy location"}, columns=columns)
    monkeypatch.setitem(tables.TABLES, "own", own)
    line = "--strategy location --benchmark"
    known = [
        record(f"{line} scenes", 10, "a"), record(f"{line} scenes --seed 1", 12, "b"),
        record(f"{line} scenes --seed 1", 50, "again"), record(f"{line} voc-folder --seed 1", 30, "c"),
    ]  # fmt: skip
    (row,) = fill_rows("own", (), known)
    assert [row.values(column) for column in columns] == [[10, 12], [30]]
    assert (row.n, row.count) == (1, "1–2")
    assert left_out_line([row]) == ["1 run left out (same seed and trial 1): --why"]
    (empty,) = fill_rows("own", (), known[:3])
    assert empty.n == 0
    assert render.gap_commands([empty]) == [
        "harness run --strategy location --benchmark scenes,voc-folder --benchmark-data DIR"
    ]
    (named,) = left_out([row], [record(f"{line} voc-folder --set epochs=3", 1, "other")])
    assert "recipe.epochs=3" in named
    with pytest.raises(ValueError, match="the columns of table own name theirs: scenes, voc-folder"):
        fill_rows("own", ["--benchmark", "scenes"], known)


@pytest.mark.parametrize(
    "line",
    ["--strategy location --set epochs=3", "--strategy location --set strategy.sampler.side=5", "--strategy simsiam",
     "--strategy location --set benchmark.iterations=3", "--strategy location --data elsewhere",
     "--strategy location --preset study"],
)  # fmt: skip
def test_a_run_of_other_settings_does_not_count(line: str) -> None:
    assert lines([record(line, 10)])["location"].n == 0


def test_an_unfinished_run_does_not_count() -> None:
    assert lines([record("--strategy location", None)])["location"].n == 0


def test_words_for_the_whole_table_choose_other_runs() -> None:
    found = [record("--strategy location --set epochs=3", 10), record("--strategy location", 20)]
    row = lines(found, ["--set", "epochs=3"])["location"]
    assert row.values(tables.SCORES[0]) == [10]
    assert "--set epochs=3" in row.options
    with pytest.raises(ValueError, match="no field 'epoch'"):
        lines(found, ["--set", "epoch=3"])


def test_the_first_row_of_a2_is_a1_s_location() -> None:
    first = fill_rows("A2", (), [record("--strategy location", 10)])[0]
    assert first.n == 1


def test_every_row_of_the_paper_has_its_numbers() -> None:
    for name, table in tables.TABLES.items():
        for row in fill_rows(name, (), []):
            assert bool(row.reported) == (name in ("A1", "A2") and not row.control)
        assert len(table.rows) == {"A1": 6, "A2": 4, "coco": 6, "gauges": 9}[name]


def test_mean_spread_and_n_in_every_format() -> None:
    found = list(lines([record("--strategy location", 10), record("--strategy location --seed 1", 12)]).values())
    assert "11.0 ± 1.4" in render.render("A1", found, "demo", False, "text")
    assert "| location" in render.render("A1", found, "demo", False, "md")
    assert r"\toprule" in render.render("A1", found, "demo", False, "latex")
    entry = next(
        row for row in json.loads(render.render("A1", found, "demo", False, "json")) if row["row"] == "location"
    )
    assert (entry["AP"], entry["AP_std"], entry["n"], entry["paper_AP"]) == (11.0, 1.4142, 2, 54.9)
    cells = {row["row"]: row for row in csv.DictReader(io.StringIO(render.render("A1", found, "demo", False, "csv")))}
    assert (cells["location"]["AP"], cells["SimSiam"]["AP"]) == ("11.0", "")


HOSTILE = r"\input{/etc/passwd} 50%_{x}$ & # ~ ^ [a] ẑ √ ± × – ≈ · τ é 字"


def test_latex_prints_every_sign_as_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = tables.Table(HOSTILE, {HOSTILE: "--strategy location", "[b]": "--strategy simsiam"},
                         {"random": "--strategy random"}, columns=(tables.Column("AP", HOSTILE),))  # fmt: skip
    monkeypatch.setitem(tables.TABLES, "own", table)
    found = [record("--strategy location", 10), record("--strategy location --seed 1", 12)]
    text = render.render("own", fill_rows("own", (), found), "demo", False, "latex")
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert body[0] == r"\begin{tabular}{lrr}"
    assert [line for line in body if line.endswith("rule")] == [
        r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]  # fmt: skip
    assert body[4] == (
        r"\textbackslash{}input\{/etc/passwd\} 50\%\_\{x\}\$ \& \# \textasciitilde{} \textasciicircum{} {[}a]"
        r" $\hat{z}$ $\surd$ $\pm$ $\times$ -- $\approx$ $\cdot$ $\tau$ \'{e} ? & 11.0 $\pm$ 1.4 & 2 \\"
    )
    assert body[5] == r"{[}b] & -- & 0 \\"
    assert "".join(body).isascii()
    compile_latex(text, tmp_path)


def compile_latex(text: str, folder: Path) -> None:
    """Compile a table where there is a pdflatex."""
    if shutil.which("pdflatex"):
        page = "\n".join([r"\documentclass{article}\usepackage{booktabs}\begin{document}", text, r"\end{document}"])
        (folder / "page.tex").write_text(page, encoding="utf-8")
        line = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page"]
        done = subprocess.run(line, cwd=folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout


def test_latex_spans_the_paper_s_columns_and_ours(tmp_path: Path) -> None:
    text = render.render("A1", list(lines([record("--strategy location", 10)]).values()), "demo", False, "latex")
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert body[0] == r"\begin{tabular}{lrrrrrrr}"
    assert body[2:5] == [
        r" & \multicolumn{3}{c}{paper} & \multicolumn{3}{c}{ours} &  \\",
        r"\cmidrule(lr){2-4} \cmidrule(lr){5-7}",
        r" & AP & AP50 & AP75 & AP & AP50 & AP75 & n \\",
    ]
    compile_latex(text, tmp_path)


def test_a_table_of_scores_reads_no_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "read_curve", lambda folder: pytest.fail("a curve was read"))
    row = lines([record("--strategy location", 10)])["location"]
    for style in ("text", "latex", "csv", "json"):
        assert "10" in render.render("A1", [row], "demo", False, style)


def test_a_row_that_the_words_mean_nothing_to_says_so() -> None:
    found = lines([], ["--set", "strategy.min_overlap=5"])
    assert (found["location"].missing, found["shuffled"].missing) == (None, None)
    assert str(found["SimSiam"].missing).startswith("no field 'strategy.min_overlap'")
    assert "SimSiam: no field 'strategy.min_overlap'" in render.render(
        "A1", list(found.values()), "demo", False, "text"
    )


def test_both_tables_hold_nine_experiments_and_two_controls() -> None:
    experiments = plan(["A1", "A2", "gauges"], ["--set", "epochs=3"], [4], 2)
    assert len(experiments) == 11
    runs = [one for trials in experiments.values() for one in trials]
    assert len({one.run_id for one in runs}) == len(runs) == 22
    assert all((one.seed, one.settings["recipe"]["epochs"]) == (4, 3) for one in runs)
    assert len({one.backbone.name for one in runs}) == 8


def test_reproduce_runs_what_is_missing_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def fake(one: Experiment, *rest: object) -> records.Record:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(one.run_id)
        return recorded(tmp_path / "runs" / one.run_id, one.settings, {"AP": 1.0})

    monkeypatch.setattr(module, "run", fake)
    line = ["reproduce", "A2", "--seeds", "0-1", "--device", "cpu", "--results", str(tmp_path)]
    assert main(line) == 130
    assert "8 runs, 0 of them run already" in capsys.readouterr().out
    ran.remove(ran[0])
    assert main(line) == 130
    told = capsys.readouterr().out
    assert "8 runs, 2 of them run already" in told
    assert "[3/8] harness run --strategy location --set strategy.sampler=biased" in told
    assert "AP 1.00" in told
    assert len(ran) == len(set(ran)) == 2


def test_the_gauges_are_the_means_of_the_last_epoch(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    points = [{"step": step, "epoch": step // 2, "lr": 1, "error": step, "pairs": None} for step in range(4)]
    text = "".join(json.dumps(point) + "\n" for point in points) + '{"torn": '
    (tmp_path / "r" / "curve.jsonl").write_text(text, encoding="utf-8")
    run = record("--strategy location", 10, str(tmp_path / "r"))
    assert run.gauges() == {"error": 2.5}
    row = next(row for row in fill_rows("gauges", (), [run]) if row.label == "location")
    assert (row.n, row.values(tables.GAUGES[4]), row.values(tables.GAUGES[3])) == (1, [2.5], [])
    assert "2.50" in render.render("gauges", [row], "demo", False, "text")


def test_why_says_what_keeps_a_run_from_its_row() -> None:
    found = [
        record("--strategy location", 10, "counts"),
        record("--strategy location --set epochs=3 --set strategy.sampler.side=5", 10, "other"),
        record("--strategy simsiam", None, "half"),
    ]
    assert left_out(list(lines(found).values()), found) == [
        "other does not count for location: strategy.sampler.side=5, not 7; recipe.epochs=3, not 4",
        "half does not count for SimSiam: it is RUNNING, not finished",
    ]
    assert left_out(list(lines(found[:1]).values()), found[:1]) == ["Every run counts."]


def test_two_runs_are_compared_field_by_field(tmp_path: Path) -> None:
    runs = []
    for name, line, loss in (("a", "--strategy location", 1.0), ("b", "--strategy location --set lr=0.1", 2.0)):
        (tmp_path / name).mkdir()
        points = [{"step": 1, "epoch": 0, "loss": 3.0}, {"step": 2, "epoch": 0, "loss": loss}]
        text = "".join(json.dumps(point) + "\n" for point in points)
        (tmp_path / name / "curve.jsonl").write_text(text, encoding="utf-8")
        runs.append(record(line, 10 * loss, str(tmp_path / name)))
    told = compare(*runs)
    assert re.search(r"recipe\.lr +0\.05 +0\.1\n", told)
    assert told.count("recipe.") == 1
    assert re.search(r"AP50 +11 +21 +\+10", told)
    assert re.search(r"loss +2 +2\.5 +\+0\.5", told)
    assert told.endswith("curves: part at step 2")
    assert compare(runs[0], runs[0]).startswith("settings that differ:\n  none")
    assert compare(runs[0], runs[0]).endswith("curves: the same")


def stored(folder: Path, line: str, ap: float, data: str = "a", judged: str = "b") -> records.Record:
    """A record with a provenance, on disk."""
    folder.mkdir(parents=True)
    facts = {"data": {"fingerprint": data}, "benchmark_data": {"fingerprint": judged}}
    files.write_json(folder / "provenance.json", facts)
    return record(line, ap, str(folder))


@pytest.mark.parametrize("part", ["data", "judged"])
def test_runs_on_other_data_are_not_averaged(part: str, tmp_path: Path) -> None:
    found = [
        stored(tmp_path / "1", "--strategy location", 10),
        stored(tmp_path / "2", "--strategy simsiam", 10),
        stored(tmp_path / "3", "--strategy location --seed 1", 20, **{part: "c"}),
    ]
    rows = lines(found)
    assert rows["location"].values(tables.SCORES[0]) == [10]
    named = {"data": "data", "judged": "benchmark_data"}[part]
    assert left_out(list(rows.values()), found) == [
        f"3 does not count for location: its {named} is not that of most runs here (c)"
    ]


def test_why_says_that_an_older_fingerprint_covers_names_and_sizes_alone(tmp_path: Path) -> None:
    line = "--strategy location --data photos --seed"
    found = [stored(tmp_path / f"{seed}", f"{line} {seed}", 10, "content-aa", "content-bb") for seed in (0, 1)]
    found.append(stored(tmp_path / "2", f"{line} 2", 20, "aa", "content-bb"))
    row = lines(found, ["--data", "photos"])["location"]
    assert [run.id for run in row.runs] == ["0", "1"]
    assert left_out([row], found) == [
        "2 does not count for location: its data is not that of most runs here (aa, of names and sizes alone)"
    ]


def test_a_copied_record_counts_once(tmp_path: Path) -> None:
    found = [stored(tmp_path / name, "--strategy location --seed 2", 10) for name in ("1", "2")]
    rows = lines(found)
    assert (rows["location"].count, [run.id for run in rows["location"].runs]) == ("1", ["1"])
    assert left_out(list(rows.values()), found) == [
        "2 does not count for location: another record here is of its seed 2 and trial 0"
    ]


def coded(folder: Path, line: str, ap: float, reference: float | None, **others: Any) -> records.Record:
    """A record on disk that names its code, or none, under the name that its settings give."""
    experiment = parse(line.split())
    code = {} if reference is None else {"reference": [reference], "benchmark": "b", "files": {}, **others}
    return recorded(folder / "runs" / experiment.run_id, experiment.settings, {"AP": ap}, code=code)


@pytest.mark.parametrize(
    ("numbers", "ap", "line"),
    [
        ([1.0, 1.00001, 2.0], [10, 11], "1 run left out (other code 1): --why"),
        ([None, None, 1.0], [10, 11], "1 run left out (other code 1): --why"),
        ([1.0, 1.0, 1.00002], [10, 11, 12], None),
        ([None, None, None], [10, 11, 12], None),
    ],
)
def test_a_mean_is_of_one_code_and_a_line_says_how_many_runs_are_left_out(
    numbers: list[float | None], ap: list[float], line: str | None, tmp_path: Path
) -> None:
    for seed, number in enumerate(numbers):
        coded(tmp_path, f"--strategy location --seed {seed}", 10 + seed, number)
    found, _ = records.read_all(tmp_path)
    rows = lines(found)
    assert rows["location"].values(tables.SCORES[0]) == ap
    text = render.render("A1", list(rows.values()), "demo", False, "text")
    known = evidence("A1", None, list(rows.values()), "demo", False)
    for page in (text, render_claims(known, None, "text"), render_plan(known, 0.8, Cost(1.0, "GPU-hours", "a test"))):
        assert line in page.splitlines() if line else "left out" not in page
    if line:
        (said,) = [one for one in left_out(list(rows.values()), found) if "its code is not that of most" in one]
        assert said.startswith(f"{parse(['--strategy', 'location', '--seed', '2']).run_id} does not count for location")


def test_runs_scored_by_other_code_of_a_benchmark_do_not_stand_beside_each_other(tmp_path: Path) -> None:
    for number, (line, code) in enumerate((("location", "b"), ("simsiam", "b"), ("random", "c"))):
        coded(tmp_path, f"--strategy {line}", 10 + number, 1.0, benchmark=code)
    rows = lines(records.read_all(tmp_path)[0])
    assert [rows[label].n for label in ("location", "SimSiam", "random")] == [1, 1, 0]


def test_a_copied_record_with_another_seed_is_left_out_by_its_name(tmp_path: Path) -> None:
    first = coded(tmp_path, "--strategy location", 10, 1.0)
    copy = first.folder.with_name(first.id.replace("-s0-", "-s1-"))
    shutil.copytree(first.folder, copy)
    files.write_json(copy / "config.json", {**first.settings, "seed": 1})
    found, _ = records.read_all(tmp_path)
    rows = lines(found)
    assert rows["location"].n == 1
    assert left_out_line(list(rows.values())) == ["1 run left out (name not of its settings 1): --why"]
    again = first.folder.with_name(f"{first.id}-again1")
    shutil.copytree(first.folder, again)
    assert records.read(again).named


def test_every_record_of_the_demo_has_the_name_that_its_settings_give() -> None:
    found, _ = records.read_all(ROOT / "results" / "demo")
    assert all(record.named for record in found)
    assert len(found) == 33


@pytest.mark.parametrize("score", [500.0, -1.0, 1e300])
def test_a_score_that_the_benchmark_cannot_give_enters_no_mean(score: float, tmp_path: Path) -> None:
    coded(tmp_path, "--strategy location", 10, 1.0)
    coded(tmp_path, "--strategy location --seed 1", score, 1.0)
    found, _ = records.read_all(tmp_path)
    rows = lines(found)
    assert rows["location"].values(tables.SCORES[0]) == [10]
    assert left_out_line(list(rows.values())) == ["1 run left out (score out of range 1): --why"]


def trials(scores: dict[int, list[float]]) -> list[records.Record]:
    """Runs of location: seed → the AP of each trial."""
    found = []
    for seed, values in scores.items():
        for trial, ap in enumerate(values):
            one = record(f"--strategy location --seed {seed}", ap, f"{seed} {trial}")
            found.append(records.Record(one.folder, {**one.settings, "trial": trial}, one.scores, one.status))
    return found


def test_the_mean_is_that_of_the_seeds_however_many_trials_each_has() -> None:
    row = lines(trials({0: [10, 12, 14], 1: [20]}))["location"]
    assert row.seeds(tables.SCORES[0]) == {0: [10, 12, 14], 1: [20]}
    assert (row.n, row.count) == (2, "2×1–3")
    assert render.our_text(row, tables.SCORES[0]) == "16.0 ± 5.7"
    entry = render.row_values(row, tables.SCORES)
    assert (entry["AP"], entry["AP_std"], entry["n"], entry["trials"]) == (16.0, 5.6569, 2, 4)
    assert "n×k: k fine-tuning trials a seed" in render.render("A1", [row], "demo", False, "text")


def test_of_one_seed_the_spread_is_its_trials() -> None:
    row = lines(trials({3: [10, 12]}))["location"]
    assert (row.count, render.our_text(row, tables.SCORES[0])) == ("1×2", "11.0 ± 1.4")
    assert render.our_text(lines(trials({3: [10]}))["location"], tables.SCORES[0]) == "10.0"
