"""The findings of `harness claims` as text, Markdown or JSON: summaries, comparisons, verdicts and notes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from tabulate import tabulate

from harness.evidence.claims import Evidence, Findings, findings, judge
from harness.evidence.left_out import left_out_line
from harness.evidence.prediction import Prediction, prediction_lines
from harness.evidence.render import layout, scale
from harness.evidence.statistics import ALPHA, BOOTSTRAP_FROM, Comparison, Interval, Summary, best, min_p
from harness.evidence.verdicts import LEAST_SEEDS, Verdict
from harness.tables import named


def render_claims(known: Evidence, baseline: str | None, style: str, predicted: Sequence[Prediction] = ()) -> str:
    """Return the findings, and which score predicts the table's target, as text, md or json."""
    found = findings(known, baseline)
    if style == "json":
        return as_json(known, found, predicted)
    parts = [
        [f"Table {known.table}, {known.score.key}: what the evidence can decide",
         *textwrap.wrap(found.headline, 80), *scale(known.preset, known.changed)],
        [summary_table(found.summaries, best(found.summaries), style)],
        [f"difference from {found.baseline}, paired by seed:", "", comparison_table(found.compared, style)],
        *([[f"{whose(known)}:", "", *verdict_lines(found.verdicts, style)]] if found.verdicts else []),
        *([["verdicts by each score:", "", matrix]] if (matrix := verdict_matrix(known, style)) else []),
        *([prediction_lines(known.table, predicted, style)] if predicted else []),
        [line for note in notes(found) for line in textwrap.wrap(note, 80)],
        *([left] if (left := left_out_line(known.rows)) else []),
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts)


def summary_table(summaries: dict[str, Summary | None], first: str | None, style: str) -> str:
    """Return mean, n, spread and interval of every row; the best one, if any, is bold in md."""
    bold = "**" if style == "md" else ""
    lines = [
        [f"{bold}{label}{bold}" if label == first else label, *summary_texts(row)] for label, row in summaries.items()
    ]
    return layout(["", "n", "mean", "std", "95 % interval"], lines, style)


def summary_texts(row: Summary | None) -> list[str]:
    """Return n, mean, std and interval as text; dashes stand for what is not known."""
    if row is None:
        return ["0", "–", "–", "–"]
    few, many = row.trials
    trials = f"{few}" if few == many else f"{few}–{many}"
    return [f"{row.seeds} × {trials}", f"{row.mean:.2f}", decimals(row.std), interval_text(row.interval)]


def comparison_table(compared: dict[str, Comparison], style: str) -> str:
    """Return the differences, their intervals the p of both tests and Holm's."""
    head = ["", "n", "difference", "95 % interval", "p", "Holm", "signs", "P(A>B)"]
    return layout(head, [[label, *comparison_texts(row)] for label, row in compared.items()], style)


def comparison_texts(row: Comparison) -> list[str]:
    """Return a comparison as text; dashes stand for what n does not allow."""
    return [str(row.seeds), decimals(row.difference, "+"), interval_text(row.interval), p_text(row.p),
            p_text(row.holm), p_text(row.sign_p), decimals(row.better)]  # fmt: skip


def verdict_lines(verdicts: dict[str, tuple[Comparison, Verdict]], style: str) -> list[str]:
    """Return each claim with its verdict and the difference that it rests on."""
    behind = {name: difference_text(found) for name, (found, _) in verdicts.items()}
    if style == "md":
        lines = [[name, str(verdict), behind[name]] for name, (_, verdict) in verdicts.items()]
        return [tabulate(lines, ["claim", "verdict", "ours"], tablefmt="pipe", disable_numparse=True)]
    return [
        line for name, (_, one) in verdicts.items() for line in (name, *indented(str(one)), *indented(behind[name]))
    ]


def whose(known: Evidence) -> str:
    """Return what the claims are called: the paper's, where it reports numbers."""
    return "claims of the paper" if named(known.table).reported else "claims"


def verdict_matrix(known: Evidence, style: str) -> str:
    """Return the verdict on each claim by each score that decides; nothing where only one does."""
    by_score = {each.score.heading: judge(each) for each in known.family if each.table == known.table}
    if len(by_score) < 2:
        return ""
    lines = [[known.name(claim).removeprefix(f"{known.table}: "),
              *(verdicts[known.name(claim)][1].word for verdicts in by_score.values())]
             for claim in known.claims]  # fmt: skip
    return layout(["", *by_score], lines, style)


