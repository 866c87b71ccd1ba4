"""What is handed to Slurm, with stand-ins for its commands, and a real one-node Slurm where it is installed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from harness import ROOT
from harness.cli import main
from harness.settings import read_options
from harness.verbs import options, submit
from harness.verbs.options import CheckOptions, MachineOptions, ProcessOptions, WatchOptions
from harness.verbs.submit import Job, requeue_preempted
from tests.pictures import photos

SETTINGS = [
    "--set", "epochs=1", "--set", "batch=2", "--set", "size=32", "--set", "width=8",
    "--set", "heads.out=8", "--set", "heads.hidden=8",
    "--set", "benchmark.iterations=2", "--set", "benchmark.batch=1", "--set", "benchmark.sizes=48",
    "--benchmark", "voc-folder", "--benchmark-data", "voc", "--data", "photos",
]  # fmt: skip
TABLE = """
from harness.tables import Table
TABLE = Table("three of A1", {name: f"--strategy {name}" for name in ("location", "simsiam", "random")})
"""
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
JobRequeue=0
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> {folder}/calls
case "$(basename "$0") $*" in
    "sbatch --version") ;;
    sbatch*) cp "$1" {folder}/script; cat {folder}/says; grep -q job {folder}/says ;;
    squeue*) cat {folder}/queue ;;
esac
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the user stands: a table, images and a folder to be judged on, all small."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "rows").mkdir()
    (folder / "rows" / "three.py").write_text(TABLE, encoding="utf-8")
    photos(folder / "photos", 40)
    assert main(["data", "scenes", "--images", "60", "--size", "48", "--out", str(folder / "voc")]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


@pytest.fixture
def stand_in(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `calls` of Slurm's commands, the last `script`, what sbatch `says` and what is in the `queue`."""
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "srun", "squeue", "scancel", "scontrol"):
        (tmp_path / "bin" / name).write_text(STAND_IN.format(folder=tmp_path), encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "queue").touch()
    (tmp_path / "says").write_text("Submitted batch job 7", encoding="utf-8")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return tmp_path


