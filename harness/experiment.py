"""One experiment: a backbone, pre-trained or given, and a benchmark, from the words of a command line to scores."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.scenes import Scenes
from harness import plugins
from harness.engine.backbones import Given, Pretraining
from harness.presets import PRESETS, Preset
from harness.settings import assign, describe, restore
from methods.recipe import Recipe

TRIALS = 1000  # at most


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a run's scores, save the machine."""

    backbone: Pretraining | Given
    benchmark: Any
    benchmark_data: str | None
    seed: int
    trial: int = 0  # of the fine-tunings of one backbone

    @property
    def settings(self) -> dict[str, Any]:
        """What is recorded, and compared when a table looks for its runs."""
        return {
            **self.backbone.settings,
            "benchmark": {"name": self.benchmark.name, **describe(self.benchmark)},
            "benchmark_data": self.benchmark_data,
            "seed": self.seed,
            "trial": self.trial,
        }

    @property
    def run_id(self) -> str:
        """The name of its run: the backbone's, seed, a hash of all settings, and any but the first trial."""
        settings = {name: value for name, value in self.settings.items() if name != "trial"}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        return f"{self.backbone.name}-s{self.seed}-{digest[:8]}" + (f"-t{self.trial}" if self.trial else "")

    @property
    def tuning_seed(self) -> int:
        """Of all that is random in the benchmark, equal for all backbones: in the first trial the run's seed."""
        digest = hashlib.sha256(f"{self.seed} {self.trial}".encode()).digest()
        return int.from_bytes(digest[:4], "big") if self.trial else self.seed

    def divide(self, count: int) -> None:
        """ValueError where so many processes cannot share its batches evenly."""
        trained = {"batch": self.backbone.recipe.batch} if isinstance(self.backbone, Pretraining) else {}
        judged = {"benchmark.batch": self.benchmark.batch} if self.benchmark.joins else {}
        for name, batch in {**trained, **judged}.items():
            if batch % count:
                raise ValueError(f"{name}={batch}: cannot be divided among {count} processes")

    def trials(self, count: int) -> list[Experiment]:
        """The first trials of this backbone; ValueError for none, or more than anybody makes."""
        if not 1 <= count <= TRIALS:
            raise ValueError(f"--trials {count}: 1 to {TRIALS} were expected")
        return [replace(self, trial=trial) for trial in range(count)]


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
        help="change a field of the recipe, of the strategy (strategy.FIELD) or of the benchmark (benchmark.FIELD)",
    )
    add("--data", metavar="DIR", help="images to pre-train on: any folder; of a VOC folder its train split")
    add("--benchmark", metavar="NAME", help="how the backbone is judged (the preset's)")
    add("--benchmark-data", metavar="DIR", help="the benchmark's data")
    return parser


def seed_words() -> argparse.ArgumentParser:
    """The words that make runs of equal settings differ."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of all that is random (0)")
    parser.add_argument("--trials", metavar="K", type=int, default=1, help="fine-tunings of the one backbone (1)")
    return parser


def words() -> argparse.ArgumentParser:
    """The words that define an experiment: those of `harness run` and of a table's rows alike."""
    parser = argparse.ArgumentParser(add_help=False, parents=[base_words(), seed_words()])
    parser.add_argument("--strategy", metavar="NAME", help="which sites agree: see `harness list`, or a dotted path")
    parser.add_argument("--backbone", metavar="FILE", help="judge this one instead: .pth or .safetensors, any prefix")
    return parser


def extra_words(given: argparse.Namespace) -> list[str]:
    """The words that the user gave for all rows of a table, of those in base_words."""
    singles = {"--preset": given.preset if given.preset != "demo" else None, "--data": given.data,
               "--benchmark": given.benchmark, "--benchmark-data": given.benchmark_data}  # fmt: skip
    pairs = [[name, value] for name, value in singles.items() if value is not None]
    return [word for pair in [*pairs, *(["--set", change] for change in given.set)] for word in pair]


def build(given: argparse.Namespace) -> Experiment:
    """The experiment of parsed words; a ValueError says which word stands for nothing and what there is."""
    if not 0 <= given.seed < 2**32:  # numpy's, which the fine-tuning uses, ends there
        raise ValueError(f"--seed {given.seed}: must be at least 0 and below 2**32")
    if given.preset not in PRESETS:
        raise plugins.unknown("preset", given.preset, PRESETS)
    preset = PRESETS[given.preset]
    changes = [split_change(change) for change in given.set]
    recipe = change(preset.recipe, "recipe", changes)
    benchmark = change(base_benchmark(preset, given.benchmark, recipe.encoder), "benchmark", changes)
    if benchmark.encoder != recipe.encoder:
        raise ValueError(f"benchmark.encoder={benchmark.encoder}: the backbone is {recipe.encoder}")
    if given.backbone is None:
        backbone: Pretraining | Given = pretraining(given, preset, recipe, benchmark, changes)
    else:
        backbone = given_backbone(given, recipe.encoder, changes)
    return Experiment(backbone, benchmark, given.benchmark_data, given.seed)


