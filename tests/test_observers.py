"""Sacred's other observers see a run beside its folder, are checked before it, and cost it nothing when they fail."""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import mongomock
import mongomock.store
import pymongo
import pymongo.errors
import pytest
from mongomock.gridfs import enable_gridfs_integration
from sacred.observers import TinyDbReader

from harness import ROOT, records
from harness.cli import main
from harness.engine import observers
from harness.engine.observers import Watch
from harness.verbs.options import WatchOptions
from tests.runs import observed
from tests.test_cli import SMALL, refused

SETTINGS = {"strategy": "location", "seed": 0, "recipe": {"lr": 0.1, "sizes": [1, 2]}}


@pytest.fixture
def mongo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A MongoDB in memory, whatever the host: its client."""
    client = partial(mongomock.MongoClient, _store=mongomock.store.ServerStore())
    monkeypatch.setattr(pymongo, "MongoClient", client)
    enable_gridfs_integration()
    return client()


def seen_by_file(folder: Path) -> list[dict[str, Any]]:
    """The runs of a file observer, each with its settings."""
    runs = sorted((one for one in folder.iterdir() if one.name.isdigit()), key=lambda one: int(one.name))
    return [
        {**json.loads((run / "run.json").read_text()), "config": json.loads((run / "config.json").read_text())}
        for run in runs
    ]


def run_twice(tmp_path: Path, word: str) -> observers.ExtraObserver:
    """The observer of a try that is stopped, and of the one that goes on to its end in the same folder."""
    extra, folder = observers.extra_observer(word), tmp_path / "runs" / "location-s0-aa"

    def stop() -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        observed(folder, SETTINGS, stop, [extra])
    observed(folder, SETTINGS, lambda: {"AP": 1.5}, [extra])
    assert records.read(folder).scores == {"AP": 1.5}
    return extra


def check(seen: list[dict[str, Any]]) -> None:
    """Two runs with settings, statuses, scores and our name for them."""
    assert [run["status"] for run in seen] == ["INTERRUPTED", "COMPLETED"]
    assert [run["config"] for run in seen] == [SETTINGS, SETTINGS]
    assert [run["meta"]["options"]["--id"] for run in seen] == ["location-s0-aa"] * 2
    assert seen[1]["result"] == {"AP": 1.5}
    assert seen[1]["heartbeat"]
    assert seen[1]["experiment"]["sources"] == []


def test_a_folder_of_sacred_s_own(tmp_path: Path) -> None:
    run_twice(tmp_path, f"file:{tmp_path / 'seen'}")
    check(seen_by_file(tmp_path / "seen"))


def test_tinydb(tmp_path: Path) -> None:
    run_twice(tmp_path, f"tinydb:{tmp_path / 'seen'}").observer.db.close()
    reader = TinyDbReader(str(tmp_path / "seen"))
    check(reader.runs.all())
    reader.db.close()


def test_mongodb(tmp_path: Path, mongo: Any) -> None:
    run_twice(tmp_path, "mongodb://somewhere:1/mine")
    check(list(mongo["mine"].runs.find()))
    observed(tmp_path / "x", SETTINGS, lambda: {"AP": 1.0}, [observers.extra_observer("mongodb://somewhere:1")])
    assert mongo["sacred"].runs.count_documents({}) == 1


def test_a_run_is_watched_from_the_command_line(
    tmp_path: Path, mongo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--observer", f"file:{tmp_path / 'f'}", "--observer", "mongodb://me:secret@somewhere/mine"]
    line = ["run", "--strategy", "random", *SMALL, *words, "--results", str(tmp_path / "results")]
    monkeypatch.setattr(sys, "argv", ["harness", *line])
    assert main(line) == 0
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    record = records.read(folder)
    (filed,), (stored,) = seen_by_file(tmp_path / "f"), mongo["mine"].runs.find()
    assert filed["config"] == stored["config"] == json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert filed["result"] == stored["result"] == record.scores
    assert not [file for file in folder.iterdir() if file.suffix != ".pth" and "secret" in file.read_text()]
    assert "mongodb://***@somewhere/mine" in (folder / "provenance.json").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["run", "--strategy", "random", *SMALL, "--results", str(tmp_path / "results")]) == 0
    assert f"this has been run: {folder.name}" in capsys.readouterr().out


def test_reproduce_shows_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(experiment: Any, machine: Any, watch: Watch, results: Path, cache: Path, *_: bool) -> records.Record:
        folder = results / "runs" / experiment.run_id
        return observed(folder, experiment.settings, lambda: {"AP": 1.0}, watch.observers)

    monkeypatch.setattr("harness.verbs.reproduce.run", pretend)
    words = ["--observer", f"file:{tmp_path / 'f'}", "--device", "cpu", "--results", str(tmp_path)]
    assert main(["reproduce", "A2", *words]) == 0
    assert len(seen_by_file(tmp_path / "f")) == len(list((tmp_path / "runs").iterdir())) > 1


@pytest.mark.parametrize("event", ["started_event", "heartbeat_event", "completed_event"])
def test_an_observer_that_fails_is_told_of_once_and_loses_nothing(
    event: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = observers.extra_observer(f"file:{tmp_path / 'seen'}")
    sound = getattr(extra.observer, event)

    def fail(**facts: Any) -> None:
        raise ConnectionError("the line\nis down")

    setattr(extra.observer, event, fail)
    observed(tmp_path / "runs" / "one", SETTINGS, lambda: {"AP": 1.5}, [extra])
    told = capsys.readouterr().err.splitlines()
    assert told == [f"harness: file:{tmp_path / 'seen'} has lost this run (ConnectionError: the line is down)"]
    record = records.read(tmp_path / "runs" / "one")
    assert (record.scores, record.status) == ({"AP": 1.5}, "COMPLETED")
    assert json.loads((record.folder / "run.json").read_text(encoding="utf-8"))["status"] == "COMPLETED"
    setattr(extra.observer, event, sound)
    observed(tmp_path / "runs" / "two", SETTINGS, lambda: {"AP": 2.5}, [extra])
    assert seen_by_file(tmp_path / "seen")[-1]["result"] == {"AP": 2.5}


def test_a_mongodb_that_is_gone_at_the_end_leaves_what_it_missed(
    tmp_path: Path, mongo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise pymongo.errors.AutoReconnect("gone")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("sacred.observers.mongo.time.sleep", lambda seconds: None)
    extra = observers.extra_observer("mongodb://somewhere/mine")
    monkeypatch.setattr(extra.observer.runs, "update_one", gone)
    observed(tmp_path / "runs" / "one", SETTINGS, lambda: {"AP": 1.5}, [extra])
    (missed,) = tmp_path.glob("sacred_mongo_fail_*")
    assert f"Stored experiment entry in '{missed}'" in capsys.readouterr().err
    assert records.read(tmp_path / "runs" / "one").scores == {"AP": 1.5}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("files:x", "no observer 'files': did you mean 'file'? choose from file, mongodb, tinydb"),
        ("file", "--observer file: file:WHERE was expected, for instance file:sacred"),
        ("mongodb:", "for instance mongodb://localhost:27017/sacred"),
        ("mongodb://", "--observer mongodb://: Must provide at least one hostname or IP"),
        ("mongodb:db", "--observer mongodb:db: Invalid URI scheme"),
        ("mongodb://h:port/db", "--observer mongodb://h:port/db: Port contains non-digit characters"),
        ("mongodb://me:secret@localhost:1/db", "--observer mongodb://***@localhost:1/db: localhost:1: "),
        ("file:taken/x", "taken/x: Not a directory"),
        ("tinydb:taken", "taken: File exists"),
        ("file:/proc", "harness: /proc"),  # where not even root can write
        ("tinydb:broken", "broken/metadata.json: not a readable TinyDB (Expecting"),
    ],
)
def test_bad_observers_are_refused_before_anything_is_trained(
    word: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(observers.PATIENCE, "serverSelectionTimeoutMS", 300)
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metadata.json").write_text('{"runs": ')
    for verb in (["run", "--strategy", "location"], ["reproduce", "A1"]):
        told = refused(capsys, *verb, *(SMALL if verb[0] == "run" else SMALL[-2:]), "--observer", word,
                       "--results", "results")  # fmt: skip
        assert says in told
        assert "secret" not in told
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("word", "module"), [("mongodb://h/d", "pymongo.errors"), ("tinydb:seen", "hashfs")])
def test_a_package_that_is_missing_is_named(
    word: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "sacred.observers.tinydb_hashfs.bases", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    told = refused(capsys, "run", "--strategy", "location", *SMALL, "--observer", word, "--results", "results")
    kind = word.split(":")[0]
    assert f"--observer {kind}: pip install {observers.OBSERVERS[kind].packages}" in told


def test_no_observer_needs_its_package() -> None:
    code = "import sys\nfrom harness import cli\nfrom harness.engine import observers\nobservers.import_sacred()\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print({{'pymongo', 'tinydb', 'hashfs', 'tensorboard'}} & set(sys.modules))"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.strip() == "set()"


def test_dry_runs_connect_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WatchOptions, "watch", None)
    for line in (["run", "--strategy", "random", *SMALL], ["reproduce", "A2"]):
        assert main([*line, "--dry-run", "--observer", "mongodb://h/d", "--results", str(tmp_path)]) == 0
