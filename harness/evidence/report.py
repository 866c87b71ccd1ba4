"""One HTML page of what the records say: verdicts, tables, plots, settings and every run; it needs nothing beside it.

Every number is of tables.py and claims.py; here they are only laid out. Whatever a record says is shown as text.
"""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from benchmarks.resuming import files
from harness import records, tables
from harness.evidence import claims
from harness.evidence.compare import flat
from harness.evidence.statistics import Comparison, Verdict, cell
from harness.records import Record
from harness.tables import GAUGES, Column, Row

ALWAYS = ("A1", "A2", "gauges")  # where no table is named
FIGURES = {  # picture in RESULTS/plots → the command that draws it, and what it shows
    "matches.png": ("harness figure matches", "What each strategy links in two views of one image"),
    "A1-categories.png": ("harness figure A1 --run RUN", "The pseudo categories of a run in two views of its images"),
}
Settings = dict[str, dict[str, str]]  # row → dotted setting → value
WIDTH = 1200  # pixels of an embedded picture at most
PALETTE = 96  # colours of a plot
OURS = (  # settings that the paper leaves open (METHODS 14) and the recipe decides: how a dotted name begins
    "recipe.epochs", "recipe.batch", "recipe.lr", "recipe.heads.", "recipe.similarity", "recipe.global_weight",
    "recipe.blur", "match.",
)  # fmt: skip


class Grid(NamedTuple):
    """A table of text: the first cell of each line names it."""

    caption: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    numeric: bool = True  # all cells but the first stand right


class Said(NamedTuple):
    """A claim of the paper, and what the runs say to it."""

    name: str
    word: str
    why: str
    behind: str


class Scored(NamedTuple):
    """What can be decided by one score of a table."""

    score: str
    against: Grid
    said: list[Said]
    notes: list[str]


class Section(NamedTuple):
    """One table of the page."""

    name: str
    summary: str
    notes: str
    numbers: Grid
    scored: list[Scored]  # none of a table of gauges
    commands: list[str]
    unfillable: list[str]
    plot: str | None  # a data URI


class Picture(NamedTuple):
    """A figure, or the command that would draw it."""

    told: str
    command: str
    uri: str | None


@dataclass(frozen=True)
class Known:
    """The records and the words that choose among them."""

    names: tuple[str, ...]
    extra: tuple[str, ...]  # for all rows
    preset: str
    changed: bool
    runs: tuple[Record, ...]
    broken: tuple[str, ...]  # a line for each folder that is no record

    def rows(self, name: str) -> list[Row]:
        """Of a table."""
        return tables.rows(name, self.extra, self.runs)


def read(names: Sequence[str], extra: Sequence[str], preset: str, changed: bool, results: Path) -> Known:
    """What a report is made from; a coco table that any run fills is added where no table is named."""
    for name in names:
        tables.named(name)
    found, broken = records.read_all(results)
    faults = {run.id: fault(run) for run in found}
    lines = [*broken, *(f"{run.id}: {faults[run.id]}" for run in found if faults[run.id])]
    shown = tuple(line.replace(f"{results}/", "") for line in lines)
    sound = tuple(run for run in found if not faults[run.id])
    known = Known(tuple(names) or ALWAYS, tuple(extra), preset, changed, sound, shown)
    if not names and any(row.n for row in known.rows("coco")):
        return replace(known, names=("A1", "A2", "coco", "gauges"))
    return known