def pretraining(
    given: argparse.Namespace, preset: Preset, recipe: Recipe, benchmark: Any, changes: Sequence[tuple[str, str, str]]
) -> Pretraining:
    """What the words train."""
    if given.strategy is None:
        raise ValueError(f"--strategy is missing: choose from {', '.join(plugins.strategy_files())}")
    return Pretraining(
        name=given.strategy,
        strategy=change(plugins.strategy(given.strategy)(), "strategy", changes),
        recipe=recipe,
        scenes=embedded(preset, benchmark) if given.data is None else None,
        data=given.data,
    )


def given_backbone(given: argparse.Namespace, encoder: str, changes: Sequence[tuple[str, str, str]]) -> Given:
    """The file that the words name; ValueError where they also ask for a pre-training."""
    trains = [
        f"--set {field}" for part, field, _ in changes if (part, field) != ("recipe", "encoder") and part != "benchmark"
    ]
    asked = [*(["--strategy"] if given.strategy else []), *(["--data"] if given.data else []), *trains]
    if asked:
        raise ValueError(f"--backbone {given.backbone}: nothing is pre-trained, so {', '.join(asked)} means nothing")
    file = Path(given.backbone)
    if not file.is_file():
        raise ValueError(f"--backbone {file}: no such file")
    with open(file, "rb") as content:
        return Given(file, hashlib.file_digest(content, "sha256").hexdigest(), encoder)


def rebuild(settings: dict[str, Any]) -> Pretraining:
    """The pre-training that a record's settings describe; ValueError where this version knows none such."""
    if "backbone" in settings:
        raise ValueError("the run's backbone was given as a file, so nothing is known of a pre-training")
    try:
        judged, matching = dict(settings["benchmark"]), dict(settings["strategy"])
        name = matching.pop("name")
        refuse_code(name, judged["name"])
        scenes = embedded_as(settings["data"], restore(plugins.benchmark(judged.pop("name"))(), judged))
        return Pretraining(
            name=name,
            strategy=restore(plugins.strategy(name)(), matching),
            recipe=restore(Recipe(), settings["recipe"]),
            scenes=scenes,
            data=None if scenes else settings["data"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the record's settings are not a run's ({type(error).__name__}: {error})") from error


def refuse_code(*names: str) -> None:
    """ValueError for a module outside of the checkout: that a record names one is no reason to run it."""
    for name in names:
        if plugins.dotted(name) and name not in sys.modules:
            raise ValueError(
                f"the run is of {name}, which is code of your own, which no record can have imported: --code {name}"
            )


def embedded_as(data: str, benchmark: Any) -> Scenes | None:
    """The scenes that a record's data names: the benchmark's own or a preset's; None for a folder."""
    known = [benchmark, *(preset.scenes for preset in PRESETS.values())]
    return next((one for one in known if isinstance(one, Scenes) and data == f"scenes-{one.fingerprint}"), None)


def split_change(text: str) -> tuple[str, str, str]:
    """Return the part (recipe, strategy or benchmark), field and value of one --set; `match` is `strategy`."""
    field, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text}: FIELD=VALUE was expected")
    part, dot, rest = field.partition(".")
    part = "strategy" if part == "match" else part
    return (part, rest, value) if dot and part in ("strategy", "benchmark") else ("recipe", field, value)


def change(settings: Any, part: str, changes: Sequence[tuple[str, str, str]]) -> Any:
    """The settings with all changes of their part made, in order."""
    for its, field, value in changes:
        if its == part:
            settings = assign(settings, field, value)
    return settings


def base_benchmark(preset: Preset, name: str | None, encoder: str) -> Any:
    """The named benchmark, or the preset's, for backbones of that encoder."""
    if name is None or name == preset.benchmark.name:
        return replace(preset.benchmark, encoder=encoder)
    return replace(plugins.benchmark(name)(), encoder=encoder)


def embedded(preset: Preset, benchmark: Any) -> Scenes | None:
    """The scenes to pre-train on where no folder is given: the benchmark's own, else the preset's."""
    return benchmark if isinstance(benchmark, Scenes) else preset.scenes
