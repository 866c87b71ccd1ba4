"""Experiments: a backbone, from a pre-training or a file, and the benchmark that scores it; read from options."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from benchmarks import AnyBenchmark, Images
from harness import plugins
from harness.presets import PRESETS, Preset
from harness.settings import Json, change, describe, digest, read_options, restore, split_change, write_options
from harness.terminal import Listing
from methods.correspondence import Strategy
from methods.recipe import Recipe

TRIALS = 1000  # at most, of one backbone
WIDTH = ("recipe", "width")


@dataclass(frozen=True)
class Pretraining:
    """Backbone that a strategy trains: everything that decides its weights, save the seed and the machine."""

    name: str  # the strategy's
    strategy: Strategy
    recipe: Recipe
    embedded: Images | None  # to pre-train on, of a benchmark; None: those of the folder
    data: str | None  # folder to pre-train on, as the user wrote it

    @property
    def settings(self) -> Json:
        """Return what is recorded of it."""
        return {
            "strategy": {"name": self.name, **describe(self.strategy)},
            "recipe": describe(self.recipe),
            "data": self.embedded.id if self.embedded else self.data,
        }


@dataclass(frozen=True)
class BackboneFile:
    """Backbone that was trained elsewhere: a file, known by its content."""

    file: Path
    sha256: str
    encoder: str  # that it must hold
    key: str | None = None  # which of several networks in it, by a part of its name
    width: int | None = None  # that its encoder must have; None: any

    @property
    def name(self) -> str:
        """Return the first part of its runs' names."""
        return f"backbone_{self.sha256[:8]}"

    @property
    def settings(self) -> Json:
        """Return what is recorded of it: the content alone, whatever the file is called, and the key if one chooses."""
        return {"backbone": self.sha256, **({} if self.key is None else {"backbone_key": self.key})}


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a run's scores, save the machine."""

    backbone: Pretraining | BackboneFile
    benchmark: AnyBenchmark
    benchmark_data: str | None
    seed: int
    trial: int = 0  # of the fine-tunings of one backbone
    again: int = 0  # how often it was made anew since other code or data made it

    @property
    def settings(self) -> Json:
        """Return what is recorded, and compared when a table looks for its runs."""
        return {
            **self.backbone.settings,
            "benchmark": {"name": self.benchmark.name, **describe(self.benchmark)},
            "benchmark_data": self.benchmark_data,
            "seed": self.seed,
            "trial": self.trial,
        }

    @property
    def run_id(self) -> str:
        """Return its run's name: the backbone's, the seed, a hash of all settings, which trial, which repetition."""
        trial, again = f"-t{self.trial}" if self.trial else "", f"-again{self.again}" if self.again else ""
        return f"{self.backbone.name}-s{self.seed}-{digest(self.settings)}{trial}{again}"

    @property
    def tuning_seed(self) -> int:
        """Return the benchmark's seed, the same for every backbone: in the first trial the run's own."""
        digest = hashlib.sha256(f"{self.seed} {self.trial}".encode()).digest()
        return int.from_bytes(digest[:4], "big") if self.trial else self.seed

    def divide(self, count: int) -> None:
        """Raise ValueError if its batches cannot be divided evenly among so many processes."""
        pretrained = {"batch": self.backbone.recipe.batch} if isinstance(self.backbone, Pretraining) else {}
        tuned = {"benchmark.batch": vars(self.benchmark)["batch"]} if self.benchmark.distributed else {}
        for name, batch in {**pretrained, **tuned}.items():
            if batch % count:
                raise ValueError(f"{name}={batch}: cannot be divided among {count} processes")

    def trials(self, count: int) -> list[Experiment]:
        """Return the first trials of this backbone; ValueError for none and for more than TRIALS."""
        if not 1 <= count <= TRIALS:
            raise ValueError(f"--trials {count}: 1 to {TRIALS} were expected")
        return [replace(self, trial=trial) for trial in range(count)]


