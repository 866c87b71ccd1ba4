"""Sacred as an observer of a run: it writes the run's status and informs every extra observer that the user names."""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from harness import records
from harness.plugins import unknown


class Watch(NamedTuple):
    """Who watches a run beside its record."""

    observers: tuple[ExtraObserver, ...] = ()
    tensorboard: bool = False  # whether curves and scores are written for TensorBoard too


def observe(
    folder: Path, settings: dict[str, Any], work: Callable[[], dict[str, float]], extra: Sequence[ExtraObserver] = ()
) -> dict[str, float]:
    """Return the work's scores; sacred observes it and tells the run's record and the extra observers of its status.

    Sacred itself prints nothing: an error of the work is printed where it is caught.
    """
    experiment = sacred_experiment(folder)
    experiment.add_config(settings)
    experiment.observers.extend(extra)

    def main() -> dict[str, float]:
        return work()

    experiment.main(main)
    run = experiment.run(options={"--id": folder.name, "--capture": "no", "--loglevel": "CRITICAL"})
    scores: dict[str, float] = run.result
    return scores


def sacred_experiment(folder: Path) -> Any:
    """Return sacred's experiment, whose only observer writes the status of the run in a folder."""
    sacred = import_sacred()

    class Status(sacred.observers.FileStorageObserver):  # type: ignore[misc,name-defined]
        """File storage that keeps status, times and host alone, names no machine, and goes on in a run's folder."""

        def _make_run_dir(self, _id: str) -> None:
            self.dir = str(folder)

        def save_json(self, obj: Any, filename: str) -> None:
            """Write the run's entry; its settings are in the record already."""
            if obj is self.run_entry:
                content = sacred.serializer.flatten(obj)
                content["experiment"].pop("base_dir", None)
                content["host"].pop("hostname", None)
                content["experiment"].pop("sources", None)
                records.write_status(folder, content)

        def save_cout(self) -> None:
            """Do nothing: the run's output is its progress bar, and detectron2's log has a file of its own."""

    sacred.SETTINGS.DISCOVER_SOURCES = "none"
    sacred.SETTINGS.DISCOVER_DEPENDENCIES = "pkg"  # else torch is missing from the record
    experiment = sacred.Experiment("harness", interactive=True, save_git_info=False)
    experiment.sources.clear()  # sacred names this file, which no observer needs to keep
    experiment.observers.append(Status(folder.parent, copy_sources=False))
    return experiment


def import_sacred() -> Any:
    """Return sacred with its observers, without the warning about pkg_resources, which it imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sacred.observers
    return sacred


# --- the user's own observers, beside the folder


class ExtraObserver:
    """One of sacred's observers that the user named: an error in it is printed on one line and stops no run.

    It numbers its runs itself, so that a run that is resumed, which keeps its folder here, is a new run there; the
    run's name is in the options that sacred writes.
    """

    priority = 0  # sacred calls the folder's observer before it

    def __init__(self, name: str, observer: Any) -> None:
        self.name, self.observer, self.lost = name, observer, False

    def started_event(self, **facts: Any) -> None:
        """Begin a new run, which the observer sees even if it has lost the last one."""
        self.lost = False
        self.send("started_event", **{**facts, "_id": None})

    def __getattr__(self, event: str) -> Callable[..., None]:
        """Return what sends another of sacred's events on."""
        return partial(self.send, event)

    def send(self, event: str, **facts: Any) -> None:
        """Send an event on, unless an earlier one of the run failed."""
        if self.lost:
            return
        try:
            getattr(self.observer, event)(**facts)
        except Exception as error:  # whatever a foreign store may raise
            self.lost = True
            cause = " ".join(str(error).split())
            print(f"harness: {self.name} has lost this run ({type(error).__name__}: {cause})", file=sys.stderr)


def extra_observer(text: str) -> ExtraObserver:
    """Return the observer of KIND:WHERE, ready to write; ValueError or OSError says in one line why it is not."""
    kind, _, where = text.partition(":")
    if kind not in OBSERVERS:
        raise unknown("observer", kind, OBSERVERS)
    if not where:
        raise ValueError(f"--observer {text}: {kind}:WHERE was expected, for instance {OBSERVERS[kind].example}")
    try:
        return ExtraObserver(without_password(text), OBSERVERS[kind].connect(where))
    except ModuleNotFoundError as error:
        packages = OBSERVERS[kind].packages
        raise ValueError(f"--observer {kind}: pip install {packages} ({error})") from error


def without_password(text: str) -> str:
    """Return an argument of the command line without the password in its URI, to be printed and recorded."""
    return re.sub(r"://\S*@", "://***@", text)


def file_storage(where: str) -> Any:
    """Return sacred's observer that writes a folder of numbered runs."""
    return import_sacred().observers.FileStorageObserver(writable(where))


def tiny_db(where: str) -> Any:
    """Return sacred's observer that writes a TinyDB: a folder with metadata.json."""
    observer = import_sacred().observers.TinyDbObserver(str(writable(where)))
    try:
        len(observer.runs)
    except ValueError as error:
        observer.db.close()
        raise ValueError(f"{Path(where, 'metadata.json')}: not a readable TinyDB ({error})") from error
    return observer


def mongo_db(where: str) -> Any:
    """Return sacred's observer that writes a MongoDB, from its URI behind `mongodb:`; database `sacred` by default."""
    import pymongo.errors
    import pymongo.uri_parser

    uri = f"mongodb:{where}"
    try:
        name = pymongo.uri_parser.parse_uri(uri)["database"] or "sacred"
        with pymongo.MongoClient(uri, **PATIENCE) as client:
            client[name]["runs"].find_one()
    except (pymongo.errors.PyMongoError, ValueError) as error:
        cause = str(error).split(" (configured")[0].split(", full error")[0]
        raise ValueError(f"--observer {without_password(uri)}: {cause}") from error
    return import_sacred().observers.MongoObserver(uri, name, failure_dir=tempfile.gettempdir(), **PATIENCE)


def writable(folder: str) -> Path:
    """Return a folder, made if need be; OSError where no file can be written into it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return Path(folder)


class Kind(NamedTuple):
    """A kind of observer that sacred has."""

    connect: Callable[[str], Any]
    example: str
    packages: str  # that it needs, as pip installs them


PATIENCE: dict[str, Any] = {"serverSelectionTimeoutMS": 3000}  # with a MongoDB that does not answer
OBSERVERS = {
    "file": Kind(file_storage, "file:sacred", "sacred"),
    "mongodb": Kind(mongo_db, "mongodb://localhost:27017/sacred", "pymongo"),
    "tinydb": Kind(tiny_db, "tinydb:runs_db", "tinydb tinydb-serialization hashfs"),
}
