"""The command line: verbs and their words; every verb's work is done elsewhere, and torch only where it is needed."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.resuming import signals
from harness import ROOT, __version__, plugins, records
from harness.engine import distributed, launch, observers, tensorboard
from harness.engine import machine as machines
from harness.engine.backbones import Pretraining
from harness.engine.run import finished, follow, run
from harness.experiment import Experiment, base_words, build, extra_words, seed_words, words
from harness.presets import PRESETS
from harness.records import visible
from harness.verbs.export import KINDS, export

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from harness.engine.machine import Machine
    from harness.evidence.claims import Evidence
    from harness.evidence.rows import Row
    from harness.tables import Column

CACHE = ROOT / ".cache"  # of the embedded data
FORMATS = ("text", "md", "latex", "csv", "json")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 some of many runs failed, 2 refused in one line (HARNESS_TRACEBACK=1 shows where),
    130 stopped by Ctrl-C, 75 (EX_TEMPFAIL) by SIGTERM or SIGUSR1: the same command goes on, now or when a scheduler
    repeats it.
    """
    line = sys.argv[1:] if argv is None else list(argv)
    given = parser().parse_args(line)
    given.line = line
    try:
        given.verb(given)
    except KeyboardInterrupt as stop:
        if distributed.world().leads:
            print("\nharness: stopped; the same command goes on from here", file=sys.stderr)
        return os.EX_TEMPFAIL if isinstance(stop, signals.Requeued) else 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        if os.environ.get("HARNESS_TRACEBACK"):
            raise
        distributed.give_way(error)
        print(f"harness: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def one_line(error: Exception) -> str:
    """An error's message on one line; of a system error the file and what is wrong with it."""
    if isinstance(error, OSError) and error.strerror:
        return visible(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    return visible(" ".join(str(error).split()))


def say(text: str) -> None:
    """Print lines that a record of others' may have words in."""
    print("\n".join(map(visible, text.split("\n"))))


def parser() -> argparse.ArgumentParser:
    """All verbs."""
    top = argparse.ArgumentParser(prog="harness", description="Compare dense self-supervised pre-training strategies.")
    top.add_argument("--version", action="version", version=f"harness {__version__}")
    verbs = top.add_subparsers(metavar="VERB", required=True)

    def verb(
        name: str, work: object, summary: str, example: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"example: harness {example}",
            parents=parents,
        )
        made.set_defaults(verb=work)
        return made

    made = verb("run", run_verb, "pre-train, fine-tune a detector and record the scores", "run --strategy location",
                words(), machine_words(), ranks_words(), watching_words(), results_words())  # fmt: skip
    made.add_argument("--dry-run", action="store_true", help="print settings, steps and an estimate; do nothing")
    made = verb("table", table_verb, "print a table of the paper beside our numbers", "table A1 --format md",
                base_words(), results_words())  # fmt: skip
    made.add_argument("name", metavar="TABLE", help="A1, A2, coco, gauges, or a dotted path")
    made.add_argument("--format", choices=FORMATS, default="text", help="(text)")
    made.add_argument("--why", action="store_true", help="say of every run that does not count what differs")
    made = verb("claims", claims_verb, "say what the runs can decide: intervals, rows against one, verdicts",
                "claims A1 --baseline SimSiam", base_words(), score_words(), results_words())  # fmt: skip
    made.add_argument("--baseline", metavar="ROW", help="that all are compared with (the table's first)")
    made.add_argument("--format", choices=("text", "md", "json"), default="text", help="(text)")
    made = verb("plan", plan_verb, "say how many seeds each claim of a table needs, and what they cost",
                "plan A1 --power 0.8", base_words(), score_words(), machine_words(), results_words())  # fmt: skip
    made.add_argument("--power", metavar="P", type=float, default=0.8, help="chance to find the paper's gap (0.8)")
    made = verb("plot", plot_verb, "draw a table from the records, as PNG and PDF", "plot A1 --results results/demo",
                base_words(), results_words())  # fmt: skip
    made.add_argument("name", metavar="TABLE", help="A1, A2, coco, gauges, or a dotted path")
    made.add_argument(
        "--against",
        metavar="WHAT",
        help="draw a score over `steps` or `gauges` of the pre-training, or less that of a row (ROW)",
    )
    made.add_argument("--score", metavar="NAME", help="this score alone (all; with --against the table's first)")
    made.add_argument("--no-title", action="store_true", help="leave out the title, for a paper whose caption says it")
    out = "path without ending (RESULTS/plots/TABLE, or TABLE-steps, TABLE-gauges)"
    made.add_argument("--out", metavar="STEM", type=Path, help=out)
    made = verb("report", report_verb, "write one HTML page of what the records say: verdicts, tables, plots, runs",
                "report --results results/demo --out report.html", base_words(), results_words())  # fmt: skip
    made.add_argument("names", metavar="TABLE", nargs="*", help="A1, A2, coco, gauges, or a dotted path (all filled)")
    made.add_argument("--out", metavar="FILE", type=Path, required=True, help="the page, a file that is replaced")
    made.add_argument("--figures", metavar="DIR", type=Path, help="where `harness figure` has drawn (RESULTS/plots)")
    made = verb("reproduce", reproduce_verb, "run all experiments of tables that have not been run",
                "reproduce A1 A2", base_words(), seed_words(), machine_words(), ranks_words(), watching_words(),
                results_words())  # fmt: skip
    made.add_argument(
        "--jobs", metavar="K", type=int, default=1, help="runs at once, each with a log in RESULTS/logs (1)"
    )
    made.add_argument("names", metavar="TABLE", nargs="+", help="A1, A2, coco, gauges, or a dotted path")
    made.add_argument("--dry-run", action="store_true", help="only say what has been run and what has not")
    made = verb("submit", submit_verb, "hand a run, or every gap of tables, to Slurm, requeued when it is preempted",
                "submit A1 A2 --partition gpu --hours 24", words(), machine_words(), ranks_words(), watching_words(),
                results_words())  # fmt: skip
    submit_words(made)
    verb("list", list_verb, "list all that can be chosen by name", "list")
    made = verb(
        "show", show_verb, "show a run: settings, provenance, scores, files", "show location-s0", results_words()
    )
    made.add_argument("run", metavar="RUN", help="the run's name, or how it begins")
    made = verb("compare", compare_verb, "show what differs between two runs", "compare location-s0 location-s1",
                results_words())  # fmt: skip
    made.add_argument("runs", metavar="RUN", nargs=2, help="a run's name, or how it begins")
    made = verb("export", export_verb, "write a run's backbone for another library, and say how it is loaded there",
                "export location-s0 --to timm", results_words())  # fmt: skip
    made.add_argument("run", metavar="RUN", help="the run's name, or how it begins; its weights must be here")
    made.add_argument("--to", metavar="LIBRARY", choices=KINDS, required=True, help=", ".join(KINDS))
    made.add_argument("--out", metavar="FILE", type=Path, help="a file that does not exist yet (RUN-LIBRARY.pth here)")
    made = verb("data", data_verb, "compose embedded data as a Pascal VOC folder",
                "data scenes --images 100 --size 128 --out scenes")  # fmt: skip
    made.add_argument("name", metavar="NAME", choices=["scenes"], help="scenes")
    made.add_argument(
        "--images", metavar="N", type=int, default=1000, help="train images; a fifth as many to test (1000)"
    )
    made.add_argument("--size", metavar="S", type=int, default=128, help="pixels a side (128)")
    made.add_argument("--seed", metavar="N", type=int, default=0, help="of the scenes (0)")
    made.add_argument("--out", metavar="DIR", required=True, help="a folder that does not exist yet, or is empty")
    made.add_argument("--sheet", metavar="FILE", type=Path, help="also draw eight scenes with their boxes, as a PNG")
    figure_words(verb("figure", figure_verb, "draw Fig. A1, or what the strategies link", "figure matches"))
    verb("doctor", doctor_verb, "say what is installed, what works and how to mend what does not", "doctor")
    verb("speed", speed_verb, "time a pre-training step against the naked backbone",
         "speed --preset paper --set precision=bf16 --compile --workers 8", base_words(), machine_words())  # fmt: skip
    return top


def submit_words(made: argparse.ArgumentParser) -> None:
    """What a job asks of Slurm, and what is asked of those submitted before."""
    made.add_argument("names", metavar="TABLE", nargs="*", help="every gap of A1, A2, …; without one, a run's words")
    add = made.add_argument_group("the queue").add_argument
    add("--slurm", action="store_true", help="hand it to Slurm: the one queue there is, so it may be left out")
    add("--partition", metavar="NAME", help="where the jobs wait (the cluster's default)")
    add(
        "--hours",
        metavar="H",
        type=float,
        default=24.0,
        help="of a job, which goes on in another if it needs more (24)",
    )
    add("--array", metavar="N", type=int, default=8, help="jobs at once, at most (8)")
    what = made.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="only say what would be submitted")
    what.add_argument("--status", action="store_true", help="say how the submitted jobs stand")
    what.add_argument("--cancel", metavar="JOB", nargs="*", help="cancel these jobs, or all that wait or run")


def figure_words(made: argparse.ArgumentParser) -> None:
    """The figures, each with its words."""
    kinds = made.add_subparsers(metavar="FIGURE", required=True)
    shared = results_words()
    shared.add_argument("--size", metavar="PX", type=int, default=224, help="pixels a side of a view (224)")
    shared.add_argument("--out", metavar="STEM", type=Path, help="writes STEM.png and STEM.pdf (in results/plots)")
    kind = kinds.add_parser("A1", parents=[shared], help="a run's pseudo categories in two views of its images")
    kind.set_defaults(draw=draw_categories, stem="A1-categories")
    kind.add_argument("--run", metavar="RUN", required=True, help="a run whose weights are here")
    kind.add_argument(
        "--code", metavar="MODULE", action="append", default=[], help="the run's strategy or benchmark, if yours"
    )
    kind.add_argument("--images", metavar="N", type=int, default=6, help="images of the run's (6)")
    kind = kinds.add_parser("matches", parents=[shared], help="what each strategy links in two views of an image")
    kind.set_defaults(draw=draw_matches, stem="matches")
    kind.add_argument("--run", metavar="RUN", help="gives the recipe and the weights (the demo's, random)")
    kind.add_argument("--strategy", metavar="NAME", help="one strategy (all that train)")
    kind.add_argument("--image", metavar="FILE", type=Path, help="an image (an embedded scene)")
    kind.add_argument("--seed", metavar="N", type=int, default=0, help="of the views and of random weights (0)")
    kind.add_argument(
        "--set", metavar="FIELD=VALUE", action="append", default=[], help="of the recipe, or strategy.FIELD"
    )


def machine_words() -> argparse.ArgumentParser:
    """Where a run computes; none of it is a setting of the experiment."""
    made = argparse.ArgumentParser(add_help=False)
    add = made.add_argument_group("the machine").add_argument
    add("--device", metavar="NAME", help="cpu, cuda or cuda:N (a GPU where there is one)")
    add("--workers", metavar="N", type=int, default=1, help="processes that load images (1)")
    add(
        "--augment",
        choices=("device", "workers"),
        help="where colours are changed, to the same bits (workers on a CPU)",
    )
    add("--cache", metavar="GIB", type=float, default=0.0, help="keep decoded images, in TMPDIR (0)")
    add("--reduced", action="store_true", help="decode large JPEGs at a reduced scale; changes pixels a little")
    add("--compile", action="store_true", help="torch.compile encoder and colours; changes the order of sums")
    add("--fused", action=argparse.BooleanOptionalAction, help="one kernel for the optimizer's step (on a GPU)")
    return made


def ranks_words() -> argparse.ArgumentParser:
    """How many processes make a run; not a setting either."""
    made = argparse.ArgumentParser(add_help=False)
    group = made.add_argument_group("processes that train together; under torchrun its own")
    add = group.add_mutually_exclusive_group().add_argument
    add("--processes", metavar="N", type=int, default=1, help="on this machine, with a GPU each or sharing the CPU (1)")
    add("--gpus", metavar="N", type=int, help="as many, each with a GPU of its own")
    return made


def watching_words() -> argparse.ArgumentParser:
    """Who watches a run beside its folder; none of it is a setting of the experiment."""
    made = argparse.ArgumentParser(add_help=False)
    add = made.add_argument_group("watching").add_argument
    kinds = "file:DIR, tinydb:DIR or mongodb://HOST/DATABASE"
    add("--observer", metavar="KIND:WHERE", action="append", default=[], help=f"of sacred's, may be repeated: {kinds}")
    add("--tensorboard", action="store_true", help="draw curves and scores into the run's folder, live")
    return made


def score_words() -> argparse.ArgumentParser:
    """A table that makes claims, and a score of it."""
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("name", metavar="TABLE", help="A1, A2, coco, or a dotted path to a table of yours")
    made.add_argument("--score", metavar="NAME", help="AP, AP50 or AP75 (the table's first)")
    return made


def results_words() -> argparse.ArgumentParser:
    """Where records lie."""
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument(
        "--results", metavar="DIR", type=Path, default=ROOT / "results", help="where records lie (results)"
    )
    return made


def run_verb(given: argparse.Namespace) -> None:
    """Run the experiment, unless it has been run; SIGTERM and SIGUSR1 stop it as cleanly as Ctrl-C."""
    signals.requeue_on_signals()
    experiment = build(given)
    if given.dry_run:
        from harness.engine.estimate import estimate

        print(estimate(experiment.trials(given.trials), machine(given)))
        return
    launch.leash()
    count = machines.processes(given.processes, given.gpus, given.device)
    experiment.divide(max(count, distributed.world().size))
    if launch.to_launch(count):
        raise SystemExit(launch.launch(given.line, count))
    with distributed.joined():
        if not distributed.world().leads:
            return follow(experiment, machine(given), given.results, CACHE)
        record(experiment.trials(given.trials), given)
        distributed.announce()


def record(experiments: Sequence[Experiment], given: argparse.Namespace) -> None:
    """Run the experiments that have not been run, and print all scores."""
    for one in experiments:
        found = finished(one, given.results)
        if found:
            print(f"this has been run: {found.id}")
        else:
            print(f"run {one.run_id}", flush=True)
            found = run(one, watched(given), given.results, CACHE)
        print("  ".join(f"{name} {score:.2f}" for name, score in (found.scores or {}).items()))
        print(f"record: {shown(found.folder)}")


def table_verb(given: argparse.Namespace) -> None:
    """Print a table."""
    from harness.evidence.render import render
    from harness.evidence.rows import fill_rows, left_out

    known = recorded(given)
    found = fill_rows(given.name, extra_words(given), known)
    say(render(given.name, found, given.preset, changed(given), given.format))
    if given.why:
        say("\n".join(["", *left_out(found, known)]))


def claims_verb(given: argparse.Namespace) -> None:
    """Print what the evidence can decide."""
    from harness.evidence import claims

    say(claims.report(evidence(given), given.baseline, given.format))


def plan_verb(given: argparse.Namespace) -> None:
    """Print what deciding costs: at the recorded runs' time, or as `location` takes here."""
    from harness.evidence import power

    known = evidence(given)
    cost = power.recorded_cost(known.rows)
    if cost is None:
        from harness.engine.estimate import hours

        there = machine(given)
        experiment = build(words().parse_args(["--strategy", "location", *extra_words(given)]))
        unit = "CPU-hours" if there.device == "cpu" else "GPU-hours"
        cost = power.Cost(hours(experiment, there), unit, "estimated from small steps here, good to a factor of two")
    say(power.plan(known, given.power, cost))


def evidence(given: argparse.Namespace) -> Evidence:
    """One score of the named table."""
    from harness.evidence import claims

    return claims.evidence(given.name, given.score, rows(given), given.preset, changed(given))


def changed(given: argparse.Namespace) -> bool:
    """Whether the words change settings of the preset."""
    return bool(given.set or given.benchmark)


def rows(given: argparse.Namespace) -> list[Row]:
    """The rows of the named table from the records."""
    from harness.evidence.rows import fill_rows

    return fill_rows(given.name, extra_words(given), recorded(given))


def recorded(given: argparse.Namespace) -> list[records.Record]:
    """The records for the named table, which must exist; folders that are no records are named on stderr."""
    from harness.tables import named

    named(given.name)
    found, broken = records.read_all(given.results)
    for line in broken:
        print(f"harness: left out: {visible(line)}", file=sys.stderr)
    return found


def plot_verb(given: argparse.Namespace) -> None:
    """Draw a table's plot, or a score of it; ValueError where there is nothing to draw."""
    from harness.evidence.rows import fill_rows

    known = recorded(given)
    found = fill_rows(given.name, extra_words(given), known)
    score = score_to_draw(given, found)
    from harness.evidence import plots
    from harness.evidence.plots.steps import lengths as lengths_of

    lengths = lengths_of(given.name, extra_words(given), known) if given.against == "steps" else [found]
    if not any(row.n for rows in lengths for row in rows):
        raise ValueError(f"no run in {given.results} fills a row of table {given.name}: harness reproduce {given.name}")
    note = f"ours: preset {given.preset}" + (", settings changed" if changed(given) else "")
    note += "" if given.preset == "paper" and not changed(given) else ", not comparable with the paper's numbers"
    stem = given.out or given.results / "plots" / plots.stem_of(given.name, given.against)
    if given.against and score:
        drawn = plots.write_against(given.name, given.against, lengths, score, note, stem, title=not given.no_title)
    else:
        drawn = plots.write(given.name, found, note, stem, [score] if score else None, title=not given.no_title)
    for path in drawn:
        print(shown(path))


def score_to_draw(given: argparse.Namespace, found: list[Row]) -> Column | None:
    """The score that the words ask for; None for all that the table has."""
    from harness.evidence import claims

    if given.against is None and given.score is None:
        return None
    return claims.evidence(given.name, given.score, found, given.preset, changed(given)).score


def report_verb(given: argparse.Namespace) -> None:
    """Write the page."""
    from harness.evidence.report import page, source

    known = source.read(given.names, extra_words(given), given.preset, changed(given), given.results)
    page.write(known, given.figures or given.results / "plots", given.out)
    print(f"report: {shown(given.out)}")


def reproduce_verb(given: argparse.Namespace) -> None:
    """Run every experiment of the tables that has not been run; SIGTERM and SIGUSR1 stop it as cleanly as Ctrl-C."""
    from harness.verbs.reproduce import plan, reproduce

    signals.requeue_on_signals()
    experiments = plan(given.names, extra_words(given), given.seed, given.trials)
    if given.dry_run:
        for line, trials in experiments.items():
            left = [one for one in trials if not finished(one, given.results)]
            print(f"{'missing' if left else 'run already':<11}  harness run {line}")
        return
    if given.jobs < 1:
        raise ValueError(f"--jobs {given.jobs}: at least 1 was expected")
    if distributed.world().size > 1:
        raise ValueError("reproduce starts its ranks itself: --processes N instead of torchrun")
    each = machines.processes(given.processes, given.gpus, given.device)
    there = watched(given)  # both refuse now what every run would refuse
    machines.afford(each, given.gpus, given.device)
    if given.jobs == each == 1:
        return reproduce(experiments, there, given.results, CACHE)
    from harness.engine.jobs import spread

    if spread(experiments, passed_on(given), given.jobs, machines.gpus(given.device), each, given.results):
        raise SystemExit(1)


def submit_verb(given: argparse.Namespace) -> None:
    """Submit what has not been run, or say how what was submitted stands, or cancel it."""
    from harness.verbs import submit

    if given.status:
        print("\n".join(submit.status(given.results)))
    elif given.cancel is not None:
        print("\n".join(submit.cancel(given.cancel, given.results)))
    else:
        gpus = given.processes * (given.device != "cpu") if given.gpus is None else given.gpus
        count = max(given.processes, given.gpus or 1)
        asked = submit.Slurm(given.partition, gpus, count, given.workers, given.hours, given.array)
        missing = submit.gaps(asked_for(given), given.results)
        print(f"jobs to submit: {len(missing)}, at most {given.array} at once, each of {asked}", flush=True)
        for line in missing:
            print(f"  harness run {line}", flush=True)
        if missing and not given.dry_run:
            for job in submit.submit(missing, passed_on(given), asked, given.results):
                print(f"job {job.job}  {' '.join(job.runs)}")


def asked_for(given: argparse.Namespace) -> dict[str, list[Experiment]]:
    """Words of `harness run` → its trials: of the named tables' rows, or of the one run that the words describe."""
    from harness.verbs.reproduce import plan

    one = pairs({"--strategy": given.strategy, "--backbone": given.backbone})
    if given.names and one:
        raise ValueError(f"{' '.join([*given.names, *one])}: tables, or the words of one run, were expected, not both")
    if given.names:
        return plan(given.names, extra_words(given), given.seed, given.trials)
    seeds = pairs({"--seed": given.seed, "--trials": given.trials})
    return {shlex.join([*one, *extra_words(given), *seeds]): build(given).trials(given.trials)}


def passed_on(given: argparse.Namespace) -> list[str]:
    """The words of a job's command that its settings do not hold."""
    results = None if given.results == ROOT / "results" else given.results
    values = {"--workers": given.workers, "--device": given.device, "--augment": given.augment,
              "--cache": given.cache or None, "--processes": given.processes if given.processes != 1 else None,
              "--gpus": given.gpus or None, "--results": results}  # fmt: skip
    flags = {"--reduced": given.reduced, "--compile": given.compile, "--fused": given.fused,
             "--no-fused": given.fused is False, "--tensorboard": given.tensorboard}  # fmt: skip
    watching = [word for one in given.observer for word in ("--observer", one)]
    return [*pairs(values), *watching, *(flag for flag, wanted in flags.items() if wanted)]


def pairs(values: Mapping[str, object]) -> list[str]:
    """Options and their values as words, without those that have none."""
    return [word for name, value in values.items() if value is not None for word in (name, str(value))]


def list_verb(given: argparse.Namespace) -> None:
    """Print every kind of thing that has a name, one line each."""
    from harness.tables import TABLES

    kinds = {
        **plugins.summaries(),
        "presets": {name: preset.summary for name, preset in PRESETS.items()},
        "tables": {name: table.summary for name, table in TABLES.items()},
    }
    for kind, lines in kinds.items():
        print(f"{kind}:")
        for name, line in lines.items():
            print(f"  {name:<18} {line}")


def show_verb(given: argparse.Namespace) -> None:
    """Print a run's record."""
    record = records.find(given.results, given.run)
    parts = {
        "settings": record.settings,
        "provenance": record.provenance or None,
        "gauges": record.gauges(),
        "scores": record.scores,
    }
    say(f"run {record.id}: {record.status}\n{shown(record.folder)}")
    for name, content in parts.items():
        say(f"\n{name}:\n{json.dumps(content, indent=2, ensure_ascii=False)}")
    print("\nfiles:")
    for file in sorted(record.folder.iterdir()):
        say(f"  {file.stat().st_size:>11,} {file.name}")


def compare_verb(given: argparse.Namespace) -> None:
    """Print two runs side by side."""
    from harness.evidence.compare import compare

    one, other = (records.find(given.results, name) for name in given.runs)
    say(compare(one, other))


def export_verb(given: argparse.Namespace) -> None:
    """Write a run's backbone; name the file and print the Python that loads it."""
    file, lines = export(records.find(given.results, given.run), given.to, given.out)
    say(f"backbone: {shown(file)}\n\n{lines}")


def data_verb(given: argparse.Namespace) -> None:
    """Compose scenes into a folder."""
    from benchmarks.scenes import sheet
    from benchmarks.scenes.compose import write
    from benchmarks.scenes.layout import Layout

    if given.images < 1:
        raise ValueError(f"--images {given.images}: at least 1 was expected")
    counts = {"trainval": given.images, "test": max(1, given.images // 5)}
    layout = Layout(size=given.size)
    write(given.out, layout, counts, given.seed, progress=True)
    if given.sheet:
        sheet.write(given.sheet, layout, given.seed)
    print(f"{sum(counts.values())} scenes in {given.out}: try --benchmark voc-folder --benchmark-data {given.out}")


def figure_verb(given: argparse.Namespace) -> None:
    """Draw a figure and name its files."""
    from harness.evidence.style import save

    for file in save(given.draw(given), given.out or given.results / "plots" / given.stem):
        print(f"figure: {shown(file)}")


def draw_categories(given: argparse.Namespace) -> Figure:
    """Fig. A1."""
    from harness.evidence.figures.categories import categories

    for path in given.code:
        plugins.imported(path, "module")
    return categories(records.find(given.results, given.run), CACHE, given.images, given.size)


def draw_matches(given: argparse.Namespace) -> Figure:
    """What the strategies link."""
    from harness.evidence.figures.matches import matches

    record = records.find(given.results, given.run) if given.run is not None else None
    return matches(given.strategy, record, given.image, given.seed, given.size, given.set)


def doctor_verb(given: argparse.Namespace) -> None:
    """Print what works here."""
    from harness.verbs.doctor import examine

    print(examine())


def speed_verb(given: argparse.Namespace) -> None:
    """Print the step ratio."""
    from harness.verbs.speed import step_ratio

    trained = build(words().parse_args(["--strategy", "location", *extra_words(given)])).backbone
    assert isinstance(trained, Pretraining)
    print(step_ratio(trained.recipe, machine(given)))


def machine(given: argparse.Namespace) -> Machine:
    """Where to compute; ValueError for a device that is not there."""
    return machines.machine(
        given.device, given.workers, given.augment, given.cache, given.reduced, given.compile, given.fused
    )


def watched(given: argparse.Namespace) -> Machine:
    """Where to compute, and who watches; ValueError or OSError where an observer is not ready."""
    if given.tensorboard:
        tensorboard.require()
    there = machine(given)
    return replace(there, observers=tuple(map(observers.guest, given.observer)), tensorboard=given.tensorboard)


def shown(path: Path) -> Path:
    """A path as short as it can be written from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
