"""The page of the report: verdicts, tables, plots, settings and every run.

Every number is computed by the other modules of harness/evidence and only laid out here. Whatever a record says is
shown as text.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from benchmarks.resuming import files
from harness import terminal
from harness.evidence.left_out import left_out
from harness.evidence.render import scale
from harness.evidence.report.appendix import (
    NOTES,
    Grid,
    choices,
    commit_of,
    differing,
    letter,
    lines_of,
    machine_of,
    run_grid,
    settings_of,
    shared,
)
from harness.evidence.report.pictures import FIGURES, colours_of, picture
from harness.evidence.report.sections import section, summary
from harness.evidence.report.source import Source, brief
from harness.records import Record


def write(source: Source, figures: Path, out: Path) -> None:
    """Write the page, whole or not at all; the same records give the same bytes on the same day."""
    page = render(source, figures, command_of(source, figures, out), today()).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write(out, lambda file: file.write(page))


def today() -> str:
    """Return the day in UTC, as YYYY-MM-DD; that of SOURCE_DATE_EPOCH if it is set, for builds to be repeatable."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return (datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)).strftime("%Y-%m-%d")


def command_of(source: Source, figures: Path, out: Path) -> str:
    """Return the command that writes this page; a path outside the current folder is named by its last part alone."""
    paths = {"--results": source.results, "--out": out}
    if figures != source.results / "plots":
        paths["--figures"] = figures
    places = [part for name, path in paths.items() for part in (name, brief(path))]
    rows = [part for row in source.own for part in ("--row", row)]
    return shlex.join(["harness", "report", *source.options, *rows, *source.names, *places])


def render(source: Source, figures: Path, command: str, day: str) -> str:
    """Return the page as text."""
    tables = {name: source.rows(name) for name in source.names}
    rows = [replace(row, label=f"{name}: {row.label}") for name, filled in tables.items() for row in filled]
    counted = {run.id: run for row in rows for run in row.runs}
    settings = settings_of(rows)
    machines = list(dict.fromkeys(machine_of(run) for run in source.runs))
    sections = [section(source, name, filled) for name, filled in tables.items()]
    drawn = [svg for one in sections for svg in (one.plot, *(score.forest for score in one.scores)) if svg]
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=visible, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    return environment.from_string(template).render(
        scale=" ".join(scale(source.preset, source.changed)).rstrip(";"),
        command=command,
        summary=summary(sections, source.comparable),
        facts=facts(source, [*counted.values()], day),
        colours=colours_of(drawn),
        sections=sections,
        pictures=[picture(figures / name, line + source.place, title) for name, (line, title) in FIGURES.items()],
        choices=choices(settings),
        shared=shared(settings),
        differing=differing(settings),
        runs=run_grid(source.runs, machines, set(counted)),
        machines=Grid("Devices and versions", ["", "device", "versions"],
                      [[letter(machines.index(one)), *one] for one in machines], numeric=False),
        warnings=[(run.id, line) for run in source.runs for key in NOTES for line in lines_of(run, key)],
        left_out=left_out(rows, source.runs) if any(not row.missing for row in rows) else [],
        broken=source.broken,
    )  # fmt: skip


def visible(value: object) -> object:
    """Return text with every control and direction mark spelt out; what the template itself has made stays as it is."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return terminal.visible(value)


def facts(source: Source, counted: Sequence[Record], day: str) -> dict[str, str]:
    """Return what the page rests on."""
    seeds, trials = ({run.settings[name] for run in counted} for name in ("seed", "trial"))
    return {
        "written on": day,
        "newest run": max((run.ended for run in source.runs if run.ended), default="–"),
        "runs": f"{len(counted)} counted of {len(source.runs)} recorded",
        "seeds × trials": f"{len(seeds)} × {len(trials)}",
        "code": ", ".join(sorted({commit_of(run) for run in counted})) or "–",
        "devices": ", ".join(sorted({machine_of(run)[0] for run in counted})) or "–",
        "versions": "; ".join(sorted({machine_of(run)[1] for run in counted})) or "–",
    }
