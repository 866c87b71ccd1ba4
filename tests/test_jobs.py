"""Runs on several processes, hosts and lanes, as a user starts them: one record, one line of error, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from harness import ROOT
from harness.cli import main
from harness.jobs import chains, lane
from harness.reproduce import plan
from tests.pictures import photos

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
    depth: int = 18
    def prepare(self, data: Path | None, cache: Path) -> Any:
        return Nothing()
    def evaluate(self, backbone: Path, data: Any, folder: Path, seed: int, device: str = "cpu") -> dict[str, float]:
        import torch
        return {"AP": float(torch.load(backbone, weights_only=True)["conv1.weight"].double().abs().sum())}

BENCHMARK = Sum
'''
WORDS = [
    "--set", "size=64", "--set", "heads.out=8", "--set", "heads.hidden=8", "--benchmark", "mine.total",
    "--data", "photos", "--workers", "1", "--device", "cpu", "--results", "results",
]  # fmt: skip
RUN = ["run", "--strategy", "location", *WORDS, "--set", "batch=4"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a benchmark that takes no time, and images."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "total.py").write_text(LINEAR)
    photos(tmp_path / "photos", 8)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def start(*words: str, by: Sequence[str] = (sys.executable, "-m", "harness")) -> subprocess.Popen[str]:
    return subprocess.Popen([*by, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if true():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("it takes too long")


def points(results: Path) -> list[dict[str, float]]:
    found = [file.read_text(encoding="utf-8") for file in results.glob("runs/*/curve.jsonl")]
    return [json.loads(line) for text in found for line in text.splitlines() if line.endswith("}")]


def beside(folder: Path, variable: str = "") -> Iterator[int]:
    """Processes that stand in the folder and have a variable, loaders of images included, save the tests'."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            mine = place.joinpath("cwd").resolve() == folder and place.name != str(os.getpid())
            if mine and f"\0{variable}" in place.joinpath("environ").read_text():
                yield int(place.name)
        except OSError:
            continue


def rank(number: int, folder: Path) -> Iterator[int]:
    """Processes of that rank."""
    return beside(folder, f"RANK={number}\0")


def test_two_processes_make_the_run_of_one(here: Path) -> None:
    assert main([*RUN, "--set", "epochs=3", "--results", "one"]) == 0
    process = start(*RUN, "--set", "epochs=3", "--processes", "2")
    out, told = process.communicate(timeout=200)
    assert (process.returncode, told) == (0, "")
    (folder,) = here.glob("results/runs/*")
    machine = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["machine"]
    assert (machine["processes"], machine["backend"]) == (2, "gloo")
    assert len(out.splitlines()) == 3
    one, two = points(here / "one"), points(here / "results")
    assert [point["step"] for point in one] == [point["step"] for point in two]
    for expected, ours in zip(one[:3], two[:3], strict=True):  # rounding grows with every step
        assert ours == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_a_lost_rank_ends_all_and_another_number_goes_on(here: Path) -> None:
    line = [*RUN, "--set", "epochs=4000"]
    process = start(*line, "--processes", "2")
    until(lambda: [*here.glob("results/runs/*/curve.jsonl")] and [*rank(1, here)], process)
    began = time.monotonic()
    os.kill(min(rank(1, here)), signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 2
    assert told.splitlines()[-1] == "harness: rank 1 was ended by SIGKILL: the same command goes on"
    assert not [*rank(0, here)]
    process = start(*line, "--processes", "2")
    until(lambda: len([*rank(1, here)]) > 1, process)  # it has a loader: it trains
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told.split("\n")[-2]) == (75, "harness: stopped; the same command goes on from here")
    (checkpoint,) = here.glob("results/runs/*/checkpoint.pth")
    step = torch.load(checkpoint, weights_only=True)["step"]
    process = start(*line)
    until(lambda: len([*beside(here)]) > 1, process)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert torch.load(checkpoint, weights_only=True)["step"] > step > 0


def test_an_error_of_any_rank_is_told_once(here: Path) -> None:
    (here / "photos" / "3.jpg").write_bytes(b"no image")
    for batch, says in (("4", "3.jpg: cannot be decoded"), ("3", "batch=3: cannot be divided among 2 processes")):
        process = start(*RUN, "--set", f"batch={batch}", "--processes", "2")
        _, told = process.communicate(timeout=100)
        assert process.returncode == 2
        assert says in told
        assert len(told.splitlines()) == 1


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
    base = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    where = ["--rdzv-backend", "static", "--master-addr", "10.213.0.1", "--master-port", "29411"]
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth9")
    processes = [
        start(*RUN, "--set", "epochs=2", by=[*host, *base, *where, "--node-rank", str(number), "-m", "harness"])
        for number, host in enumerate(hosts)
    ]
    try:
        told = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], told
    assert "record: results/runs/location-s0-" in told[0][0]
    assert "record" not in told[1][0]
    assert [point["step"] for point in points(here / "results")] == [1, 2, 3, 4]


def test_jobs_run_at_once_and_one_that_fails_stops_no_other(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = "from harness.tables import TABLES\nfrom dataclasses import replace\nTABLE = replace(TABLES['A1'], rows="
    rows = {"good": "--strategy location --set batch=4", "bad": "--strategy location --set batch=16"}
    (here / "mine" / "two.py").write_text(f"{table}{rows}, controls={{}})\n")
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", "mine.two", *WORDS, "--set", "epochs=1", "--jobs", "2"])
    out = capfd.readouterr().out
    assert stop.value.code == 1
    assert "1 done, 1 failed" in out
    assert "batch=16: there are only 8 images to pre-train on" in out
    assert len([*here.glob("results/runs/*/scores.json")]) == 1


def test_lanes_share_gpus_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    given = [lane(number, 3, ["0", "1", "2", "3"], 2) for number in range(3)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in given] == ["0,1", "2,3", "0,1"]
    assert {one["OMP_NUM_THREADS"] for one in given} == {"2"}
    assert "CUDA_VISIBLE_DEVICES" not in lane(0, 2, [], 1) or "CUDA_VISIBLE_DEVICES" in os.environ


def test_runs_of_one_backbone_are_made_one_after_the_other() -> None:
    one = plan(["A1"], [], 0, 3)
    other = plan(["A1"], ["--set", "benchmark.iterations=7"], 0, 1)
    groups = chains({**one, **other})
    assert {len(group) for group in groups} == {2}
    assert len(groups) == len(one)
