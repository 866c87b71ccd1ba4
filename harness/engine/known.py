"""Which runs have been made: those of the settings asked for, by the code and on the data that would make them now."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.data.contents import BY_CONTENT
from harness import records
from harness.engine import backbones, identity, provenance
from harness.engine.identity import Code
from harness.engine.run import code_of, prepared, print_now
from harness.experiment import Experiment
from harness.settings import Json
from harness.terminal import Listing

if TYPE_CHECKING:
    from harness.engine.machine import Machine


class Known(NamedTuple):
    """What is known of a run that is asked for."""

    experiment: Experiment  # under the name that its run has or will have
    record: records.Record | None  # of the run that need not be made; None: it is to be made


def look_up(
    experiments: Sequence[Experiment], machine: Callable[[], Machine], results: Path, cache: Path,
    again: bool = False, keep_old: bool = False,
) -> list[Known]:  # fmt: skip
    """Return what is known of each run: every verb that makes runs decides by this which of them it makes.

    A finished run of these settings counts if the code and the data of now are those that made it. Where they are not,
    `again` makes a new run beside it, `keep_old` takes it as it is, and without either OtherCode says what differs. A
    record that is too old to name its code counts, and a line says so. `machine` is called only to compare a run.
    """
    found, apart = [], []
    for experiment in experiments:
        finished = all_finished(experiment, results)
        record, reasons = finished[0] if finished else None, ""
        if finished and not keep_old:
            record, reasons = same_run(experiment, finished, machine, results, cache)
        if reasons and not again:
            apart.append(reasons)
        found.append(Known(experiment if record else beside(experiment, results), record))
    if apart:
        raise OtherCode(apart)
    return found


class OtherCode(Listing):
    """Finished runs whose settings are those asked for, made by other code or on other data."""

    def __init__(self, apart: Sequence[str]) -> None:
        about = "--again makes a new record beside it, --keep-old shows the old one"
        if len(apart) == 1:
            super().__init__(f"{apart[0]}: {about}")
        else:
            super().__init__(f"{len(apart)} runs; of each, {about}:", apart)


def all_finished(experiment: Experiment, results: Path) -> list[records.Record]:
    """Return the finished runs of exactly these settings; remove what a kill left beside the first.

    A run that an older version recorded in another form has another hash in its name, and is known by its settings.
    """
    first = records.read_finished(results / records.RUNS / experiment.run_id)
    settings = json.loads(json.dumps(experiment.settings))
    alike, _ = records.read_all(results, f"{experiment.backbone.name}-s{experiment.seed}-")
    others = [record for record in alike if record.scores is not None and record.settings == settings]
    return [*([first] if first else []), *(record for record in others if not first or record.id != first.id)]


def same_run(
    experiment: Experiment, finished: Sequence[records.Record], machine: Callable[[], Machine], results: Path,
    cache: Path,
) -> tuple[records.Record | None, str]:  # fmt: skip
    """Return the finished run by the code and on the data of now, or None and in what the last of them differs."""
    if unknown := next((record for record in finished if identity.recorded(record.provenance) is None), None):
        print_now(f"{unknown.id} does not say by which code it was made (commit {commit(unknown.provenance)})")
        return unknown, ""
    source = backbones.source(experiment.backbone, experiment.seed, results, cache, machine())
    facts_now = {**source.facts, "benchmark_data": {"fingerprint": prepared(experiment, cache).fingerprint}}
    code = code_of(experiment, source)
    apart = {record.id: what_differs(record, code, facts_now) for record in finished}
    if same := next((record for record in finished if not apart[record.id]), None):
        return same, ""
    name, reasons = next(reversed(apart.items()))
    return None, f"{name} has these settings, but was made by other code or data: {'; '.join(reasons)}"


def what_differs(record: records.Record, code: Code, facts: Json) -> list[str]:
    """Return in what a record differs from a run that would be made now, a phrase each."""
    made_by = identity.recorded(record.provenance)
    lines = made_by.differences(code) if made_by else []
    for part, name in (("data", "the images to pre-train on"), ("benchmark_data", "the benchmark's data")):
        mine, now = record.fingerprint(part), facts.get(part, {}).get("fingerprint")
        if mine and now and mine != now:
            older = now.startswith(BY_CONTENT) and not mine.startswith(BY_CONTENT)
            lines.append(f"{name} ({mine}{', of names and sizes alone' if older else ''}, now {now})")
    if lines and commit(record.provenance) != commit({"code": provenance.code()}):
        lines.append(f"commit {commit(record.provenance)}, now {commit({'code': provenance.code()})}")
    return lines


def commit(provenance: Json) -> str:
    """Return the commit of a record's code, and whether the code differed from it, as text."""
    code = provenance.get("code", {})
    return str(code.get("commit") or "not known")[:8] + (" with changes" if code.get("dirty") else "")


def beside(experiment: Experiment, results: Path) -> Experiment:
    """Return the experiment under the first name that no finished run has."""
    taken = results / records.RUNS
    return next(
        one for one in (replace(experiment, again=count) for count in itertools.count())
        if not records.is_finished(taken / one.run_id)
    )  # fmt: skip
