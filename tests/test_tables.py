"""Tables count a run only if its recorded settings are the row's, and print a command for every gap."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import records, tables
from harness.experiment import build, words


def settings(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(build(words().parse_args(line.split())).settings))
    return found


def record(line: str, ap: float | None, name: str = "r") -> records.Record:
    scores = None if ap is None else {"AP": ap, "AP50": ap + 1, "AP75": ap - 1}
    return records.Record(Path(name), settings(line), scores, "COMPLETED" if scores else "RUNNING")


def lines(found: Sequence[records.Record], extra: Sequence[str] = ()) -> dict[str, tables.Row]:
    return {row.label: row for row in tables.rows("A1", extra, found)}


def test_an_empty_checkout_s_table_is_the_to_do_list() -> None:
    text = tables.render("A1", list(lines([]).values()), "demo", "text")
    assert "harness run --strategy location\n" in text
    assert "54.9" in text
    assert "feature similarity: no strategy 'feature_similarity'" in text
    assert "NOT comparable" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_run_of_the_row_s_settings_counts() -> None:
    row = lines([record("--strategy location", 10), record("--strategy location --seed 1", 12)])["location"]
    assert (row.n, row.values("AP")) == (2, [10, 12])


@pytest.mark.parametrize(
    "line",
    ["--strategy location --set epochs=3", "--strategy location --set match.sampler.side=5", "--strategy simsiam",
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
    assert row.values("AP") == [10]
    assert "--set epochs=3" in row.words
    with pytest.raises(ValueError, match="no field 'epoch'"):
        lines(found, ["--set", "epoch=3"])


def test_the_first_row_of_a2_is_a1_s_location() -> None:
    first = tables.rows("A2", (), [record("--strategy location", 10)])[0]
    assert first.n == 1


def test_every_row_of_the_paper_has_its_numbers() -> None:
    for name, table in tables.TABLES.items():
        for row in tables.rows(name, (), []):
            assert bool(row.reported) != row.control
        assert len(table.rows) == {"A1": 6, "A2": 4}[name]


def test_mean_spread_and_n_in_every_format() -> None:
    found = list(lines([record("--strategy location", 10), record("--strategy location --seed 1", 12)]).values())
    assert "11.0 ± 1.4" in tables.render("A1", found, "demo", "text")
    assert "| location" in tables.render("A1", found, "demo", "md")
    assert r"\toprule" in tables.render("A1", found, "demo", "latex")
    entry = next(row for row in json.loads(tables.render("A1", found, "demo", "json")) if row["row"] == "location")
    assert (entry["AP"], entry["AP_std"], entry["n"], entry["paper_AP"]) == (11.0, 1.41, 2, 54.9)
    cells = {row["row"]: row for row in csv.DictReader(io.StringIO(tables.render("A1", found, "demo", "csv")))}
    assert (cells["location"]["AP"], cells["simsiam" if "simsiam" in cells else "SimSiam"]["AP"]) == ("11.0", "")
