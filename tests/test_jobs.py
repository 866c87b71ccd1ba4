"""Runs on several processes, hosts and slots, as a user starts them: one record, one line of error, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT
from harness.cli import main
from harness.engine import distributed, launch, machine
from harness.engine.jobs import by_backbone, slot
from harness.engine.known import Known
from harness.verbs.reproduce import plan
from tests.pictures import Objects, photos, voc_folder

LINEAR = '''
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from benchmarks import Benchmark

class Nothing(NamedTuple):
    fingerprint: str = "none"
    summary: str = "none"

@dataclass(frozen=True)
class Sum(Benchmark):
    """The first layer's sum."""
    name: ClassVar[str] = "mine.total"
    encoder: str = "resnet18"
    def prepare(self, data: Path | None, cache: Path) -> Any:
        return Nothing()
    def evaluate(self, backbone: Path, data: Any, folder: Path, seed: int, device: str = "cpu") -> dict[str, float]:
        import torch
        return {"AP": float(torch.load(backbone, weights_only=True)["conv1.weight"].double().abs().sum())}

BENCHMARK = Sum
'''
WORDS = [
    "--set", "size=32", "--set", "width=8",
    "--set", "heads.out=8", "--set", "heads.hidden=8", "--benchmark", "mine.total",
    "--data", "photos", "--workers", "1", "--device", "cpu", "--results", "results",
]  # fmt: skip
RUN = ["run", "--strategy", "location", *WORDS, "--set", "batch=4", "--set", "epochs=1"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a benchmark that takes no time, and images; no process of a test that fails is left in it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "total.py").write_text(LINEAR)
    photos(tmp_path / "photos", 8)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        monkeypatch.delitem(sys.modules, name)  # another test's folder
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield tmp_path
    for process in beside(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def start(*words: str, by: Sequence[str] = (sys.executable, "-m", "harness")) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as a shell does."""
    line = [*by, *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def until(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if true():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("it takes too long")


def beside(folder: Path, variable: str = "") -> Iterator[int]:
    """Processes that stand in the folder and have a variable, loaders of images included, save the tests'."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            mine = place.joinpath("cwd").resolve() == folder and place.name != str(os.getpid())
            if mine and f"\0{variable}" in place.joinpath("environ").read_text():
                yield int(place.name)
        except OSError:
            continue


def record(results: Path) -> dict[str, Any]:
    """What is compared of the one run in a folder."""
    (folder,) = results.glob("runs/*")
    lines = (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    parts = {
        name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("config", "provenance", "scores")
    }
    return {"id": folder.name, "curve": [json.loads(line) for line in lines], **parts}


# --- ranks that only wait, so that nothing but the launching takes time

WAITS = """
import os, sys, time
from pathlib import Path
from benchmarks.resuming import signals
from harness.engine import launch
launch.die_with_parent()
signals.requeue_on_signals()
said = Path("rank " + os.environ["RANK"])
try:
    with signals.stop_signals() as stopped:
        said.write_text("waits")
        while not stopped():
            time.sleep(0.01)
        time.sleep(0.5)  # a step, and a checkpoint: a second signal would cut it off
    said.write_text("stopped after its step")
except KeyboardInterrupt:
    said.write_text("stopped at once")
sys.exit(75 if stopped() is signals.Requeued else 130)
"""
FAILS = """
import os, signal, sys, time
from harness import cli
from harness.engine import distributed
from harness.verbs import run
def verb(given):
    if os.environ["RANK"] == "1":
        if given.strategy == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("an image is broken")
    if given.strategy == "lost":
        time.sleep(0.2)
        raise distributed.Lost("rank 1 is gone")
    if given.strategy == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
run.main = verb
sys.exit(cli.main(sys.argv[1:]))
"""
LAUNCH = """
import sys
from harness.engine import launch
launch.command = lambda words: [sys.executable, "-c", *words]
sys.exit(launch.launch(sys.argv[1:], 2))
"""


STOPS: dict[str, tuple[signal.Signals, int, Callable[[int], Iterable[int]]]] = {
    "Ctrl-C in a terminal": (signal.SIGINT, 130, lambda parent: [-parent]),
    "kill": (signal.SIGTERM, 75, lambda parent: [parent]),
    "scancel, to every process": (signal.SIGTERM, 75, lambda parent: [parent, *beside(Path.cwd(), "RANK=")]),
    "scontrol, to every process": (signal.SIGUSR1, 75, lambda parent: [*beside(Path.cwd(), "RANK="), parent]),
    "kill -9 of the one that started them": (signal.SIGKILL, -9, lambda parent: [parent]),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_signal_stops_all_ranks_once_whoever_gets_it(here: Path, name: str) -> None:
    number, code, whom = STOPS[name]
    process = start(WAITS, by=[sys.executable, "-c", LAUNCH])
    said = [here / f"rank {rank}" for rank in range(2)]
    until(lambda: all(file.exists() and file.read_text() == "waits" for file in said), process)
    for one in whom(process.pid):
        os.kill(one, number)
    process.communicate(timeout=30)
    assert process.returncode == code
    for _ in range(200):  # the ranks outlive a parent that is killed by their step
        if [*beside(here)]:
            time.sleep(0.05)
    assert [file.read_text() for file in said] == ["stopped after its step"] * 2


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("waits", "harness: an image is broken"),
        ("deaf", "harness: an image is broken"),
        ("lost", "harness: an image is broken"),
        ("killed", "rank 1 was ended by SIGKILL: the same command continues from here"),
    ],
)
def test_an_error_of_any_rank_ends_all_and_is_told_once(
    how: str, says: str, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "command", lambda words: [sys.executable, "-c", FAILS, *words])
    monkeypatch.setattr(launch, "GRACE", 0.5)
    try:
        assert launch.launch(["run", "--strategy", how], 2) == 2
        told = capfd.readouterr().err
    except distributed.RankError as error:
        told = f"{error}\n"
    assert told == f"{says}\n"
    assert not [*beside(here)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--set batch=3 --processes 2", "batch=3: cannot be divided among 2 processes"),
        ("--set batch=4 --processes 0", "--processes 0: at least 1 was expected"),
        ("--set batch=4 --gpus 2 --device cpu", "2 processes take a GPU each: there are 0 with --device cpu"),
        ("--set batch=4 --gpus 99", "99 processes take a GPU each: there are "),
    ],
)
def test_what_cannot_be_launched_is_refused_in_a_line(
    line: str, says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--strategy", "location", *WORDS[:-4], *line.split()]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert says in told


def test_torchrun_s_ranks_are_not_launched_again(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*RUN, "--processes", "4"]) == 2
    assert capsys.readouterr().err == "harness: 4 processes were asked for: there are 2 already\n"


# --- whole runs


def test_two_processes_make_the_run_of_one(here: Path) -> None:
    """Its first point: from then on float32's rounding grows with each step, and test_distributed.py uses float64."""
    process = start(*RUN, "--processes", "2")
    assert main([*RUN, "--results", "one"]) == 0
    out, told = process.communicate(timeout=200)
    assert (process.returncode, told) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["run", "whether", "AP", "record:"]  # once, by one rank
    same_run(record(here / "results"), record(here / "one"))


def same_run(ours: dict[str, Any], expected: dict[str, Any]) -> None:
    """A record of two processes and one of a single one."""
    assert (ours["id"], ours["config"]) == (expected["id"], expected["config"])
    assert [point["step"] for point in ours["curve"]] == [point["step"] for point in expected["curve"]] == [1, 2]
    assert ours["curve"][0] == pytest.approx(expected["curve"][0], rel=1e-4, abs=1e-4)
    assert ours["scores"].keys() == expected["scores"].keys()
    machine = [one["provenance"]["machine"] for one in (ours, expected)]
    assert [one["processes"] for one in machine] == [2, 1]
    assert machine[0]["backend"] == "gloo"
    assert ours["provenance"]["backbone"]["key"] == expected["provenance"]["backbone"]["key"]


TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
DETECTOR = [
    "--benchmark", "voc-folder", "--benchmark-data", "voc", "--set", "benchmark.iterations=2",
    "--set", "benchmark.batch=2", "--set", "benchmark.sizes=48",
]  # fmt: skip


def test_torchrun_makes_the_run_of_one_process(here: Path) -> None:
    squares: list[Objects] = [[("cat", x, 3, x + 15, 20)] for x in range(1, 5)]
    voc_folder(here / "voc", trainval={f"train {i}": one for i, one in enumerate(squares)}, test={"test": squares[0]})
    line = [*RUN, *DETECTOR]
    process = start(*line, by=[*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "harness"])
    assert main([*line, "--results", "one"]) == 0
    out, told = process.communicate(timeout=200)
    assert process.returncode == 0, told
    assert "harness" not in told
    assert out.count("record: results/runs/location-s0-") == 1
    same_run(record(here / "results"), record(here / "one"))


@pytest.fixture
def hosts() -> Iterator[list[list[str]]]:
    """Two network namespaces with a cable between them: what starts a command in each."""
    names = [f"harness-{os.getpid()}-{number}" for number in range(2)]
    setup = [
        *(f"ip netns add {name}" for name in names),
        f"ip link add eth9 netns {names[0]} type veth peer name eth9 netns {names[1]}",
        *(f"ip -n {name} addr add 10.213.0.{number}/24 dev eth9" for number, name in enumerate(names, start=1)),
        *(f"ip -n {name} link set {link} up" for name in names for link in ("lo", "eth9")),
    ]
    try:
        for line in setup:
            done = subprocess.run(line.split(), capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no second host: {line}: {done.stderr.strip()}")
        yield [["ip", "netns", "exec", name] for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.mark.skipif(shutil.which("ip") is None, reason="no second host: there is no `ip` (Debian's iproute2)")
def test_two_hosts_make_one_run(here: Path, hosts: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth9")
    meet = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "10.213.0.1:29411", "--rdzv-id", "test"]
    processes = [
        start(*RUN, by=[
            *host, *TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", *meet, "--local-addr", f"10.213.0.{number}",
            "--rdzv-conf", f"is_host={number == 1}", "-m", "harness",
        ])
        for number, host in enumerate(hosts, start=1)
    ]  # fmt: skip
    try:
        told = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], told
    assert sum("record: results/runs/location-s0-" in out for out, _ in told) == 1
    found = record(here / "results")
    assert [point["step"] for point in found["curve"]] == [1, 2]
    machine = found["provenance"]["machine"]
    assert (machine["processes"], machine["hosts"]) == (2, 2)


JOBS = """
import os, sys, time
from pathlib import Path
name = "bad" if "batch=16" in sys.argv else "good"
Path(name).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
end = time.monotonic() + 20
while not all(map(os.path.exists, ("good", "bad"))) or name == "good" and not os.path.exists("failed"):
    if time.monotonic() > end:
        sys.exit(f"{name} was left alone")
    time.sleep(0.01)
if name == "bad":
    Path("failed").touch()
    sys.exit("harness: it fails")
"""


def test_jobs_run_at_once_and_one_that_fails_stops_no_other(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = "from harness.tables import TABLES\nfrom dataclasses import replace\nTABLE = replace(TABLES['A1'], rows="
    rows = {"good": "--strategy location --set batch=4", "bad": "--strategy location --set batch=16"}
    (here / "mine" / "two.py").write_text(f"{table}{rows}, controls={{}})\n")
    monkeypatch.setattr(machine, "gpus", lambda device: ["0", "1"])
    monkeypatch.setattr(launch, "command", lambda words: [sys.executable, "-c", JOBS, *words])
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", "mine.two", *WORDS, "--jobs", "2"])
    out = capfd.readouterr().out
    assert stop.value.code == 1
    assert "1 done, 1 failed\n  harness run --strategy location --set batch=16" in out
    assert "        harness: it fails (" in out
    assert sorted((here / name).read_text() for name in rows) == ["0", "1"]


def test_lanes_share_gpus_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    given = [slot(number, 3, ["0", "1", "2", "3"], 2) for number in range(3)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in given] == ["0,1", "2,3", "0,1"]
    assert {one["OMP_NUM_THREADS"] for one in given} == {"2"}
    assert "CUDA_VISIBLE_DEVICES" not in slot(0, 2, [], 1) or "CUDA_VISIBLE_DEVICES" in os.environ


def test_runs_of_one_backbone_are_made_one_after_the_other() -> None:
    one = plan(["A1"], [], [0], 3)
    other = plan(["A1"], ["--set", "benchmark.iterations=7"], [0], 1)
    groups = by_backbone({line: [Known(trial, None) for trial in trials] for line, trials in {**one, **other}.items()})
    assert {len(group) for group in groups} == {2}
    assert len(groups) == len(one)