def indented(text: str) -> list[str]:
    """Return a text as indented lines of at most 80 columns."""
    return textwrap.wrap(text, 80, initial_indent="    ", subsequent_indent="    ")


def difference_text(found: Comparison) -> str:
    """Return a difference, its interval, n and both tests; nothing where no seed is shared."""
    if not found.seeds:
        return ""
    text = f"{decimals(found.difference, '+')} {interval_text(found.interval)}, n = {found.seeds}"
    if found.p is None:
        return text
    adjusted = "" if found.holm is None else f", Holm {p_text(found.holm)}"
    return f"{text}; p {p_text(found.p)}{adjusted}; signs {p_text(found.sign_p)}, least {p_text(found.min_p)}"


def notes(found: Findings) -> list[str]:
    """Return, a sentence each, what the numbers rest on and what so few seeds cannot show."""
    first = best(found.summaries)
    fewest = min((row.seeds for row in found.compared.values() if row.seeds), default=0)
    if not fewest:
        return ["n = 0: no row shares a seed with the baseline, so nothing can be compared."]
    lines = [
        f"Best row: {first}; its interval lies above all others." if first
        else "Best row: none, because intervals overlap or are missing.",
        "n: pre-training seeds × fine-tuning trials. std: standard deviation of the seeds' means. P(A>B): probability "
        "that a run of the row scores higher than a run of the baseline; ties count half. Intervals: Student's t on "
        f"the seeds' means, from {BOOTSTRAP_FROM} seeds on the hierarchical bootstrap. p: of the same test. Holm: p "
        "adjusted for all rows or, of a claim, for all claims judged together.",
        *([f"Verdicts: {found.tests} claims are judged together, by {found.judged}, whether run or not. One is decided "
           f"if its Holm is below {ALPHA:g}, from {LEAST_SEEDS} seeds on: where nothing differs, at most 1 study in 20 "
           "gets any wrong verdict."] if found.verdicts else []),
    ]  # fmt: skip
    if fewest == 1:
        return [*lines, "n = 1: a difference, but no spread, interval or p."]
    if found.pairing is not None:
        lines.append(f"Pairing: the variance of a difference paired by seed is {found.pairing:.2f} of that of two "
                     "independent rows, pooled over all pairs of rows here.")  # fmt: skip
    tested = sum(row.p is not None for row in found.compared.values())
    alone, all_rows = (next(n for n in range(2, 99) if rows * min_p(n) < ALPHA) for rows in (1, tested))
    return [
        *lines,
        f"signs: p of a two-sided sign-flip test. With n = {fewest} it cannot be less than {p_text(min_p(fewest))}: "
        f"p < 0.05 needs {alone} seeds, and {all_rows} seeds if Holm adjusted it for {tested} rows.",
    ]


def as_json(known: Evidence, found: Findings, predicted: Sequence[Prediction]) -> str:
    """Return the findings for programs; null stands for what n does not allow."""
    content = {
        "table": known.table,
        "score": known.score.key,
        "preset": known.preset,
        "comparable": known.comparable,
        "headline": found.headline,
        "pairing": found.pairing,
        "rows": {label: row and row._asdict() for label, row in found.summaries.items()},
        "best": best(found.summaries),
        "baseline": found.baseline,
        "against": {label: row._asdict() for label, row in found.compared.items()},
        "claims": {name: {"verdict": verdict.word, "why": verdict.why, **compared._asdict()}
                   for name, (compared, verdict) in found.verdicts.items()},
        "predictions": {each.score.key: {"tau": each.tau, "interval": each.interval, "backbones": each.backbones,
                                         "settings": each.settings} for each in predicted},
    }  # fmt: skip
    return json.dumps(content, indent=2, ensure_ascii=False)


def decimals(value: float | None, sign: str = "") -> str:
    """Return a number with two decimals, or a dash."""
    return "–" if value is None else f"{value:{sign}.2f}"


def p_text(p: float | None) -> str:
    """Return a probability with three decimals, never as zero, or a dash."""
    return "–" if p is None else f"{p:.3f}" if p >= 0.0005 else "<0.001"


def interval_text(ends: Interval | None) -> str:
    """Return an interval, or a dash."""
    return "–" if ends is None else f"[{ends.low:.2f}, {ends.high:.2f}]"
