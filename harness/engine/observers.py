"""A run under sacred's eyes: its own folder always, and whatever other observer of sacred's the user names."""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.resuming import files
from harness.plugins import unknown


def observe(
    folder: Path, settings: dict[str, Any], work: Callable[[], dict[str, float]], guests: Sequence[Guest] = ()
) -> dict[str, float]:
    """Run the work under sacred's eyes; its scores are written last, and with them it is finished.

    An unfinished try's files stay in place. Sacred itself is silent: an error of the work is told where it is caught.
    """
    experiment = sacred_experiment(folder)
    experiment.add_config(settings)
    experiment.observers.extend(guests)

    def main() -> dict[str, float]:
        return work()

    experiment.main(main)
    run = experiment.run(options={"--id": folder.name, "--capture": "no", "--loglevel": "CRITICAL"})
    scores: dict[str, float] = run.result
    files.write_json(folder / "scores.json", scores)
    return scores


def sacred_experiment(folder: Path) -> Any:
    """Sacred's experiment with one observer, the folder."""
    sacred = import_sacred()

    class Storage(sacred.observers.FileStorageObserver):  # type: ignore[misc,name-defined]
        """File storage that goes on in an unfinished run's folder, writes whole files and names no machine."""

        def _make_run_dir(self, _id: str) -> None:
            self.dir = str(folder)
            folder.mkdir(parents=True, exist_ok=True)

        def save_json(self, obj: Any, filename: str) -> None:
            content = sacred.serializer.flatten(obj)
            if filename == "run.json":
                content["experiment"].pop("base_dir", None)
                content["host"].pop("hostname", None)
                content["experiment"].pop("sources", None)
            files.write_json(folder / filename, content)

        def save_cout(self) -> None:
            """Nothing: the run's output is its bar, and detectron2's log has a file of its own."""

    sacred.SETTINGS.DISCOVER_SOURCES = "none"
    sacred.SETTINGS.DISCOVER_DEPENDENCIES = "pkg"  # else torch is missing from the record
    experiment = sacred.Experiment("harness", interactive=True, save_git_info=False)
    experiment.sources.clear()  # sacred names this file, which no observer needs to keep
    experiment.observers.append(Storage(folder.parent, copy_sources=False))
    return experiment


def import_sacred() -> Any:
    """Sacred with its observers, silent about the deprecated pkg_resources that it imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sacred.observers
    return sacred


# --- the user's own observers, beside the folder


class Guest:
    """One of sacred's observers that the user named: whatever fails in it is told in one line and stops no run.

    It numbers its runs itself, so that a try that goes on, which keeps its folder here, is a new run there; the run's
    name is in the options that sacred writes.
    """

    priority = 0  # sacred calls the folder's observer before it

    def __init__(self, name: str, observer: Any) -> None:
        self.name, self.observer, self.lost = name, observer, False

    def started_event(self, **facts: Any) -> None:
        """A new run, which the observer sees even if it has lost the last one."""
        self.lost = False
        self.tell("started_event", **{**facts, "_id": None})

    def __getattr__(self, event: str) -> Callable[..., None]:
        """Every other event of sacred's."""
        return partial(self.tell, event)

    def tell(self, event: str, **facts: Any) -> None:
        """Hand an event on, unless an earlier one of the run failed."""
        if self.lost:
            return
        try:
            getattr(self.observer, event)(**facts)
        except Exception as error:  # whatever a foreign store may raise
            self.lost = True
            said = " ".join(str(error).split())
            print(f"harness: {self.name} has lost this run ({type(error).__name__}: {said})", file=sys.stderr)


def guest(text: str) -> Guest:
    """The observer of KIND:WHERE, ready to write; ValueError or OSError says in one line what is in the way."""
    kind, _, where = text.partition(":")
    if kind not in OBSERVERS:
        raise unknown("observer", kind, OBSERVERS)
    if not where:
        raise ValueError(f"--observer {text}: {kind}:WHERE was expected, for instance {OBSERVERS[kind].example}")
    try:
        return Guest(without_password(text), OBSERVERS[kind].connect(where))
    except ModuleNotFoundError as error:
        packages = OBSERVERS[kind].packages
        raise ValueError(f"--observer {kind}: pip install {packages} ({error})") from error


def without_password(text: str) -> str:
    """A word of the command line that may be shown and recorded."""
    return re.sub(r"://\S*@", "://***@", text)


def file_storage(where: str) -> Any:
    """Sacred's folder of numbered runs."""
    return import_sacred().observers.FileStorageObserver(writable(where))


def tiny_db(where: str) -> Any:
    """Sacred's TinyDB: a folder with metadata.json."""
    made = import_sacred().observers.TinyDbObserver(str(writable(where)))
    try:
        len(made.runs)
    except ValueError as error:
        made.db.close()
        raise ValueError(f"{Path(where, 'metadata.json')}: not a readable TinyDB ({error})") from error
    return made


def mongo_db(where: str) -> Any:
    """Sacred's MongoDB, by the rest of a mongodb: URI; its database is sacred's own where none is named."""
    import pymongo.errors
    import pymongo.uri_parser

    uri = f"mongodb:{where}"
    try:
        name = pymongo.uri_parser.parse_uri(uri)["database"] or "sacred"
        with pymongo.MongoClient(uri, **PATIENCE) as client:
            client[name]["runs"].find_one()
    except (pymongo.errors.PyMongoError, ValueError) as error:
        said = str(error).split(" (configured")[0].split(", full error")[0]
        raise ValueError(f"--observer {without_password(uri)}: {said}") from error
    return import_sacred().observers.MongoObserver(uri, name, failure_dir=tempfile.gettempdir(), **PATIENCE)


def writable(folder: str) -> Path:
    """A folder, made if need be; OSError where nothing can be written into it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return Path(folder)


class Kind(NamedTuple):
    """Observers that sacred has."""

    connect: Callable[[str], Any]
    example: str
    packages: str  # what to install for it


PATIENCE: dict[str, Any] = {"serverSelectionTimeoutMS": 3000}  # of a MongoDB that does not answer
OBSERVERS = {
    "file": Kind(file_storage, "file:sacred", "sacred"),
    "mongodb": Kind(mongo_db, "mongodb://localhost:27017/sacred", "pymongo"),
    "tinydb": Kind(tiny_db, "tinydb:runs_db", "tinydb tinydb-serialization hashfs"),
}
