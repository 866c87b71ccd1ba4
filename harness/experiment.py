"""One experiment: strategy, recipe and benchmark, from the words of a command line to scores."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.scenes import Scenes
from harness import files, plugins, provenance, records
from harness.presets import PRESETS, Preset
from harness.settings import assign, describe, restore
from methods.recipe import Recipe

if TYPE_CHECKING:
    from harness.pretrain import Machine

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a run's scores, save the machine."""

    strategy_name: str
    strategy: Any
    recipe: Recipe
    benchmark: Any
    scenes: Scenes | None  # to pre-train on; None: the folder
    data: str | None  # folder to pre-train on, as the user wrote it
    benchmark_data: str | None
    seed: int

    @property
    def settings(self) -> dict[str, Any]:
        """What is recorded, and compared when a table looks for its runs."""
        return {
            "strategy": self.strategy_name,
            "match": describe(self.strategy),
            "recipe": describe(self.recipe),
            "data": self.data if self.scenes is None else f"scenes-{self.scenes.fingerprint}",
            "benchmark": {"name": self.benchmark.name, **describe(self.benchmark)},
            "benchmark_data": self.benchmark_data,
            "seed": self.seed,
        }

    @property
    def run_id(self) -> str:
        """The name of its run: strategy, seed and a hash of all settings."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()
        return f"{self.strategy_name}-s{self.seed}-{digest[:8]}"


def base_words() -> argparse.ArgumentParser:
    """The words that a whole table may share."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument_group("the settings").add_argument
    add("--preset", metavar="NAME", default="demo", help="base of settings: demo, study or paper (demo)")
    add(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="change a field of the recipe, of the strategy (match.FIELD) or of the benchmark (benchmark.FIELD)",
    )
    add("--data", metavar="DIR", help="images to pre-train on: any folder; of a VOC folder its train split")
    add("--benchmark", metavar="NAME", help="how the backbone is judged (the preset's)")
    add("--benchmark-data", metavar="DIR", help="the benchmark's data")
    return parser


def seed_words() -> argparse.ArgumentParser:
    """The one word that makes runs of equal settings differ."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of all that is random (0)")
    return parser


def words() -> argparse.ArgumentParser:
    """The words that define an experiment: those of `harness run` and of a table's rows alike."""
    parser = argparse.ArgumentParser(add_help=False, parents=[base_words(), seed_words()])
    parser.add_argument("--strategy", metavar="NAME", help="which sites agree: see `harness list`, or a dotted path")
    return parser


def extra_words(given: argparse.Namespace) -> list[str]:
    """The words that the user gave for all rows of a table, of those in base_words."""
    singles = {"--preset": given.preset if given.preset != "demo" else None, "--data": given.data,
               "--benchmark": given.benchmark, "--benchmark-data": given.benchmark_data}  # fmt: skip
    pairs = [[name, value] for name, value in singles.items() if value is not None]
    return [word for pair in [*pairs, *(["--set", change] for change in given.set)] for word in pair]


def build(given: argparse.Namespace) -> Experiment:
    """The experiment of parsed words; a ValueError says which word stands for nothing and what there is."""
    if given.strategy is None:
        raise ValueError(f"--strategy is missing: choose from {', '.join(plugins.strategy_files())}")
    if given.seed < 0:
        raise ValueError(f"--seed {given.seed}: must be at least 0")
    if given.preset not in PRESETS:
        raise plugins.unknown("preset", given.preset, PRESETS)
    preset = PRESETS[given.preset]
    changes = [split_change(change) for change in given.set]
    recipe = change(preset.recipe, "recipe", changes)
    benchmark = change(base_benchmark(preset, given.benchmark, recipe.depth), "benchmark", changes)
    if benchmark.depth != recipe.depth:
        raise ValueError(f"benchmark.depth={benchmark.depth}: the backbone has depth {recipe.depth}")
    return Experiment(
        strategy_name=given.strategy,
        strategy=change(plugins.strategy(given.strategy)(), "match", changes),
        recipe=recipe,
        benchmark=benchmark,
        scenes=embedded(preset, benchmark) if given.data is None else None,
        data=given.data,
        benchmark_data=given.benchmark_data,
        seed=given.seed,
    )


