"""Hand a run, or every row of tables without a run, to Slurm.

Example: harness submit A1 A2 --partition gpu --hours 24

RESULTS/submitted holds what submitit writes (script, pickled job, log) and one
<job>.json for every submission, by which --status and --cancel know it. Which
runs are finished is read from their records, not from Slurm, which forgets.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.resuming import files
from benchmarks.resuming.strict_json import read_object
from harness import records
from harness.evidence.render import place_of
from harness.experiment import Options, add_backbone, add_settings, build
from harness.settings import read_options, write_options
from harness.verbs import options
from harness.verbs.options import CheckOptions, MachineOptions, ProcessOptions, WatchOptions, passed_on
from harness.verbs.reproduce import is_missing, look_up_lines, plan

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from harness.engine.known import Known
    from harness.experiment import Experiment

# exit codes of `harness run` after a stop signal, once it has begun and before that
STOPPED = (os.EX_TEMPFAIL, 130, -signal.SIGTERM)
TIMEOUTS = 100  # how often a run that is longer than its --hours is continued in another job


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is submitted, what a job asks of Slurm, and what is asked of the jobs submitted before."""
    help = "every row of A1, A2, … without a run; without a table, the one run that the other options describe"
    parser.add_argument("names", metavar="TABLE", nargs="*", help=help)
    add_backbone(parser)
    options.add_results(parser)
    group = parser.add_argument_group("queue")
    add = group.add_argument
    add("--slurm", action="store_true", help="submit to Slurm: the only queue there is, so it may be left out")
    add("--partition", metavar="NAME", help="where the jobs wait (the cluster's default)")
    hours = "of a job; a run that needs more continues in another job (24)"
    add("--hours", metavar="H", type=float, default=24.0, help=hours)
    add("--array", metavar="N", type=int, default=8, help="jobs at once, at most (8)")
    add = group.add_mutually_exclusive_group().add_argument
    add("--dry-run", action="store_true", help="only say what would be submitted")
    add("--status", action="store_true", help="print the state of the submitted jobs")
    add("--cancel", metavar="JOB", nargs="*", help="cancel these jobs, or all that wait or run")
    add_settings(parser)
    options.add_seeds(parser)
    options.add_old(parser)
    options.add_machine(parser)
    options.add_processes(parser)
    options.add_watching(parser)
    options.add_checks(parser)


def main(args: argparse.Namespace) -> None:
    """Submit what has not been run, or print the state of what was submitted, or cancel it."""
    if args.status:
        print("\n".join(status(args.results)))
        return
    if args.cancel is not None:
        print("\n".join(cancel(args.cancel, args.results)))
        return
    machine, processes = read_options(MachineOptions, args), read_options(ProcessOptions, args)
    gpus = processes.processes * (machine.device != "cpu") if processes.gpus is None else processes.gpus
    count = max(processes.processes, processes.gpus or 1)
    asked = Slurm(args.partition, gpus, count, machine.workers, args.hours, args.array)
    lines = lines_to_run(args.names, read_options(Options, args), options.seeds_of(args))
    missing = not_made(look_up_lines(lines, machine, args), args.results)
    print(f"jobs to submit: {len(missing)}, at most {args.array} at once, each of {asked}", flush=True)
    for line in missing:
        print(f"  harness run {line}{place_of(args.results)}", flush=True)
    if missing and not args.dry_run:
        watch, checks = read_options(WatchOptions, args), read_options(CheckOptions, args)
        more = [*passed_on(machine, processes, watch, checks, args.results), *options.written_old(args)]
        for job in submit(missing, more, asked, args.results):
            print(f"job {job.job}  {' '.join(job.runs)}")