@dataclass(frozen=True)
class Options:
    """The options of `harness run` that define an experiment; `strategy` to `trials` are named as they are typed."""

    strategy: str | None = None
    backbone: str | None = None
    backbone_key: str | None = None
    preset: str = "demo"
    data: str | None = None
    benchmark: str | None = None
    benchmark_data: str | None = None
    set: tuple[str, ...] = ()  # each FIELD=VALUE
    seed: int = 0
    trials: int = 1

    @property
    def shared(self) -> list[str]:
        """Those that every row of a table may share, as they are typed."""
        return write_options(replace(self, strategy=None, backbone=None, backbone_key=None, seed=0, trials=1))

    @property
    def changed(self) -> bool:
        """Whether they change settings of the preset."""
        return bool(self.set or self.benchmark)


def add_backbone(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is fine-tuned: a backbone that a strategy trains, or a file."""
    add = partial(parser.add_argument, default=argparse.SUPPRESS)
    add("--strategy", metavar="NAME", help="which places should agree: see `harness list`, or a dotted path")
    add("--backbone", metavar="FILE", help="fine-tune this file instead: .pth or .safetensors, any prefix")
    add("--backbone-key", metavar="KEY", help="which of several networks in that file, such as `student` (the teacher)")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that all rows of a table may share."""
    add = parser.add_argument_group("settings", argument_default=argparse.SUPPRESS).add_argument
    add("--preset", metavar="NAME", help="base of all settings: demo, study or paper (demo)")
    text = "change a field of the recipe, of the strategy (strategy.FIELD) or of the benchmark (benchmark.FIELD)"
    add("--set", metavar="FIELD=VALUE", action="append", help=text)
    add("--data", metavar="DIR", help="images to pre-train on: any folder; of VOC and COCO folders the train split")
    add("--benchmark", metavar="NAME", help="what scores the backbone (the preset's); of `run` several: a,b")
    add("--benchmark-data", metavar="DIR", help="the benchmark's data")


def add_seeds(parser: argparse._ActionsContainer) -> None:
    """Add the options that make runs of equal settings differ."""
    add = partial(parser.add_argument, default=argparse.SUPPRESS)
    add("--seed", metavar="N", type=int, help="seed of everything that is random (0)")
    add("--trials", metavar="K", type=int, help="fine-tunings of the one backbone, each a run (1)")


class LineParser(argparse.ArgumentParser):
    """A parser of the options that define an experiment, for lines that no user typed here: it raises ValueError."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of ending the program."""
        raise ValueError(message)


def read_line(line: Sequence[str]) -> Options:
    """Return the options of a line such as `--strategy location --seed 1`; ValueError for a line that has others."""
    parser = LineParser(add_help=False)
    for add in (add_backbone, add_settings, add_seeds):
        add(parser)
    return read_options(Options, parser.parse_args(line))


def parse(line: Sequence[str]) -> Experiment:
    """Return the experiment of a line such as `--strategy location --seed 1`; ValueError says what does not exist."""
    return build(read_line(line))


def build(options: Options) -> Experiment:
    """Return the experiment of parsed options; ValueError names the option that means nothing and what exists."""
    if not 0 <= options.seed < 2**32:  # numpy's, which the fine-tuning uses, ends there
        raise ValueError(f"--seed {options.seed}: must be at least 0 and below 2**32")
    if options.preset not in PRESETS:
        raise plugins.unknown("preset", options.preset, PRESETS)
    preset = PRESETS[options.preset]
    changes = [split_change(change) for change in options.set]
    recipe = change(preset.recipe, "recipe", changes)
    benchmark = change(base_benchmark(preset, options.benchmark, recipe.encoder), "benchmark", changes)
    if benchmark.encoder != recipe.encoder:
        raise ValueError(f"benchmark.encoder={benchmark.encoder}: the backbone is {recipe.encoder}")
    if options.backbone is None and options.backbone_key is not None:
        raise ValueError(f"--backbone-key {options.backbone_key}: means nothing without --backbone")
    if options.backbone is None:
        backbone: Pretraining | BackboneFile = pretraining(options, preset, recipe, benchmark, changes)
    else:
        backbone = backbone_file(Path(options.backbone), options, recipe, changes)
    return Experiment(backbone, benchmark, options.benchmark_data, options.seed)


def pretraining(
    options: Options, preset: Preset, recipe: Recipe, benchmark: AnyBenchmark, changes: Sequence[tuple[str, str, str]]
) -> Pretraining:
    """Return the pre-training that the options ask for."""
    if options.strategy is None:
        raise Listing("--strategy is missing: choose from", plugins.strategy_files())
    return Pretraining(
        name=options.strategy,
        strategy=change(plugins.strategy(options.strategy)(), "strategy", changes),
        recipe=recipe,
        embedded=embedded(preset, benchmark) if options.data is None else None,
        data=options.data,
    )


def backbone_file(file: Path, options: Options, recipe: Recipe, changes: Sequence[Sequence[str]]) -> BackboneFile:
    """Return the file that --backbone names; ValueError if other options ask for a pre-training."""
    fields = [(part, field) for part, field, _ in changes if part != "benchmark"]
    trains = [f"--set {field}" for part, field in fields if (part, field) not in (("recipe", "encoder"), WIDTH)]
    asked = [*(["--strategy"] if options.strategy else []), *(["--data"] if options.data else []), *trains]
    if asked:
        raise ValueError(f"--backbone {file}: nothing is pre-trained, so {', '.join(asked)} means nothing")
    if not file.is_file():
        raise ValueError(f"--backbone {file}: no such file")
    width = recipe.width if WIDTH in fields else None
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return BackboneFile(file, digest, recipe.encoder, options.backbone_key, width)


def rebuild(settings: Json) -> Pretraining:
    """Return the pre-training that a record's settings describe; ValueError if this version cannot make it."""
    if "backbone" in settings:
        raise ValueError("the run's backbone came as a file, so nothing is known of a pre-training")
    try:
        (name, fields), (other, others) = (split_name(settings[part]) for part in ("strategy", "benchmark"))
        refuse_code(name, other)
        images = embedded_as(settings["data"], restore(plugins.benchmark(other)(), others))
        return Pretraining(
            name=name,
            strategy=restore(plugins.strategy(name)(), fields),
            recipe=restore(Recipe(), settings["recipe"]),
            embedded=images,
            data=None if images else settings["data"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the record's settings are not a run's ({type(error).__name__}: {error})") from error


def split_name(described: Json) -> tuple[str, Json]:
    """Return the name of a recorded strategy or benchmark, and its fields."""
    return described["name"], {field: value for field, value in described.items() if field != "name"}


def refuse_code(*names: str) -> None:
    """Raise ValueError for a module outside of the checkout: that a record names one is no reason to run it."""
    for name in names:
        if plugins.dotted(name) and name not in sys.modules:
            raise ValueError(
                f"the run is of {name}, code of your own, which no record can have imported: --code {name} (in Python, "
                f"import {name} first)"
            )


def embedded_as(data: str, benchmark: AnyBenchmark) -> Images | None:
    """Return the embedded images that a record's data names: the benchmark's own or a preset's; None for a folder."""
    known = [each.embedded_images() for each in (benchmark, *(preset.benchmark for preset in PRESETS.values()))]
    return next((images for images in known if images and images.id == data), None)


def base_benchmark(preset: Preset, name: str | None, encoder: str) -> AnyBenchmark:
    """Return the named benchmark, or the preset's, for backbones of that encoder."""
    if name is None or name == preset.benchmark.name:
        return replace(preset.benchmark, encoder=encoder)
    return replace(plugins.benchmark(name)(), encoder=encoder)


def embedded(preset: Preset, benchmark: AnyBenchmark) -> Images | None:
    """Return the images to pre-train on where no folder is given: the benchmark's own, else those of the preset's."""
    return benchmark.embedded_images() or preset.benchmark.embedded_images()
