"""One HTML page of what the records say: verdicts, tables, plots, settings and every run; it needs nothing beside it.

Every number is of tables.py and claims.py; here they are only laid out. Whatever a record says is shown as text.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from benchmarks.resuming import files
from harness import records
from harness.evidence.render import scale
from harness.evidence.report.appendix import (
    NOTES,
    Grid,
    choices,
    commit_of,
    differing,
    letter,
    machine_of,
    run_grid,
    settings_of,
    shared,
    told,
)
from harness.evidence.report.pictures import FIGURES, picture
from harness.evidence.report.sections import section
from harness.evidence.report.source import Known
from harness.evidence.rows import left_out
from harness.records import Record


def write(known: Known, figures: Path, out: Path) -> None:
    """Write the page, whole or not at all; the same records give the same bytes."""
    if out.is_dir():
        raise ValueError(f"--out {out}: a folder, not a file")
    page = render(known, figures).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write(out, lambda file: file.write(page))


def command_of(known: Known) -> str:
    """Return the command that writes the page."""
    rows = [text for row in known.own for text in ("--row", row)]
    return shlex.join(["harness", "report", *known.extra, *rows, *known.names]) + " --results RESULTS --out FILE"


def render(known: Known, figures: Path) -> str:
    """The page as text."""
    named = {name: known.rows(name) for name in known.names}
    rows = [replace(row, label=f"{name}: {row.label}") for name, found in named.items() for row in found]
    counted = {run.id: run for row in rows for run in row.runs}
    settings = settings_of(rows)
    machines = list(dict.fromkeys(machine_of(run) for run in known.runs))
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    house = Environment(autoescape=True, undefined=StrictUndefined, finalize=visible, trim_blocks=True,
                        lstrip_blocks=True)  # fmt: skip
    return house.from_string(template).render(
        scale=" ".join(scale(known.preset, known.changed)).rstrip(";"),
        command=command_of(known),
        facts=facts(known, list(counted.values())),
        sections=[section(known, name, found) for name, found in named.items()],
        pictures=[picture(figures / name, *told) for name, told in FIGURES.items()],
        choices=choices(settings),
        shared=shared(settings),
        differing=differing(settings),
        runs=run_grid(known.runs, machines, set(counted)),
        machines=Grid("Devices and versions", ["", "device", "versions"],
                      [[letter(machines.index(one)), *one] for one in machines], numeric=False),
        told=[(run.id, line) for run in known.runs for key in NOTES for line in told(run, key)],
        left_out=left_out(rows, known.runs) if any(not row.missing for row in rows) else [],
        broken=known.broken,
    )  # fmt: skip


def visible(value: Any) -> Any:
    """Text whose every control and direction mark can be seen; what the template itself has made stays as it is."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return records.visible(value)


def facts(known: Known, counted: Sequence[Record]) -> dict[str, str]:
    """What the page rests on."""
    seeds, trials = ({run.settings[name] for run in counted} for name in ("seed", "trial"))
    return {
        "runs": f"{len(counted)} counted of {len(known.runs)} recorded",
        "seeds × trials": f"{len(seeds)} × {len(trials)}",
        "code": ", ".join(sorted({commit_of(run) for run in counted})) or "–",
        "devices": ", ".join(sorted({machine_of(run)[0] for run in counted})) or "–",
        "versions": "; ".join(sorted({machine_of(run)[1] for run in counted})) or "–",
    }
