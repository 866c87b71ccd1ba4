"""Plans: seeds for the paper's difference and for the one seen, the missing pairs, their hours and commands."""

import shlex
from pathlib import Path

import pytest

from harness import ROOT, records
from harness.cli import main
from harness.evidence import claims, power, verdicts
from harness.evidence.rows import Row, fill_rows
from harness.experiment import parse
from harness.tables import TABLES
from harness.verbs import options

DEMO = str(ROOT / "results" / "demo")


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["plan", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_plan_counts_what_is_missing_for_the_paper_s_gap_and_for_the_gap_seen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = planned(capsys, "A1", "--results", DEMO)
    assert max(len(line) for line in lines if "harness run" not in line) <= 80
    at = next(place for place, line in enumerate(lines) if line.startswith("location > pixel distance"))
    found = records.read_all(Path(DEMO))[0]
    rows = {name: fill_rows(name, (), found) for name in ("A1", "A2")}
    known = claims.evidence("A1", "AP", rows["A1"], "demo", False, {"A2": rows["A2"]})
    one = power.needs(known, 0.8)[1]
    assert one.noise is not None
    assert one.difference is not None
    paper, seen = (verdicts.seeds_needed(gap, one.noise, 0.8, 7) for gap in (1.2, abs(one.difference)))
    assert lines[at].split()[-5:-1] == ["1.2", f"{one.noise:.2f}", f"{paper}", f"{2 * (paper - 3)}"]
    assert lines[at + 1].split()[-4:-1] == [f"{one.difference:+.2f}", f"{seen}", f"{2 * (seen - 3)}"]
    assert "hours: GPU-hours, 0.041 a run:\n  mean of 24 recorded runs, NVIDIA H100" in "\n".join(lines)
    said = claims.judge(known)["A1: location > pixel distance by 1.2"][1].why
    assert said.endswith(f"n needed: {paper} for the paper's difference, {seen} for the one seen")


def test_a_plan_before_anything_is_run_takes_the_published_noise_at_the_paper_s_scale() -> None:
    known = claims.evidence("A2", "AP", fill_rows("A2", (), []), "paper", False)
    assert power.recorded_cost(known.rows) is None
    text = power.render_plan(known, 0.8, power.Cost(10.0, "GPU-hours", "assumed"))
    needed = max(5, verdicts.seeds_needed(0.6, 2**0.5 * 0.2, 0.8, 3))
    (line,) = [line for line in text.splitlines() if "regular grid" in line]
    assert line.split()[-5:] == ["0.6", "0.28*", str(needed), str(2 * needed), f"{20.0 * needed:.1f}"]
    demo = claims.evidence("A2", "AP", fill_rows("A2", (), []), "demo", False)
    assert {one.paper for one in power.needs(demo, 0.8)} == {5}  # a first look measures the noise


def test_a_plan_without_records_estimates_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--set", "encoder=resnet18", "--set", "size=32", "--set", "benchmark.sizes=64", "--device", "cpu"]
    assert "CPU-hours" in "\n".join(planned(capsys, "A2", *small, "--results", str(tmp_path)))


def filled(table: str, seeds: dict[str, range]) -> list[Row]:
    """Return the rows of a table with a run of each of these seeds."""
    scores = {"AP": 1.0}
    return [
        Row(label, False, options, TABLES[table].reported[label], tuple(
            records.Record(Path(f"{label}{seed}"), {"seed": seed, "trial": 0}, scores, "")
            for seed in seeds.get(label, ())), None)
        for label, options in TABLES[table].rows.items()
    ]  # fmt: skip


def test_rows_without_a_common_seed_lack_the_seeds_that_complete_their_pairs() -> None:
    known = claims.evidence(
        "A2", None, filled("A2", {"uniform": range(3), "heavily biased": range(3, 6)}), "demo", False
    )
    claim = TABLES["A2"].claims[1]
    assert next(one.pairs for one in power.needs(known, 0.8) if one.claim == claim) == 0
    assert power.missing(known, {claim: 6}) == {"uniform": [3, 4, 5], "heavily biased": [0, 1, 2]}
    assert power.missing(known, {claim: 8}) == {"uniform": [3, 4, 5, 6, 7], "heavily biased": [0, 1, 2, 6, 7]}
    three = power.missing(known, dict.fromkeys(TABLES["A2"].claims, 3))
    assert sum(map(len, three.values())) == 9  # the same three seeds serve all claims
    lines = power.commands(known, power.missing(known, {claim: 6}), " --results mine")
    assert lines[0].startswith("harness run --strategy location --set strategy.sampler=uniform")
    assert lines[0].endswith(" --results mine --seeds 3-5")
    assert power.listed([0, 1, 4, 5, 6, 9]) == "0-1,4-6,9"
    assert options.seed_list("0-1,4-6,9") == [0, 1, 4, 5, 6, 9]


def test_every_command_of_a_plan_is_complete_and_runs_rows_of_its_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("no where").mkdir()
    lines = planned(capsys, "A2", "--preset", "paper", "--results", "no where", "--set", "epochs=3", "--device", "cpu",
                    "--set", "encoder=resnet18", "--set", "size=32", "--set", "benchmark.sizes=64")  # fmt: skip
    made = [line for line in lines if "harness run" in line]
    assert len(made) == 4
    for line in made:
        *words, place, folder, option, seeds = shlex.split(line)[2:]
        assert (place, folder, option, seeds) == ("--results", "no where", "--seeds", "0-4")
        assert parse(words).run_id.startswith("location")
        assert words[words.index("--preset") + 1] == "paper"
