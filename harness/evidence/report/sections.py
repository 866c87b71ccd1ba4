"""One table of the report: its numbers, comparisons, verdicts, plots and gaps; and what all verdicts amount to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from harness.evidence import claims, findings
from harness.evidence.claims import judged_with
from harness.evidence.left_out import left_out_line
from harness.evidence.prediction import HEADS, NOTE, prediction_texts, predictions
from harness.evidence.render import SPREAD, gap_commands, headings, number_text, our_text, text_lines, unfillable
from harness.evidence.report.appendix import Grid
from harness.evidence.report.pictures import forest, plot
from harness.evidence.report.source import Source
from harness.evidence.rows import Row
from harness.evidence.statistics import Comparison, summarise
from harness.evidence.verdicts import DECIDED, SCALE, Verdict
from harness.tables import Column, named


class ClaimLine(NamedTuple):
    """A claim of the paper, and what our runs say about it."""

    name: str
    word: str  # of the verdict
    why: str
    behind: str  # the difference that the verdict rests on


class ScoreSection(NamedTuple):
    """What the runs say about one score of a table."""

    score: str
    baseline: str
    against: Grid
    claims: list[ClaimLine]
    notes: list[str]
    forest: Markup | None  # None where nothing can be compared
    leader: str | None = None  # the row with the highest mean, in words


class Section(NamedTuple):
    """One table of the page."""

    name: str
    summary: str
    notes: str
    numbers: Grid
    scores: list[ScoreSection]  # none for a table of gauges
    commands: list[str]
    unfillable: list[str]
    plot: Markup | None  # None without a run
    predictions: Grid | None = None  # how each score predicts the target of the table, if it has one


def section(source: Source, name: str, rows: list[Row]) -> Section:
    """Return a table with everything that the page says about it."""
    table = named(name)
    scores = [column for column in table.columns if not column.gauge]
    return Section(
        name,
        table.summary,
        " ".join([*table.notes, *(line.removesuffix(": --why") + "." for line in left_out_line(rows))]),
        number_grid(name, rows, scores) if scores else gauge_grid(name, rows),
        [score_section(source, name, rows, score) for score in scores],
        gap_commands(rows, source.place),
        unfillable(rows),
        plot(rows, scores) if any(row.runs for row in rows) else None,
        prediction_grid(source, name, rows),
    )


def number_grid(name: str, rows: Sequence[Row], scores: Sequence[Column]) -> Grid:
    """Return for each score the paper's number, ours and its interval, and n."""
    lines = []
    for row in rows:
        texts = [text for score in scores for text in score_texts(row, score)]
        lines.append([row.label + (" (control)" if row.control else ""), *texts, row.count])
    heads = [text for one in scores for text in (f"{one.heading}, paper", f"{one.heading}, ours", "95 % interval")]
    return Grid(f"Table {name}: {SPREAD}", ["", *heads, "n"], lines)


def prediction_grid(source: Source, name: str, rows: Sequence[Row]) -> Grid | None:
    """Return how each score of a table predicts the one that it names as its target; None without a target."""
    lines = [[each.score.heading, *prediction_texts(each)] for each in predictions(name, rows, source.runs)]
    target = {column.key: column.heading for column in named(name).columns}.get(named(name).target)
    return Grid(f"Which score predicts {target}. {NOTE}", ["", *HEADS], lines) if lines else None


def score_texts(row: Row, score: Column) -> list[str]:
    """Return the paper's number, ours and its interval as text."""
    summary = summarise([*row.seeds(score).values()])
    return [number_text(row.reported.get(score.name), score), our_text(row, score), findings.summary_texts(summary)[-1]]


def gauge_grid(name: str, rows: Sequence[Row]) -> Grid:
    """Return the gauges as the printed table has them."""
    columns = named(name).columns
    lines = [line for line in text_lines(rows, columns, [], "md") if not isinstance(line, str)]
    return Grid(f"Table {name}: {SPREAD}", headings(columns, []), lines)


def score_section(source: Source, name: str, rows: Sequence[Row], score: Column) -> ScoreSection:
    """Return the comparisons, verdicts and the forest plot of one score."""
    beside = {other: source.rows(other) for other in judged_with(name)}
    evidence = claims.evidence(name, score.key, rows, source.preset, source.changed, beside)
    found = claims.findings(evidence)
    lines = [
        [label, *findings.comparison_texts(one), findings.p_text(one.min_p)] for label, one in found.compared.items()
    ]
    head = ["", "n", "difference", "95 % interval", "p", "Holm", "signs", "P(A>B)", "least of signs"]
    grid = Grid(f"{score.heading}: difference of each row from {found.baseline}, paired by seed", head, lines)
    compared = any(one.seeds for one in found.compared.values())
    drawn = forest(rows, score, found.baseline) if compared else None
    verdicts = [claim_line(*one) for one in found.verdicts.items()]
    return ScoreSection(score.heading, found.baseline, grid, verdicts, findings.notes(found), drawn,
                        claims.leader(found.summaries, score.heading))  # fmt: skip


def claim_line(name: str, judged: tuple[Comparison, Verdict]) -> ClaimLine:
    """Return a claim with its verdict and the difference that it rests on."""
    comparison, verdict = judged
    return ClaimLine(name, verdict.word, verdict.why, findings.difference_text(comparison))


def summary(sections: Sequence[Section], comparable: bool) -> list[str]:
    """Return the sentences that open the page: which claims of the paper are decided, and which are not."""
    lines = [line for one in sections if one.scores for line in one.scores[0].claims]
    leaders = {one.name: one.scores[0].leader for one in sections if one.scores and one.scores[0].leader}
    sentences = [f"{claims.headline([line.word for line in lines], leaders)}."]
    by_word: dict[str, list[str]] = {}
    for line in lines:
        by_word.setdefault(SCALE if line.why == SCALE else line.word, []).append(line.name)
    if decided := [f"{name} ({word})" for word in DECIDED for name in by_word.get(word, [])]:
        sentences.append(f"Decided: {'; '.join(decided)}.")
    if inconclusive := by_word.get("inconclusive"):
        sentences.append(f"Not decided, because the runs differ too much or are too few: {'; '.join(inconclusive)}.")
    if elsewhere := by_word.get(SCALE):
        sentences.append(f"Not decided, because {SCALE}: {'; '.join(elsewhere)}.")
    if missing := by_word.get("not run"):
        sentences.append(f"Not tested, because runs are missing: {'; '.join(missing)}.")
    if lines and not comparable:
        sentences.append("The settings are not the paper’s, so no difference can be reproduced, only its direction.")
    return sentences
