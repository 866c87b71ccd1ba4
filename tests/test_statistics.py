"""The statistics against simulated studies of known truth, brute force and textbooks; verdicts case by case."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness import ROOT, records, tables
from harness.cli import main
from harness.evidence import claims, findings, verdicts
from harness.evidence import statistics as ours
from harness.evidence.rows import fill_rows
from harness.experiment import parse
from tests.studies import share_wrong

STUDIES = 1000
DEMO = str(ROOT / "results" / "demo")
CLAIMS = {name: table.claims for name, table in tables.TABLES.items() if table.claims}


def draw(seeds: int, trials: int, trial_std: float, chance: np.random.Generator) -> NDArray[Any]:
    """[studies, seeds, trials] of mean zero: the seeds' standard deviation is 1, and of their trials as given."""
    return chance.normal(size=(STUDIES, seeds, 1)) + trial_std * chance.normal(size=(STUDIES, seeds, trials))


@pytest.mark.parametrize(
    ("seeds", "trials", "trial_std"),
    [(2, 1, 0.0), (3, 1, 0.0), (3, 3, 1.0), (5, 5, 0.5), (9, 1, 0.0), (10, 1, 0.0), (10, 3, 1.0)],
)
def test_the_interval_covers_the_truth_in_95_of_100_studies(seeds: int, trials: int, trial_std: float) -> None:
    studies = draw(seeds, trials, trial_std, np.random.default_rng(0)).tolist()
    found = [ours.interval(study) for study in studies]
    assert 0.93 <= np.mean([one is not None and one.low <= 0 <= one.high for one in found]) <= 0.97


def test_a_paired_comparison_covers_the_gap_under_noise_that_rows_share() -> None:
    chance = np.random.default_rng(1)
    shared = 5 * chance.normal(size=(STUDIES, 4, 1))
    one, other = (shared + draw(4, 1, 0.0, chance) for _ in range(2))
    found = [
        ours.compare(dict(enumerate((a + 1.5).tolist())), dict(enumerate(b.tolist())))
        for a, b in zip(one[:300], other[:300], strict=True)
    ]
    covered = [one.interval is not None and one.interval.low <= 1.5 <= one.interval.high for one in found]
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.mean([one.std or 0.0 for one in found]) == pytest.approx(1.3, abs=0.1)  # √2 × c4(4) = 1.30, not √52