def lines_to_run(names: Sequence[str], asked: Options, seeds: Sequence[int]) -> dict[str, list[Experiment]]:
    """Return options of `harness run` → its trials, for the rows of tables or for the run described, of every seed."""
    described = write_options(Options(strategy=asked.strategy, backbone=asked.backbone))
    if names and described:
        raise ValueError(
            f"{' '.join([*names, *described])}: tables, or the options of one run, were expected, not both"
        )
    if names:
        return plan(names, asked.shared, seeds, asked.trials)
    each = options.one_by_one(asked, seeds)
    return {shlex.join(write_options(one)): build(one).trials(one.trials) for one in each}


@dataclass(frozen=True)
class Slurm:
    """What a job asks of Slurm; raises ValueError for what no job can have."""

    partition: str | None  # None: the cluster's default
    gpus: int
    processes: int  # that train
    workers: int  # of each, that load images: a CPU for every one
    hours: float
    at_once: int  # of an array's jobs

    def __post_init__(self) -> None:
        values = {"gpus": self.gpus, "processes": self.processes, "workers": self.workers, "hours": self.hours,
                  "array": self.at_once}  # fmt: skip
        least = {"gpus": 0, "processes": 1, "workers": 0, "hours": 0.1, "array": 1}
        for word, value in values.items():
            if not value >= least[word]:
                raise ValueError(f"--{word} {value:g}: must be at least {least[word]}")

    @property
    def cpus(self) -> int:
        """CPUs of a job: one for every process that trains and for every one that loads images."""
        return self.processes * (self.workers + 1)

    def __str__(self) -> str:
        parts = [f"{self.hours:g} h", f"CPUs: {self.cpus}", f"GPUs: {self.gpus}"]
        return ", ".join([*parts, *([f"partition: {self.partition}"] if self.partition else [])])


class Submitted(NamedTuple):
    """A job and the runs that it makes."""

    job: str  # Slurm's id, of an array's job ARRAY_INDEX
    command: str
    runs: list[str]

    def state(self, results: Path, queue: Mapping[str, str]) -> str:
        """Return `finished` if all its records are, else its state in Slurm's queue, or `ended` if it is not there."""
        return "finished" if done(self.runs, results) else queue.get(self.job, "ended")

    def log(self, results: Path) -> Path:
        """Return the file of what the job printed."""
        return results / "submitted" / f"{self.job}_0_log.out"


class Job:
    """One `harness run` in a process of its own, as submitit starts, stops and requeues it."""

    def __init__(self, options: Sequence[str]) -> None:
        self.options = [*options]
        self.process: int | None = None

    def __call__(self) -> None:
        """Run, and raise SystemExit with the command's exit code if it is not 0.

        Slurm sends its signals to every process of a job. SIGUSR2 is submitit's alone, which calls checkpoint.
        """
        line = [sys.executable, "-m", "harness", "run", *self.options]
        self.process = os.posix_spawn(sys.executable, line, os.environ, setsigmask=[signal.SIGUSR2])
        code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        if code in STOPPED:
            requeue_preempted()
        if code:
            sys.exit(code)

    def checkpoint(self) -> DelayedSubmission:
        """Stop the run, which writes its checkpoint within a step, and return the same job, which continues from it."""
        from submitit.helpers import DelayedSubmission

        with suppress(ProcessLookupError, ChildProcessError):
            if self.process:
                os.kill(self.process, signal.SIGTERM)
                os.waitpid(self.process, 0)
        return DelayedSubmission(Job(self.options))


def requeue_preempted() -> None:
    """Requeue this job if Slurm still lets it run: it was given time to stop before another one takes its place.

    A job that ends within this time counts as ended. One that is cancelled, or requeued already, no longer runs.
    """
    array, index = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    job = f"{array}_{index}" if array else os.environ["SLURM_JOB_ID"]
    if queued().get(job) == "running":
        slurm("scontrol", "requeue", job)


def slurm(*command: str) -> str:
    """Return what a command of Slurm's prints; ValueError with one line if it fails or is not installed."""
    if shutil.which(command[0]) is None:
        raise ValueError(f"no Slurm here: {command[0]} is not on the PATH")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip() or f"{shlex.join(command)}: exit code {done.returncode}")
    return done.stdout