def test_every_gap_of_a_table_is_a_job_of_one_array(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--partition", "gpu", "--hours", "1.5", "--array", "2", "--workers", "3", "--device", "cuda"]
    line = ["submit", "rows.three", *SETTINGS, *asked, "--results", str(stand_in / "results"), "--seed", "4"]
    assert main(line) == 0
    assert (
        "jobs to submit: 3, at most 2 at once, each of 1.5 h, CPUs: 4, GPUs: 1, partition: gpu"
        in capsys.readouterr().out
    )
    script = (stand_in / "script").read_text(encoding="utf-8")
    for option in ("array=0-2%2", "time=90", "partition=gpu", "gpus-per-node=1", "cpus-per-task=4", "requeue"):
        assert f"#SBATCH --{option}\n" in script
    assert " --cpus-per-task=4 " in script
    jobs = json.loads((stand_in / "results" / "submitted" / "7.json").read_text(encoding="utf-8"))
    assert [*jobs] == ["7_0", "7_1", "7_2"]
    assert jobs["7_1"]["command"].startswith("--strategy simsiam --data photos ")
    assert jobs["7_1"]["command"].endswith("--seed 4")
    assert [job["runs"][0].partition("-")[0] for job in jobs.values()] == ["location", "simsiam", "random"]
    (stand_in / "queue").write_text("7_0 RUNNING\n7_1 PENDING\n", encoding="utf-8")
    assert main(line) == 0
    assert "jobs to submit: 1," in capsys.readouterr().out


def test_status_and_cancel_know_what_was_submitted(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = ["--results", str(stand_in / "results")]
    assert main(["submit", "--status", *results]) == 0
    assert "nothing was submitted" in capsys.readouterr().out
    assert main(["submit", "rows.three", *SETTINGS, *results]) == 0
    jobs = json.loads((stand_in / "results" / "submitted" / "7.json").read_text(encoding="utf-8"))
    done = stand_in / "results" / "runs" / jobs["7_2"]["runs"][0]
    done.mkdir(parents=True)
    (done / "scores.json").write_text("{}", encoding="utf-8")
    (stand_in / "queue").write_text("7_0 RUNNING\n9 PENDING\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["submit", "--status", *results]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["7_0", "running"], ["7_1", "ended"], ["7_2", "finished"]]
    assert lines[1].endswith("submitted/7_1_0_log.out")
    assert main(["submit", "--cancel", *results]) == 0
    assert (stand_in / "calls").read_text(encoding="utf-8").splitlines()[-1] == "scancel 7_0"
    assert main(["submit", "--cancel", "7_1", *results]) == 2
    assert "no job '7_1' waits or runs: choose from 7_0" in capsys.readouterr().err


def test_without_slurm_only_a_dry_run_does_something(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(place))
    line = ["submit", "--strategy", "location", *SETTINGS, "--slurm", "--results", "none"]
    assert main([*line, "--dry-run"]) == 0
    assert "harness run --strategy location --data photos " in capsys.readouterr().out
    assert main(line) == 2
    assert capsys.readouterr().err == "harness: no Slurm here: sbatch is not on the PATH\n"
    assert not (place / "none").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("rows.three --strategy location", "tables, or the options of one run, were expected, not both"),
        ("A3", "no table 'A3'"),
        ("", "--strategy is missing"),
        ("A1 --set epoch=3", "did you mean 'epochs'?"),
        ("A1 --hours 0", "--hours 0: must be at least"),
        ("A1 --array 0", "--array 0: must be at least 1"),
        ("A1 --gpus -1", "--gpus -1: must be at least 0"),
        ("A1 --workers -1", "--workers -1: must be at least 0"),
        ("A1 --partition none", "Slurm refused: invalid partition"),
    ],
)
def test_bad_words_are_refused(
    line: str, says: str, stand_in: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (stand_in / "bin" / "sbatch").write_text("#!/bin/sh\n[ $1 = --version ] || { echo invalid partition >&2; exit 1; }")
    assert main(["submit", *line.split(), "--results", str(stand_in / "results")]) == 2
    told, *choices = capsys.readouterr().err.splitlines()
    assert says in told
    assert all(choice.startswith("  ") for choice in choices)
    assert not [*stand_in.glob("results/submitted/*.json")]


KINDS = MachineOptions, ProcessOptions, WatchOptions, CheckOptions


def machine_groups(line: list[str]) -> tuple[MachineOptions, ProcessOptions, WatchOptions, CheckOptions]:
    """The four groups that a line of options holds."""
    parser = argparse.ArgumentParser()
    for add in (options.add_machine, options.add_processes, options.add_watching, options.add_checks):
        add(parser)
    args = parser.parse_args(line)
    return tuple(read_options(kind, args) for kind in KINDS)  # type: ignore[return-value]


def test_a_job_has_every_word_about_its_machine() -> None:
    line = "--workers 3 --device cpu --augment device --cache 2 --reduced --compile --fused --processes 2"
    watching = ["--tensorboard", "--observer", "file:x", "--allow-test-images", "--check-images"]
    groups = machine_groups([*line.split(), *watching])
    assert machine_groups(options.passed_on(*groups, Path("new"))[:-2]) == groups
    for group in groups:
        for field in fields(group):  # --gpus excludes --processes
            assert getattr(group, field.name) != field.default or field.name == "gpus", field.name
    assert options.passed_on(*machine_groups(["--no-fused", "--gpus", "4"]), ROOT / "results") == [
        "--no-fused", "--gpus", "4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        ("--processes 3 --device cpu", "CPUs: 6, GPUs: 0"),
        ("--processes 3", "CPUs: 6, GPUs: 3"),
        ("--gpus 4 --workers 7", "CPUs: 32, GPUs: 4"),
        ("--gpus 0", "CPUs: 2, GPUs: 0"),
    ],
)
def test_a_job_of_several_processes_asks_for_what_they_take(
    words: str, asks: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "rows.three", *SETTINGS, *words.split(), "--dry-run", "--results", "none"]) == 0
    assert f"each of 24 h, {asks}\n" in capsys.readouterr().out


