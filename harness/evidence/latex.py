"""A table as LaTeX with booktabs; whatever its texts hold, pdflatex prints it and executes nothing of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

ACCENTS = {"\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~", "\u0308": r"\"", "\u0327": r"\c"}
LATEX = {  # what pdflatex would execute, and what its fonts lack
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "{''}", "`": "{`}", "'": "{'}", "-": "{-}", "[": "{[}", "*": "{*}",
    "ẑ": r"$\hat{z}$", "√": r"$\surd$", "±": r"$\pm$", "×": r"$\times$", "≈": r"$\approx$", "·": r"$\cdot$",
    "τ": r"$\tau$", "≤": r"$\le$", "≥": r"$\ge$", "→": r"$\to$", "−": "$-$", "–": "--", "—": "---",
    "…": r"\ldots{}", "’": "{'}",
}  # fmt: skip


def booktabs(
    head: Sequence[str], lines: Sequence[list[str] | str], groups: Sequence[tuple[int, str]] = ()
) -> list[str]:
    """Return the lines of a LaTeX tabular: the first column to the left, numbers to the right, a rule for each str.

    `groups` are the heads above the head: how many columns each spans, and its text.
    """
    rows = [r"\midrule" if isinstance(texts, str) else rf"{' & '.join(map(latex, texts))} \\" for texts in lines]
    begin, end = rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\end{tabular}"
    title = rf"{' & '.join(map(latex, head))} \\"
    return [begin, r"\toprule", *group_heads(groups), title, r"\midrule", *rows, r"\bottomrule", end]


def group_heads(groups: Sequence[tuple[int, str]]) -> list[str]:
    """Return the line of heads that span several columns each, and the rules under them."""
    texts, rules, first = [], [], 1
    for count, text in groups:
        texts.append(rf"\multicolumn{{{count}}}{{c}}{{{latex(text)}}}" if text else "")
        if text:
            rules.append(rf"\cmidrule(lr){{{first}-{first + count - 1}}}")
        first += count
    return [rf"{' & '.join(texts)} \\", " ".join(rules)] if groups else []


def latex(text: str) -> str:
    """Return a text in ASCII that pdflatex prints as it is; a letter that its fonts may lack becomes a `?`."""
    return "".join(LATEX.get(sign) or accented(sign) for sign in unicodedata.normalize("NFC", text))


def accented(sign: str) -> str:
    """Return a letter with its accents, as far as LaTeX has commands for them."""
    base, *marks = [*unicodedata.normalize("NFKD", sign)]
    if not base.isascii() or not base.isprintable() or any(mark not in ACCENTS for mark in marks):
        return " " if sign.isspace() else "?"
    for mark in marks:
        base = f"{ACCENTS[mark]}{{{base}}}"
    return base


def comment(text: str) -> str:
    """Return a comment of one line, also where a label of a row has several."""
    return f"% {' '.join(text.splitlines())}"
