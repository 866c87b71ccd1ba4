"""Which score predicts another one, over all recorded backbones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness import records, tables
from harness.evidence.claims import evidence
from harness.evidence.findings import render_claims
from harness.evidence.prediction import predictions
from harness.evidence.rows import fill_rows
from harness.experiment import parse

STRATEGIES = ("location", "simsiam", "random", "shuffled")
COLUMNS = (
    replace(tables.SCORES[0], heading="probe", benchmark="voc-folder"),
    replace(tables.SCORES[0], benchmark="scenes"),
)
PROBES, TARGET = (column.key for column in COLUMNS)


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table whose first benchmark should predict its second."""
    rows = {name: f"--strategy {name}" for name in STRATEGIES}
    claims = (tables.Claim("location", "random"), tables.Claim("simsiam", "random"))
    table = tables.Table("two", rows, columns=COLUMNS, claims=claims, deciding=(PROBES, TARGET), target=TARGET)
    monkeypatch.setitem(tables.TABLES, "own", table)


def run(line: str, score: float) -> records.Record:
    settings = json.loads(json.dumps(parse(line.split()).settings))
    return records.Record(Path(f"{line}{score}"), settings, {"AP": score}, "COMPLETED")


def both(options: str, seed: int, probe: float, target: float) -> list[records.Record]:
    line = f"--strategy {options} --seed {seed} --benchmark"
    return [run(f"{line} voc-folder", probe), run(f"{line} scenes", target)]


def study(sign: int) -> list[records.Record]:
    """Backbones whose first score orders them as the second one does, or the other way round."""
    return [record for place, name in enumerate(STRATEGIES) for seed in range(5)
            for record in both(name, seed, 50 + sign * (10 * place + seed), 20 + place + seed / 10)]  # fmt: skip


@pytest.mark.parametrize("sign", [1, -1])
def test_the_same_order_has_a_tau_of_1_and_the_opposite_one_of_minus_1(sign: int) -> None:
    (found,) = predictions("own", fill_rows("own", (), []), study(sign))
    assert (found.score.key, found.backbones, found.settings) == (PROBES, 20, 4)
    assert found.tau == pytest.approx(sign)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(sign)


def test_an_order_without_any_relation_has_an_interval_around_zero() -> None:
    known = [record for place, name in enumerate(STRATEGIES) for seed in range(5)
             for record in both(name, seed, (7 * place + 3 * seed) % 11, (5 * place + 8 * seed) % 13)]  # fmt: skip
    (found,) = predictions("own", fill_rows("own", (), []), known)
    assert found.interval is not None
    assert found.interval.low < 0 < found.interval.high


def test_a_backbone_of_another_length_counts_and_one_of_another_benchmark_does_not() -> None:
    longer = both("location --set epochs=9", 0, 99, 99)
    other = [run("--strategy location --benchmark scenes --set benchmark.iterations=9", 1)]
    (found,) = predictions("own", fill_rows("own", (), []), [*study(1), *longer, *other])
    assert (found.backbones, found.settings) == (21, 5)


def test_few_backbones_or_equal_scores_say_nothing() -> None:
    (few,) = predictions("own", fill_rows("own", (), []), both("location", 0, 1, 2))
    assert (few.backbones, few.tau, few.interval) == (1, None, None)
    equal = [record for name in STRATEGIES for seed in range(5) for record in both(name, seed, 50, 20)]
    (found,) = predictions("own", fill_rows("own", (), []), equal)
    assert found.tau is None


def test_claims_are_judged_by_every_score_that_decides_together_and_the_prediction_is_printed() -> None:
    known = study(1)
    rows = fill_rows("own", (), known)
    first = evidence("own", None, rows, "demo", False)
    assert first.together == 4
    text = render_claims(first, None, "text", predictions("own", rows, known))
    assert "own: location > random\n" in text
    matrix = text.split("verdicts by each score:")[1]
    assert [line.split() for line in matrix.splitlines() if line.startswith("location >")] == [
        ["location", ">", "random", "contradicted", "contradicted"]
    ]
    assert ["probe", "20", "4", "+1.00", "[+1.00,", "+1.00]"] in map(str.split, text.splitlines())
    assert max(map(len, text.splitlines())) <= 80
    content = json.loads(render_claims(first, None, "json", predictions("own", rows, known)))
    assert content["predictions"][PROBES]["tau"] == pytest.approx(1)