def test_a_job_ends_as_its_command_does(place: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        Job(["--strategy", "locaton"])()
    assert stop.value.code == 2


@pytest.mark.parametrize(("state", "requeued"), [("RUNNING", True), ("COMPLETING", False)])
def test_a_stopped_job_is_requeued_only_if_slurm_lets_it_run(
    state: str, requeued: bool, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stand_in / "queue").write_text(f"8 RUNNING\n7_1 {state}\n", encoding="utf-8")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    requeue_preempted()
    calls = (stand_in / "calls").read_text(encoding="utf-8")
    assert ("scontrol requeue 7_1" in calls) is requeued


JOB = """
import signal, sys
from harness.verbs.submit import Job
job = Job(sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: None)  # as submitit does
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(job.checkpoint().function.options != job.options))
job()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR2, 0)])
def test_a_signal_to_all_processes_of_a_job_stops_it_with_a_checkpoint(
    number: int, code: int, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    (stand_in / "queue").write_text("7 RUNNING\n", encoding="utf-8")
    words = ["--strategy", "location", *SETTINGS, "--device", "cpu", "--results", str(stand_in / "results")]
    with subprocess.Popen([sys.executable, "-c", JOB, *words], start_new_session=True) as job:
        try:
            wait(trains(stand_in / "results"), "the run to train", 180)
            os.killpg(job.pid, number)
            assert job.wait(60) == code
        finally:
            with suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
    (checkpoint,) = stand_in.glob("results/runs/*/checkpoint.pth")
    assert torch.load(checkpoint, weights_only=True)["step"] > 0
    requeued = (stand_in / "calls").exists() and "scontrol requeue 7" in (stand_in / "calls").read_text("utf-8")
    assert requeued is (number == signal.SIGTERM), "SIGUSR2 is requeued by submitit"


@pytest.fixture(scope="module")
def slurm(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a Slurm of one node of two CPUs, whose jobs of the partition `urgent` preempt those of `main`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/usr/sbin", prepend=os.pathsep)
        if absent := [name for name in DAEMONS if shutil.which(name) is None]:
            pytest.skip(f"no {', '.join(absent)} here: apt-get install slurmctld slurmd slurm-client munge")
        if os.geteuid() != 0:
            pytest.skip("Slurm's daemons start jobs as their users, which takes root")
        folder = tmp_path_factory.mktemp("slurm")
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        configure(folder)
        daemons: list[subprocess.Popen[bytes]] = []
        try:
            daemons += map(start, lines(folder))
            wait(lambda: "idle" in told("sinfo", "--noheader", "--format=%t"), f"the node of {folder} to be idle", 60)
            yield folder
        finally:
            kill(folder)
            for daemon in daemons:
                daemon.wait()


def configure(folder: Path) -> None:
    """Write what the daemons read."""
    host = socket.gethostname().partition(".")[0]
    controller, node = free_ports()
    text = CONFIGURATION.format(host=host, controller=controller, node=node, folder=folder)
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)


def lines(folder: Path) -> list[list[str]]:
    """The daemons, none of them in the background."""
    names = {"socket": "socket", "key-file": "key", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}
    munge = [f"--{name}={folder}/munge.{ending}" for name, ending in names.items()]
    return [["munged", "--foreground", "--force", *munge], ["slurmctld", "-D", "-c"], ["slurmd", "-D"]]


def start(line: list[str]) -> subprocess.Popen[bytes]:
    """Start a daemon."""
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def free_ports() -> tuple[int, int]:
    """Two ports that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def kill(folder: Path) -> None:
    """Kill the daemons and whatever they started: all have the configuration in their environment."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"SLURM_CONF={folder}/".encode() in (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def told(*line: str) -> str:
    """What a command prints, whether or not it succeeds."""
    return subprocess.run(line, capture_output=True, text=True).stdout


def trains(results: Path) -> Callable[[], bool]:
    """Return a function that says whether a curve has grown since: then a signal leads to a checkpoint."""

    def size() -> int:
        return sum(file.stat().st_size for file in results.glob("runs/*/curve.jsonl"))

    before = size()
    return lambda: size() > before


def wait(happens: Callable[[], object], what: str, seconds: float) -> None:
    """Wait for something that has to happen."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def status(results: str) -> dict[str, str]:
    """Job → state."""
    return {line.split()[0]: line.split()[1] for line in submit.status(Path(results))}


@pytest.fixture(scope="module")
def array(slurm: Path) -> dict[str, str]:
    """The states of three rows of a table after they were submitted as one array and have left the queue."""
    assert main(["submit", "rows.three", *SETTINGS, "--device", "cpu", "--workers", "0", "--results", "whole"]) == 0
    states = status("whole")
    assert [*states] == ["1_0", "1_1", "1_2"]
    assert set(states.values()) <= {"pending", "running"}
    wait(lambda: not told("squeue", "--noheader"), "the array", 300)
    return status("whole")


def test_an_array_fills_the_gaps_of_a_table(array: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert array == dict.fromkeys(["1_0", "1_1", "1_2"], "finished")
    capsys.readouterr()
    assert main(["table", "rows.three", *SETTINGS, "--results", "whole", "--format", "json"]) == 0
    assert [row["n"] for row in json.loads(capsys.readouterr().out)] == [1, 1, 1]
    assert main(["submit", "rows.three", *SETTINGS, "--device", "cpu", "--results", "whole"]) == 0
    assert "jobs to submit: 0," in capsys.readouterr().out


STOPS = {  # the three ways in which Slurm takes its node back
    "requeued": ["scontrol", "requeue", "{job}"],
    "warned before its time is over": ["scancel", "--signal=USR2", "{job}"],
    "preempted, with time to stop": [
        "sbatch",
        "--partition=urgent",
        "--cpus-per-task=2",
        "--output=/dev/null",
        "--wrap=true",
    ],
}


def test_a_run_that_is_stopped_thrice_is_the_run_that_is_not(array: dict[str, str], place: Path) -> None:
    assert main(["submit", "--strategy", "location", *SETTINGS, "--device", "cpu", "--results", "stopped"]) == 0
    ((job, _),) = status("stopped").items()
    (name,) = [folder.name for folder in (place / "whole" / "runs").glob("location-*")]
    whole, stopped = place / "whole" / "runs" / name, place / "stopped" / "runs" / name
    steps = [0]
    for what, line in STOPS.items():
        wait(trains(stopped), f"the run to train before it is {what}", 180)
        subprocess.run([part.format(job=job) for part in line], check=True, stdout=subprocess.DEVNULL)
        wait(lambda: status("stopped")[job] == "pending", f"the job, {what}, to be requeued", 120)
        steps.append(torch.load(stopped / "checkpoint.pth", weights_only=True)["step"])
    assert steps == sorted(set(steps)), "each stop came while the run was training"
    wait(lambda: status("stopped")[job] == "finished", "the run to finish", 180)
    for file in ("backbone.pth", "heads.pth", "curve.jsonl", "scores.json"):
        assert (stopped / file).read_bytes() == (whole / file).read_bytes(), file


def test_a_cancelled_job_ends(array: dict[str, str], place: Path) -> None:
    assert (
        main(["submit", "--strategy", "location", *SETTINGS, "--device", "cpu", "--results", "cut", "--seed", "1"]) == 0
    )
    ((job, _),) = status("cut").items()
    wait(trains(place / "cut"), "the run to train", 180)
    assert main(["submit", "--cancel", "--results", "cut"]) == 0
    wait(lambda: status("cut") == {job: "ended"}, "the job to leave the queue", 120)
    assert not [*(place / "cut").glob("runs/*/scores.json")]