def queued() -> dict[str, str]:
    """Return job → state of every job of the user in Slurm's queue."""
    lines = slurm("squeue", "--me", "--array", "--noheader", "--format=%i %T").splitlines()
    return {job: state.lower() for job, state in map(str.split, lines)}


def submitted(results: Path) -> list[Submitted]:
    """Return every job that was submitted from these results, by its number."""
    parts = (results / "submitted").glob("*.json")
    jobs = [Submitted(job, **facts) for file in parts for job, facts in read_object(file).items()]
    return sorted(jobs, key=lambda job: [*map(int, job.job.split("_"))])


def not_made(lines: Mapping[str, Sequence[Known]], results: Path) -> dict[str, list[str]]:
    """Return options of `harness run` → its runs, for the lines with a run that is not made, waiting or running."""
    known = submitted(results)
    queue = queued() if known else {}
    busy = {run for job in known if job.job in queue for run in job.runs}
    named = {line: [run.record.id if run.record else run.experiment.run_id for run in runs]
             for line, runs in lines.items() if is_missing(runs)}  # fmt: skip
    return {line: runs for line, runs in named.items() if busy.isdisjoint(runs)}


def done(runs: Sequence[str], results: Path) -> bool:
    """Return whether all of the runs are finished."""
    return all(records.is_finished(results / records.RUNS / run) for run in runs)


def submit(missing: Mapping[str, list[str]], machine: Sequence[str], asked: Slurm, results: Path) -> list[Submitted]:
    """Submit a job for each line, several as one array, and return the jobs; ValueError if Slurm refuses them."""
    import submitit

    slurm("sbatch", "--version")
    executor = submitit.SlurmExecutor(results / "submitted", max_num_timeout=TIMEOUTS)
    executor.update_parameters(
        job_name="harness", partition=asked.partition, time=round(asked.hours * 60), gpus_per_node=asked.gpus or None,
        cpus_per_task=asked.cpus, srun_args=[f"--cpus-per-task={asked.cpus}"],  # which srun no longer inherits
        array_parallelism=asked.at_once, stderr_to_stdout=True, additional_parameters={"requeue": True},
    )  # fmt: skip
    try:
        with redirect_stderr(io.StringIO()):  # sbatch's complaint, which the error holds too
            taken = executor.submit_array([Job([*shlex.split(line), *machine]) for line in missing])
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise ValueError(f"Slurm refused: {' '.join(str(error).split())}") from error
    made = [Submitted(job.job_id, line, runs) for job, (line, runs) in zip(taken, missing.items(), strict=True)]
    facts = {job.job: {"command": job.command, "runs": job.runs} for job in made}
    files.write_json(results / "submitted" / f"{made[0].job.partition('_')[0]}.json", facts)
    return made


def status(results: Path) -> list[str]:
    """Return a line for every submitted job; for one that ended without a record also its log."""
    known = submitted(results)
    queue = queued() if known else {}
    states = [(job, job.state(results, queue)) for job in known]
    return [
        f"{job.job:<10} {state:<10} {' '.join(job.runs)}" + (f"  see {job.log(results)}" if state == "ended" else "")
        for job, state in states
    ] or [f"nothing was submitted from {results}"]


def cancel(names: Sequence[str], results: Path) -> list[str]:
    """Cancel these jobs, or all that wait or run, and return a line for each; ValueError for an unknown job."""
    queue = queued()
    jobs = [job.job for job in submitted(results) if job.job in queue]
    if strange := sorted(set(names) - set(jobs)):
        raise ValueError(f"no job {strange[0]!r} waits or runs: choose from {', '.join(jobs) or 'none'}")
    if chosen := [job for job in jobs if job in names or not names]:
        slurm("scancel", *chosen)
    return [f"cancelled {job}" for job in chosen] or ["no job waits or runs"]