def test_a_percentile_bootstrap_of_few_seeds_would_not() -> None:
    studies = draw(6, 1, 0.0, np.random.default_rng(2))[:, :, 0]
    index = np.random.default_rng(3).integers(6, size=(400, 6))
    low, high = np.quantile(studies[:, index].mean(-1), [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.9


def test_the_bootstrap_follows_a_skew_that_student_s_t_does_not() -> None:
    scores = [[float(value)] for value in np.random.default_rng(4).exponential(size=12)]
    found, mean = ours.interval(scores), float(np.mean(scores))
    assert found is not None
    assert found.high - mean > 1.2 * (mean - found.low)
    assert found == ours.interval(scores)  # the same records give the same interval


def test_the_trials_of_a_seed_may_be_fewer_than_another_s() -> None:
    chance = np.random.default_rng(5)
    scores = [chance.normal(size=1 + seed % 3).tolist() for seed in range(12)]
    found = ours.summarise(scores)
    assert found is not None
    assert found.interval is not None
    means = [float(np.mean(trials)) for trials in scores]
    assert (found.seeds, found.trials) == (12, (1, 3))
    assert found.mean == pytest.approx(np.mean(means))
    assert found.interval.low < found.mean < found.interval.high
    within = sum(np.var(trials) * len(trials) for trials in scores) / (24 - 12)
    assert found.trial_std == pytest.approx(within**0.5)


def test_the_bootstrap_draws_every_trial_of_a_seed() -> None:
    means = np.linspace(-1, 1, 12).tolist()
    found, alone = ours.interval([[mean - 9, mean + 9] for mean in means]), ours.interval([[mean] for mean in means])
    assert found is not None
    assert alone is not None
    assert found.low == pytest.approx(-found.high, rel=0.15)  # the first trials alone would pull it far to one side
    assert found != pytest.approx(alone, rel=0.01)


def test_ten_seeds_of_few_different_scores_are_left_to_student_s_t() -> None:
    scores = [[0.0]] * 9 + [[1.0]]
    wide = stats.t.ppf(0.975, 9) * stats.sem([0.0] * 9 + [1.0])
    assert ours.interval(scores) == pytest.approx((0.1 - wide, 0.1 + wide))


def test_what_n_does_not_allow_is_none() -> None:
    assert ours.summarise([]) is None
    one = ours.summarise([[3.0]])
    assert one == ours.Summary(3.0, 1, (1, 1), None, None, None)
    two = ours.summarise([[2.0, 4.0]])
    assert two is not None
    assert two[:4] == (3.0, 1, (2, 2), None)
    assert two.trial_std == pytest.approx(2**0.5)
    assert two.interval is None
    assert ours.compare({0: [3.0]}, {0: [2.0]}) == ours.Comparison(1, 1.0, None, None, None, None, None, None, 1.0)
    assert ours.compare({}, {0: [2.0]}) == ours.Comparison(0, None, None, None, None, None, None, None, None)


@pytest.mark.parametrize("seeds", [2, 3, 5, 8])
def test_sign_flips_are_all_tried(seeds: int) -> None:
    chance = np.random.default_rng(seeds)
    for changes in (chance.normal(0.7, 1, seeds), np.ones(seeds), chance.integers(-1, 3, seeds).astype(float)):
        signs = np.array(list(itertools.product((1, -1), repeat=seeds)))
        means = (signs * changes).mean(1)
        tail = min((means >= changes.mean() - 1e-12).mean(), (means <= changes.mean() + 1e-12).mean())
        found = ours.sign_flip(changes.tolist())
        assert found == pytest.approx(min(1.0, 2 * tail))
        test = stats.permutation_test((changes,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert found == pytest.approx(test.pvalue)
        assert found is not None
        assert found >= ours.min_p(seeds) == 2 / 2**seeds


def test_the_floor_is_reached_where_patterns_are_drawn() -> None:
    assert ours.sign_flip(list(np.linspace(1, 2, 20))) == pytest.approx(ours.min_p(20), rel=0.01)
    assert ours.sign_flip([0.0, 0.0, 0.0]) == 1.0
    assert ours.sign_flip([1.0]) is None


def test_p_is_uniform_where_nothing_differs() -> None:
    found = [ours.sign_flip(study) or 0.0 for study in draw(6, 1, 0.0, np.random.default_rng(6))[:, :, 0].tolist()]
    for level in (2 / 64, 10 / 64, 32 / 64):
        assert np.mean(np.array(found) <= level + 1e-9) == pytest.approx(level, abs=0.05)


def test_holm_over_the_rows_steps_down() -> None:
    chance = np.random.default_rng(8)
    table = {label: dict(enumerate(chance.normal(at, 1, (8, 1)).tolist())) for label, at in
             (("base", 0), ("far", 3), ("near", 1), ("same", 0))}  # fmt: skip
    found = ours.against({**table, "alone": {0: [1.0]}, "empty": {}}, "base")
    ps = {label: one.p for label, one in found.items() if one.p is not None}
    assert set(ps) == {"far", "near", "same"}
    expected, most = {}, 0.0
    for place, label in enumerate(sorted(ps, key=lambda label: ps[label])):
        most = max(most, min(1.0, (3 - place) * ps[label]))
        expected[label] = most
    assert {label: found[label].holm for label in ps} == pytest.approx(expected)
    assert list(multipletests(list(ps.values()), method="holm")[1]) == pytest.approx([expected[one] for one in ps])
    assert (found["alone"].holm, found["empty"].holm) == (None, None)


def test_p_better_counts_pairs_and_halves_ties() -> None:
    one, other = [[1.0, 2.0], [3.0]], [[2.0], [0.0], [3.0]]
    pairs = list(itertools.product([1.0, 2.0, 3.0], [2.0, 0.0, 3.0]))
    expected = sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
    assert ours.probability_better(one, other) == pytest.approx(expected)
    assert ours.probability_better([[1.0]], [[1.0]]) == 0.5
    assert ours.probability_better([[2.0]], [[1.0]]) == 1.0


def test_no_row_is_best_while_its_interval_overlaps() -> None:
    low, high = [[1.0], [1.1], [1.2]], [[5.0], [5.1], [5.2]]
    cells = {"low": ours.summarise(low), "high": ours.summarise(high), "empty": None}
    assert ours.best(cells) == "high"
    assert ours.best({**cells, "wide": ours.summarise([[0.0], [9.0]])}) is None
    assert ours.best({**cells, "alone": ours.summarise([[1.0]])}) is None
    assert ours.best({"high": ours.summarise(high)}) is None


@pytest.mark.parametrize(("gap", "std"), [(1.2, 1.0), (0.5, 1.0), (3.0, 1.0)])
def test_the_seeds_needed_give_the_power(gap: float, std: float) -> None:
    chance = np.random.default_rng(9)
    seeds = verdicts.seeds_needed(gap, std, 0.8)
    changes = chance.normal(gap, std, (20_000, seeds))
    assert np.mean(stats.ttest_1samp(changes, 0, axis=1).pvalue < 0.05) >= 0.79
    if seeds > 3:
        assert np.mean(stats.ttest_1samp(changes[:, :-1], 0, axis=1).pvalue < 0.05) < 0.81


def test_the_seeds_needed_at_the_ends() -> None:
    assert verdicts.seeds_needed(1.0, 0.0, 0.8) == 2
    assert verdicts.seeds_needed(17.2, 0.28, 0.8) == 2
    assert verdicts.seeds_needed(0.01, 1.0, 0.8) == 78_489  # ((1.960 + 0.842) / 0.01)²
    for impossible in (0.0, 1.0, 1.2):
        with pytest.raises(ValueError, match="more than 0 and less than 1"):
            verdicts.seeds_needed(1.0, 1.0, impossible)


def runs(scores: Sequence[float]) -> dict[int, list[float]]:
    return {seed: [score] for seed, score in enumerate(scores)}


WORDS = "reproduced", "same direction", "inconclusive", "contradicted", "not run", "not judged"
ZERO = [0.0] * 12
FEW = "inconclusive (fewer than 5 seeds decide nothing; n needed: "
CASES: list[tuple[Sequence[float], float | None, bool, str]] = [
    ([1.0, 1.2, 1.4, 1.3, 1.1], None, True, "reproduced"),
    ([1.0, 1.2, 1.4, 1.3, 1.1], None, False, "same direction (at this scale)"),
    ([-1.0, -1.2, -1.4, -1.3, -1.1], None, False, "contradicted (at this scale)"),
    ([5.0, 5.1, 5.2, 5.3, 5.4], None, True, "same direction"),
    ([0.4, 0.5, 0.6, 0.5, 0.5], None, True, "same direction"),
    ([-1.0, -1.2, -1.4, -1.3, -1.1], None, True, "contradicted"),
    ([-1.0 - seed / 99 for seed in range(12)], None, True, "contradicted"),  # by the bootstrap
    ([-1.0, -1.2, -1.4], None, True, f"{FEW}5 for the paper's difference, 5 for the one seen)"),
    ([1.0, -1.0, 2.0], None, True, f"{FEW}15 for the paper's difference, 44 for the one seen)"),
    (
        [1.0, -1.0, 2.0, 0.0, 1.0],
        None,
        True,
        "inconclusive (n needed: 10 for the paper's difference, 31 for the one seen)",
    ),
    ([0.1, -0.1, 0.2, 0.0, 0.1], None, True, "inconclusive (n needed: 31 for the one seen)"),
    ([0.0] * 5, None, True, "inconclusive (n needed: no number for a tie)"),
    ([1.0], None, True, f"{FEW}8 for the paper's difference, 10 for the one seen)"),
    ([], None, True, "not run"),
    ([0.1, 0.0, -0.1, 0.1, 0.0], 2.0, True, "reproduced"),
    ([0.1 * (seed % 3) + seed / 999 for seed in range(12)], 2.0, True, "reproduced"),  # by the bootstrap
    ([3.0, 3.1, 3.2, 3.0, 3.1], 2.0, True, "contradicted"),
    ([-3.0, -3.1, -3.2, -3.0, -3.1], 2.0, True, "contradicted"),
    (
        [1.0, 2.0, 1.5, 2.5, 0.5],
        2.0,
        True,
        "inconclusive (n needed: 10 for the paper's difference, 22 for the one seen)",
    ),
    ([0.1, 0.0, -0.1], 2.0, True, f"{FEW}5 for the paper's difference, 5 for the one seen)"),
    ([0.1, 0.0, -0.1], 2.0, False, "inconclusive (the margin holds only at the paper's scale)"),
]


@pytest.mark.parametrize(("changes", "margin", "comparable", "said"), CASES)
def test_verdicts_on_a_gap_of_1_2(changes: Sequence[float], margin: float | None, comparable: bool, said: str) -> None:
    found = ours.compare(runs(changes), runs(ZERO), margin)
    alone = found._replace(holm=found.p)  # a claim that is judged with no other
    assert str(verdicts.verdict(alone, 1.2, margin, comparable, verdicts.Aim(1.0, 0.8))) == said


def test_a_verdict_must_hold_after_holm() -> None:
    found = ours.compare(runs([1.0, 1.2, 1.4, 1.3, 1.1]), runs(ZERO))
    aim = verdicts.Aim(1.0, 0.8, claims=7)
    assert found.p is not None
    assert found.p < 0.05
    assert verdicts.verdict(found._replace(holm=0.06), 1.2, None, True, aim).word == "inconclusive"
    assert verdicts.verdict(found._replace(holm=0.04), 1.2, None, True, aim).word == "reproduced"


def test_the_p_of_a_verdict_is_that_of_its_interval() -> None:
    chance = np.random.default_rng(10)
    for seeds in (5, 9, 10, 14):
        for study in chance.normal(0.6, 1, (60, seeds, 1)).tolist():
            (low, high), p = ours.interval(study) or (0.0, 0.0), ours.p_value(study)
            assert p is not None
            near = ours.p_value(study, 1.2)
            assert near is not None
            clear, side = low > 0 or high < 0, low > 1.2 or high < -1.2 or (low > -1.2 and high < 1.2)
            assert clear or p >= 0.05  # from 10 seeds on p is that of Student's t where this is the greater
            assert side or near >= 0.05
            assert seeds >= 10 or (clear, side) == (p < 0.05, near < 0.05)
    study = chance.normal(0.6, 1, (9, 1))
    assert ours.p_value(study.tolist()) == pytest.approx(stats.ttest_1samp(study[:, 0], 0).pvalue)


@pytest.mark.parametrize(("seeds", "studies"), [(3, 20), (5, 80), (8, 80), (10, 20)])
def test_of_whole_studies_in_which_nothing_differs_5_in_100_get_a_wrong_verdict_at_most(
    seeds: int, studies: int
) -> None:
    most = stats.binom.ppf(0.999, studies, 0.05)  # at n = 3 without Holm and a least n, 55 % of studies
    assert share_wrong(seeds, studies) * studies <= (0 if seeds < verdicts.LEAST_SEEDS else most)


def test_the_demo_s_table_a2_contradicts_nothing() -> None:
    found, _ = records.read_all(Path(DEMO))
    rows = {name: fill_rows(name, (), found) for name in ("A1", "A2")}
    known = claims.evidence("A2", None, rows["A2"], "demo", False, {"A1": rows["A1"]})
    compared, said = claims.judge(known)["A2: 7×7 regular grid > heavily biased by 0.6"]
    assert compared.interval is not None
    assert compared.interval.high < 0  # one interval alone says what seven claims judged together do not
    assert said.word == "inconclusive"
    assert (known.together, compared.sign_p, compared.min_p) == (7, 0.25, 0.25)
    assert compared.p is not None
    assert compared.holm == pytest.approx(7 * compared.p)


def test_claims_are_judged_by_the_first_score_alone_and_those_not_run_count() -> None:
    rows = fill_rows("A1", ["--preset", "paper"], records_of(1.2, 6))
    first, second = (claims.evidence("A1", score, rows, "paper", False) for score in ("AP", "AP50"))
    name = first.name(CLAIMS["A1"][2])
    compared, said = claims.judge(first)[name]
    assert said.word == "reproduced"
    assert compared.p is not None
    assert compared.holm == pytest.approx(5 * compared.p)
    assert {str(said) for _, said in claims.judge(second).values()} == {"not judged (claims are judged by AP alone)"}


def test_the_gain_of_pairing_is_that_of_the_seeds_that_rows_share() -> None:
    chance = np.random.default_rng(11)
    shared = chance.normal(size=400)
    rows = {label: runs((2 * shared + chance.normal(size=400)).tolist()) for label in "ab"}
    assert ours.pairing(rows) == pytest.approx(2 / (2 * 5), rel=0.15)
    assert ours.pairing({"a": {0: [1.0], 1: [2.0]}, "b": {2: [1.0], 3: [5.0]}}) is None


def test_rows_without_a_common_seed_are_not_compared() -> None:
    found = ours.compare({0: [1.0]}, {1: [2.0]})
    assert (
        str(verdicts.verdict(found, 1.2, None, True, verdicts.Aim(1.0, 0.8))) == "not run (no seed that both rows have)"
    )


def test_every_claim_is_positive_in_the_paper_or_within_its_margin() -> None:
    for name, made in CLAIMS.items():
        for score in tables.SCORES:
            known = claims.evidence(name, score.name, fill_rows(name, (), []), "paper", False)
            for claim in made:
                gap = known.reported(claim)
                assert gap is not None
                assert gap > 0 if claim.margin is None else abs(gap) < claim.margin
    names = [known.name(claim) for known in [claims.evidence("A1", "AP", fill_rows("A1", (), []), "demo", False)]
             for claim in CLAIMS["A1"]]  # fmt: skip
    assert "A1: location > pixel distance by 1.2" in names


def test_a_claim_on_a_row_without_a_number_of_the_paper_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    bold = replace(tables.TABLES["A1"], claims=(tables.Claim("random", "SimSiam"), *CLAIMS["A1"]))
    monkeypatch.setitem(tables.TABLES, "A1", bold)
    known = claims.evidence("A1", "AP", fill_rows("A1", (), []), "demo", False)
    assert known.claims == CLAIMS["A1"]
    assert "random >" not in findings.render_claims(known, None, "text")


def records_of(gap: float, seeds: int) -> list[records.Record]:
    """Runs of `location` and `pixel_distance` at the paper's preset, far enough apart to tell."""
    found = []
    for name, base in (("pixel_distance", 50.0), ("location", 50.0 + gap)):
        for seed in range(seeds):
            settings = parse(["--preset", "paper", "--strategy", name, "--seed", str(seed)]).settings
            score = base + seed % 3 / 10 + (seed % 2 / 20 if name == "location" else 0)
            record = json.loads(json.dumps(settings))
            found.append(
                records.Record(Path(f"{name}{seed}"), record, dict.fromkeys(("AP", "AP50", "AP75"), score), "")
            )
    return found


def test_a_gap_is_reproduced_only_at_the_paper_s_scale_and_the_best_is_bold() -> None:
    rows = fill_rows("A1", ["--preset", "paper"], records_of(1.2, 6))
    known = claims.evidence("A1", "AP", rows, "paper", False)
    name = known.name(CLAIMS["A1"][2])
    assert claims.judge(known)[name][1].word == "reproduced"
    assert claims.judge(claims.evidence("A1", "AP", rows, "paper", True))[name][1].word == "same direction"
    text = findings.render_claims(known, "pixel distance", "md")
    assert "**location**" in text
    assert "With n = 6 it cannot be less than 0.031" in text.replace("\n", " ")
    near = claims.evidence("A1", "AP", fill_rows("A1", ["--preset", "paper"], records_of(0.1, 6)), "paper", False)
    assert "**" not in findings.render_claims(near, None, "md")


def test_one_seed_says_what_it_can() -> None:
    known = claims.evidence("A1", "AP", fill_rows("A1", ["--preset", "paper"], records_of(1.2, 1)), "paper", False)
    text = findings.render_claims(known, "pixel distance", "text")
    assert "+1.20" in text
    assert "n = 1: a difference, but no spread, interval or p" in text
    assert "fewer than 5 seeds decide nothing; n needed: 5 for the" in text


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("results", [DEMO, "."])
def test_claims_fit_80_columns_and_say_that_the_scale_is_ours(
    name: str, results: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for score in ("AP", "AP50", "AP75"):
        assert main(["claims", name, "--score", score, "--results", results]) == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80
        assert "NOT comparable" in text
        assert sum(text.count(f"    {word}") for word in WORDS) == len(CLAIMS[name])
        assert "    reproduced" not in text
        assert ("cannot be less than 0.250" if results == DEMO else "n = 0: no row shares a seed") in text


def test_claims_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "A1", "--results", DEMO, "--baseline", "random", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["baseline"], found["best"], found["comparable"]) == ("random", None, False)
    assert found["rows"]["location"]["seeds"] == 3
    assert found["against"]["location"]["min_p"] == 0.25
    assert found["claims"]["A1: location > pixel distance by 1.2"]["verdict"] == "inconclusive"
    said = "0 of 5 claims reproduced, 0 contradicted, 5 undecided; random has the highest mean AP"
    assert (found["headline"], round(found["pairing"], 2)) == (said, 0.39)


def test_what_has_no_claims_or_no_such_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "gauges"]) == 2
    assert "choose from A1, A2, coco" in capsys.readouterr().err
    assert main(["claims", "A1", "--baseline", "locaton"]) == 2
    assert "did you mean 'location'" in capsys.readouterr().err
    assert main(["plan", "A1", "--power", "1", "--results", DEMO]) == 2
    assert "power 1" in capsys.readouterr().err