def rebuild(settings: dict[str, Any]) -> Experiment:
    """The experiment that a record's settings describe; ValueError where this version knows none such."""
    try:
        judged = dict(settings["benchmark"])
        benchmark = restore(plugins.benchmark(judged.pop("name"))(), judged)
        scenes = embedded_as(settings["data"], benchmark)
        return Experiment(
            strategy_name=settings["strategy"],
            strategy=restore(plugins.strategy(settings["strategy"])(), settings["match"]),
            recipe=restore(Recipe(), settings["recipe"]),
            benchmark=benchmark,
            scenes=scenes,
            data=None if scenes else settings["data"],
            benchmark_data=settings["benchmark_data"],
            seed=settings["seed"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the record's settings are not a run's ({type(error).__name__}: {error})") from error


def embedded_as(data: str, benchmark: Any) -> Scenes | None:
    """The scenes that a record's data names: the benchmark's own or a preset's; None for a folder."""
    known = [benchmark, *(preset.scenes for preset in PRESETS.values())]
    return next((one for one in known if isinstance(one, Scenes) and data == f"scenes-{one.fingerprint}"), None)


def split_change(text: str) -> tuple[str, str, str]:
    """The part (recipe, match or benchmark), field and value of one --set."""
    field, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text}: FIELD=VALUE was expected")
    part, dot, rest = field.partition(".")
    return (part, rest, value) if dot and part in ("match", "benchmark") else ("recipe", field, value)


def change(settings: Any, part: str, changes: Sequence[tuple[str, str, str]]) -> Any:
    """The settings with all changes of their part made, in order."""
    for its, field, value in changes:
        if its == part:
            settings = assign(settings, field, value)
    return settings


def base_benchmark(preset: Preset, name: str | None, depth: int) -> Any:
    """The named benchmark, or the preset's, for a backbone of that depth."""
    if name is None or name == preset.benchmark.name:
        return replace(preset.benchmark, depth=depth)
    return replace(plugins.benchmark(name)(), depth=depth)


def embedded(preset: Preset, benchmark: Any) -> Scenes | None:
    """The scenes to pre-train on where no folder is given: the benchmark's own, else the preset's."""
    return benchmark if isinstance(benchmark, Scenes) else preset.scenes


def run(experiment: Experiment, machine: Machine, results: Path, cache: Path) -> records.Record:
    """Pre-train, benchmark and record; goes on with an unfinished run of the same settings.

    Whatever can be checked is checked before anything is trained. Raises ValueError or OSError with one line.
    """
    named = [None if text is None else folder_of(text) for text in (experiment.data, experiment.benchmark_data)]
    judged = experiment.benchmark.prepare(named[1], cache)
    source = source_of(experiment, cache)
    images = list_images(source)
    folder = results / "runs" / experiment.run_id
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "command": ["harness", *sys.argv[1:]],
        "code": provenance.code(),
        "versions": provenance.versions(),
        "machine": {**provenance.device(machine.device), "workers": machine.workers},
        "data": {"images": len(images), "fingerprint": provenance.fingerprint(images, source)},
        "benchmark_data": {"fingerprint": judged.fingerprint, "summary": judged.summary},
    }

    def work() -> dict[str, float]:
        with account(folder, facts) as seconds:
            backbone = folder / "backbone.pth"
            with clock(seconds, "pretrain"):
                if not backbone.exists():
                    train_backbone(experiment, images, folder, machine)
            with clock(seconds, "benchmark"):
                scores = experiment.benchmark.evaluate(backbone, judged, folder, experiment.seed, machine.device)
        return {name: float(score) for name, score in scores.items()}

    records.observe(folder, experiment.settings, work)
    return records.read(folder)


def finished(experiment: Experiment, results: Path) -> records.Record | None:
    """The finished run of exactly these settings, None if there is none."""
    folder = results / "runs" / experiment.run_id
    return records.read(folder) if (folder / "scores.json").exists() else None


def source_of(experiment: Experiment, cache: Path) -> Path:
    """The folder of the images to pre-train on: embedded scenes, composed if need be, or the user's."""
    if experiment.scenes:
        return experiment.scenes.folder(cache)
    if experiment.data is None:
        raise ValueError("this preset has no data of its own to pre-train on: --data DIR")
    return folder_of(experiment.data)


def train_backbone(experiment: Experiment, images: Sequence[Path], folder: Path, machine: Machine) -> None:
    """Write folder/backbone.pth; torch is first needed here."""
    from harness.pretrain import pretrain

    pretrain(experiment.strategy, experiment.recipe, images, folder, experiment.seed, machine)


def list_images(folder: Path) -> list[Path]:
    """The images below a folder in a fixed order, of a Pascal VOC folder its train split alone; ValueError if none."""
    found = sorted(file for file in walk(folder) if file.suffix.lower() in SUFFIXES)
    if names := train_names(folder):
        found = [file for file in found if file.parent.name == "JPEGImages" and file.stem in names]
    if not found:
        raise ValueError(f"{folder}: no images to pre-train on (looked for {', '.join(sorted(SUFFIXES))})")
    for file in found:
        if file.stat().st_size == 0:
            raise ValueError(f"{file}: an empty file, not an image")
    return found


def train_names(folder: Path) -> set[str]:
    """The images that a Pascal VOC folder trains on, trainval.txt if test.txt is apart from it; else none."""
    lists = folder / "ImageSets" / "Main"
    order = ("trainval", "train") if (lists / "test.txt").is_file() else ("train", "trainval")
    found = next((lists / f"{name}.txt" for name in order if (lists / f"{name}.txt").is_file()), None)
    return set(found.read_text(encoding="utf-8").split()) if found else set()


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, hidden ones and links to folders left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def folder_of(text: str) -> Path:
    """A path that the user wrote, which must be a folder."""
    if not Path(text).is_dir():
        raise ValueError(f"{text}: no such folder")
    return Path(text)


@contextmanager
def account(folder: Path, facts: dict[str, Any]) -> Iterator[dict[str, float]]:
    """Write folder/provenance.json before and after the work; the yielded seconds go on from an earlier try's."""
    file = folder / "provenance.json"
    seconds: dict[str, float] = records.read_json(file)["seconds"] if file.exists() else {}
    try:
        files.write_json(file, {**facts, "seconds": seconds})
        yield seconds
    finally:
        files.write_json(file, {**facts, "seconds": seconds, "peak_memory_mib": provenance.peak_memory()})


@contextmanager
def clock(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add the time that its block takes."""
    start = time.monotonic()
    try:
        yield
    finally:
        seconds[part] = round(seconds.get(part, 0.0) + time.monotonic() - start, 1)
