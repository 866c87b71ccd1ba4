"""A table as LaTeX with booktabs, whatever its words hold: pdflatex prints them and obeys none."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

ACCENTS = {"\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~", "\u0308": r"\"", "\u0327": r"\c"}
LATEX = {  # what pdflatex reads as an order, and what its fonts lack
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "{''}", "`": "{`}", "'": "{'}", "-": "{-}", "[": "{[}", "*": "{*}",
    "ẑ": r"$\hat{z}$", "√": r"$\surd$", "±": r"$\pm$", "×": r"$\times$", "≈": r"$\approx$", "·": r"$\cdot$",
    "τ": r"$\tau$", "≤": r"$\le$", "≥": r"$\ge$", "→": r"$\to$", "−": "$-$", "–": "--", "—": "---",
    "…": r"\ldots{}", "’": "{'}",
}  # fmt: skip


def booktabs(head: list[str], lines: Sequence[list[str] | str]) -> list[str]:
    """The lines of a LaTeX tabular: words left, numbers right, a rule at every separating line."""
    rows = [r"\midrule" if isinstance(texts, str) else rf"{' & '.join(map(latex, texts))} \\" for texts in lines]
    aligned = f"l{'r' * (len(head) - 1)}"
    title = rf"{' & '.join(map(latex, head))} \\"
    begin, end = rf"\begin{{tabular}}{{{aligned}}}", r"\end{tabular}"
    return [begin, r"\toprule", title, r"\midrule", *rows, r"\bottomrule", end]


def latex(text: str) -> str:
    """The text as pdflatex prints it, in ASCII alone; a letter that it cannot be sure to have is a question mark."""
    return "".join(LATEX.get(sign) or accented(sign) for sign in unicodedata.normalize("NFC", text))


def accented(sign: str) -> str:
    """A letter with its accents, as far as LaTeX has commands for them."""
    base, *marks = [*unicodedata.normalize("NFKD", sign)]
    if not base.isascii() or not base.isprintable() or any(mark not in ACCENTS for mark in marks):
        return " " if sign.isspace() else "?"
    for mark in marks:
        base = f"{ACCENTS[mark]}{{{base}}}"
    return base


def comment(text: str) -> str:
    """A line that LaTeX leaves out, the words of a row's label on no line of their own."""
    return f"% {' '.join(text.splitlines())}"