def fault(run: Record) -> str | None:
    """What keeps a record from being read as a run's; None where nothing does."""
    try:
        steps = [point["step"] for point in run.curve]
        numbers = [*(run.scores or {}).values(), *run.gauges().values(), *steps]
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers):
            return "not a readable record (a score, gauge or step is no finite number)"
        if not all(isinstance(value, int) for value in tables.trial_of(run)):
            return "not a readable record (its seed or trial is no whole number)"
        hash((run.fingerprint("data"), run.fingerprint("benchmark_data")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = str(error).replace(f"{run.folder}/", "")
        return said if isinstance(error, ValueError) else f"not a readable record ({type(error).__name__}: {said})"
    return None


def write(known: Known, figures: Path, out: Path) -> None:
    """Write the page, whole or not at all; the same records give the same bytes."""
    if out.is_dir():
        raise ValueError(f"--out {out}: a folder, not a file")
    page = render(known, figures).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write(out, lambda file: file.write(page))


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
        scale=" ".join(tables.scale(known.preset, known.changed)).rstrip(";"),
        command=shlex.join(["harness", "report", *known.extra, *known.names]) + " --results RESULTS --out FILE",
        facts=facts(known, list(counted.values())),
        sections=[section(known, name, found) for name, found in named.items()],
        pictures=[picture(figures / name, *told) for name, told in FIGURES.items()],
        choices=choices(settings),
        shared=shared(settings),
        differing=differing(settings),
        runs=run_grid(known.runs, machines, set(counted)),
        machines=Grid("Devices and versions", ["", "device", "versions"],
                      [[letter(machines.index(one)), *one] for one in machines], numeric=False),
        told=[(run.id, line) for run in known.runs for key in ("remarks", "doubts") for line in told(run, key)],
        left_out=tables.left_out(rows, known.runs) if any(not row.missing for row in rows) else [],
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


def section(known: Known, name: str, rows: list[Row]) -> Section:
    """A table with all that is said of it."""
    table = tables.named(name)
    scores = [one for one in table.columns if one not in GAUGES]
    return Section(
        name,
        table.summary,
        " ".join(table.notes),
        number_grid(name, rows, scores) if scores else gauge_grid(name, rows),
        [scored(known, name, rows, score) for score in scores],
        tables.gap_commands(rows),
        tables.unfillable(rows),
        plot(rows, scores) if any(row.n for row in rows) else None,
    )


def number_grid(name: str, rows: Sequence[Row], scores: Sequence[Column]) -> Grid:
    """For each score the paper's number, ours and its interval, and n."""
    lines = []
    for row in rows:
        cells = [text for score in scores for text in cell_words(row, score)]
        lines.append([row.label + (" (control)" if row.control else ""), *cells, row.count])
    heads = [text for one in scores for text in (f"{one.heading}, paper", f"{one.heading}, ours", "95 % interval")]
    return Grid(f"Table {name}: {tables.SPREAD}", ["", *heads, "n"], lines)


def cell_words(row: Row, score: Column) -> list[str]:
    """The paper's number, ours and its interval."""
    found = cell([*row.seeds(score).values()])
    return [tables.shown(row.reported.get(score.name), score), tables.ours(row, score), claims.cell_words(found)[-1]]


def gauge_grid(name: str, rows: Sequence[Row]) -> Grid:
    """The gauges as the text table has them."""
    columns = tables.named(name).columns
    lines = [line for line in tables.cells(rows, columns, [], "md") if not isinstance(line, str)]
    return Grid(f"Table {name}: {tables.SPREAD}", tables.headings(columns, []), lines)


def scored(known: Known, name: str, rows: Sequence[Row], score: Column) -> Scored:
    """One score's comparisons, verdicts and what they rest on."""
    evidence = claims.evidence(name, score.name, rows, known.preset, known.changed)
    found = claims.findings(evidence)
    lines = [[label, *claims.comparison_words(one), claims.small(one.floor)] for label, one in found.others.items()]
    head = ["", "n", "difference", "95 % interval", "p", "Holm", "P(A>B)", "least p"]
    grid = Grid(f"{score.heading}: each row less {found.baseline}, paired by seed", head, lines)
    return Scored(score.heading, grid, [said(*one) for one in found.verdicts.items()], claims.notes(found))


def said(name: str, judged: tuple[Comparison, Verdict]) -> Said:
    """A verdict with the difference that it rests on."""
    found, verdict = judged
    return Said(name, verdict.word, verdict.why, claims.behind_it(found))


def plot(rows: Sequence[Row], scores: Sequence[Column]) -> str:
    """The table's plot as a data URI, in few colours: a tenth of an SVG's bytes where curves have many points."""
    from matplotlib import rc_context
    from PIL import Image

    from harness.evidence import plots

    drawn, out = BytesIO(), BytesIO()
    with rc_context(plots.STYLE):
        figure = plots.dots(rows, scores) if scores else plots.gauge_curves(rows)
        figure.savefig(drawn, format="png", dpi=220, metadata={"Software": None})
    with Image.open(drawn, formats=["PNG"]) as found:
        found.convert("RGB").quantize(PALETTE).save(out, "PNG", optimize=True)
    return data_uri("image/png", out.getvalue())


def picture(file: Path, command: str, told: str) -> Picture:
    """A figure that has been drawn, no wider than the page needs; else its command alone."""
    from PIL import Image

    if not file.is_file():
        return Picture(told, command, None)
    out = BytesIO()
    with Image.open(file, formats=["PNG", "JPEG"]) as found:
        found.thumbnail((WIDTH, 4 * WIDTH))
        found.convert("RGB").save(out, "JPEG", quality=80, optimize=True)
    return Picture(told, command, data_uri("image/jpeg", out.getvalue()))


def data_uri(kind: str, content: bytes) -> str:
    """Content that an image element shows without a request."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def settings_of(rows: Sequence[Row]) -> Settings:
    """Row → dotted setting → value, of the rows that can be run."""
    can = [row for row in rows if not row.missing]
    return {row.label: flat(tables.seedless(tables.settings_of(row.words))) for row in can}


def common(settings: Settings) -> dict[str, str]:
    """The settings that all rows have alike."""
    first, *rest = [*settings.values()] or [{}]
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in rest)}


def shared(settings: Settings) -> Grid:
    """The settings of every row."""
    return Grid("Settings that all rows share", ["setting", "value"],
                [*common(settings).items()], numeric=False)  # fmt: skip


def differing(settings: Settings) -> Grid:
    """What each row has of its own."""
    alike = common(settings)
    lines = [[label, ", ".join(f"{name}={value}" for name, value in one.items() if name not in alike)]
             for label, one in settings.items()]  # fmt: skip
    return Grid("Settings of each row beside these", ["row", "settings"], lines, numeric=False)


def choices(settings: Settings) -> Grid:
    """Of the settings that the paper leaves open the values here; with several, the rows that have each."""
    found: dict[str, dict[str, list[str]]] = {}
    for label, its in settings.items():
        for name, value in its.items():
            if name.startswith(OURS):
                found.setdefault(name, {}).setdefault(value, []).append(label.split(": ", 1)[1])
    lines = [[name, "; ".join(f"{value} ({', '.join(dict.fromkeys(labels))})" if len(values) > 1 else value
              for value, labels in values.items())] for name, values in sorted(found.items())]  # fmt: skip
    return Grid("Choices that the paper leaves open, and their values here", ["setting", "value"], lines, numeric=False)


def run_grid(runs: Sequence[Record], machines: Sequence[tuple[str, str]], counted: set[str]) -> Grid:
    """Every run."""
    scores = list(dict.fromkeys(name for run in runs for name in run.scores or {}))[:6]
    head = ["run", "counts", "seed", "trial", *scores, "status", "commit", "machine", "seconds", "data", "judged on"]
    lines = [
        [run.id, "yes" if run.id in counted else "no", *map(str, tables.trial_of(run)),
         *(claims.number((run.scores or {}).get(name)) for name in scores), str(run.status), commit_of(run),
         letter(machines.index(machine_of(run))), seconds_of(run),
         *(str(run.fingerprint(part) or "–")[:12] for part in ("data", "benchmark_data"))] for run in runs
    ]  # fmt: skip
    return Grid("Every readable run; the letter stands for a line of devices and versions", head, lines)


def letter(place: int) -> str:
    """A, B, …, Z, then AA and on."""
    rest, last = divmod(place, 26)
    return (letter(rest - 1) if rest else "") + chr(ord("A") + last)


def part_of(run: Record, name: str) -> Mapping[str, Any]:
    """A part of a run's provenance, empty where it is none."""
    found = run.provenance.get(name)
    return found if isinstance(found, Mapping) else {}


def commit_of(run: Record) -> str:
    """Twelve digits of the commit, and whether the code differed from it."""
    code = part_of(run, "code")
    return str(code.get("commit") or "–")[:12] + (" (changed)" if code.get("dirty") else "")


def machine_of(run: Record) -> tuple[str, str]:
    """The device, and all versions on one line."""
    versions = {name: version for name, version in part_of(run, "versions").items() if version}
    cuda = part_of(run, "machine").get("cuda")
    listed = [*(f"{name} {version}" for name, version in sorted(versions.items())), *([f"CUDA {cuda}"] if cuda else [])]
    return str(part_of(run, "machine").get("device", "–")), ", ".join(listed) or "–"


def seconds_of(run: Record) -> str:
    """Of the pre-training and the benchmark together."""
    spent = [value for value in part_of(run, "seconds").values() if isinstance(value, int | float)]
    return f"{sum(spent):,.0f}" if spent else "–"


def told(run: Record, key: str) -> list[str]:
    """The benchmark's remarks or doubts."""
    found = run.provenance.get(key)
    return [f"{key}: {line}" for line in found] if isinstance(found, list) else []
