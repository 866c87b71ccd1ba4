"""Every field of every setting at the edges of its range: refused by its path as it is typed, or trained by."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import torch

from benchmarks.detection.config import Settings
from benchmarks.resuming.training import Training
from harness import plugins
from harness.engine.pretrain import build_optimizer, measure, train_step
from harness.settings import CHOICES, assign
from methods.contract import Misfit
from methods.correspondence import Strategy
from methods.pixsim import PixSim
from methods.recipe import Heads, Recipe
from methods.views import View

BATCH, SIDE = 2, 64
SMALL = Recipe(encoder="resnet18", size=SIDE, batch=BATCH, epochs=1, heads=Heads(4, 4, 4))
EDGES = {int: ("-1", "0", "1", "2"), float: ("-1", "-0.001", "0", "0.001", "1", "1.001"), str: ("nosuch",)}
LARGE = ("encoder", "width", "size")  # of a recipe: of the encoder, which is another one here
BOX = torch.tensor([[0.0, 0, 90, 80], [100, 20, 30, 90]])
OTHER = torch.tensor([[40.0, 10, 120, 100], [20, 0, 90, 70]])


def values(hint: Any) -> tuple[str, ...]:
    """What a field of a type is set to: its edges, its choices, and what it must refuse."""
    if hint in CHOICES:
        return (*CHOICES[hint], "nosuch")
    if get_origin(hint) is Literal:
        return (*get_args(hint), "nosuch")
    if get_origin(hint) in (Union, types.UnionType):
        return ("none", *values(get_args(hint)[0]))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        count = 3 if kinds[-1] is Ellipsis else len(kinds)
        return ("", *(",".join([value] * count) for value in values(kinds[0])))
    return ("true", "false", "maybe") if hint is bool else EDGES[hint]


def settings_of(settings: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and value of every field, of those of its own fields too, and of what each choice has for fields."""
    for field in fields(settings):
        at = f"{path}{field.name}"
        hint: Any = get_type_hints(type(settings))[field.name]
        inner = [getattr(settings, field.name)]
        if get_origin(hint) in (Union, types.UnionType) and is_dataclass(get_args(hint)[0]):
            inner, hint = [get_args(hint)[0]()], None
        if not is_dataclass(hint) and hint is not None:
            yield from ((at, value) for value in values(hint))
        if hint in CHOICES:
            inner = [kind() for kind in CHOICES[hint].values() if isinstance(kind, type)]
        for each in inner:
            if is_dataclass(each) and not isinstance(each, type):
                name = next((name for name, kind in CHOICES.get(hint, {}).items() if kind is type(each)), None)
                yield from (
                    (f"{at}={name} {its}" if name else its, value) for its, value in settings_of(each, f"{at}.")
                )


def changed(settings: Any, path: str, value: str, owner: str) -> tuple[Any, str]:
    """The settings with a field changed, or None and what refuses it."""
    choice, _, name = path.rpartition(" ")
    if choice:
        settings = assign(settings, *choice.split("="))
    try:
        return assign(settings, name, value, owner), ""
    except ValueError as error:
        return None, str(error)


def train(strategy: Strategy, recipe: Recipe) -> None:
    """Two steps, as a pre-training makes them."""
    torch.manual_seed(0)
    first, second = (
        View(torch.randn(recipe.batch, 3, SIDE, SIDE), box.repeat(recipe.batch, 1)[: recipe.batch],
             torch.tensor([[300.0, 150]]).expand(recipe.batch, -1), torch.arange(recipe.batch))
        for box in (BOX, OTHER)
    )  # fmt: skip
    network = PixSim(strategy, recipe)
    training = Training(network, build_optimizer(network, recipe))
    for _ in range(2):
        loss = train_step(training, recipe, 0, (first, second))
    measure(training, recipe, 0, loss)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder of one convolution instead of a ResNet, since the ranges are not its own."""

    def build(*_: object) -> torch.nn.Sequential:
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 32, stride=32), torch.nn.BatchNorm2d(4))

    monkeypatch.setattr("methods.pixsim.build_encoder", build)


def accepted(settings: Any, owner: str) -> Iterator[tuple[str, str, Any]]:
    """Yield path, value and settings of every accepted change; the others are refused by one line that begins so."""
    for path, value in settings_of(settings):
        found, refusal = changed(settings, path, value, owner)
        if found is not None:
            yield path, value, found
        else:
            assert refusal.startswith(f"{owner}{path.rpartition(' ')[2]}="), refusal
            assert "\n" not in refusal


def test_every_field_of_the_recipe_is_refused_at_its_edge_or_trains() -> None:
    strategy: Any = plugins.strategy("location")()
    kept = {(path, value): recipe for path, value, recipe in accepted(SMALL, "")}
    for (path, _), recipe in kept.items():
        if path not in LARGE:
            train(strategy, recipe)
    assert {("epochs", "1"), ("lr", "0"), ("heads.out", "1"), ("similarity", "cosine"), ("crop", "1")} <= kept.keys()
    refused = {("epochs", "0"), ("heads.out", "0"), ("heads.hidden", "0"), ("crop", "0"), ("flip", "1.001")}
    assert not refused & kept.keys()


@pytest.mark.parametrize("name", plugins.strategy_files())
def test_every_field_of_a_strategy_is_refused_at_its_edge_or_trains(name: str) -> None:
    strategy: Any = plugins.strategy(name)()
    for _, _, found in accepted(strategy, "strategy."):
        if found.trains:
            train(found, SMALL)


@pytest.mark.parametrize("name", plugins.benchmark_modules())
def test_every_field_of_a_benchmark_is_refused_at_its_edge_or_makes_a_detector_s_config(name: str) -> None:
    from benchmarks.detection.config import config

    benchmark: Any = plugins.benchmark(name)()
    kept = {(path, value): found for path, value, found in accepted(benchmark, "benchmark.")}
    for found in kept.values():
        if isinstance(found, Settings):
            config(found, ("cat", "dog"), seed=0)
    refused = {(field, value) for field in ("batch", "iterations", "lr", "pool", "size") for value in ("-1", "0")}
    assert not refused & kept.keys()


@pytest.mark.parametrize(("name", "weight"), [("simsiam", 0.0), ("location", 0.5)])
def test_one_image_is_too_few_where_a_single_site_is_embedded(name: str, weight: float) -> None:
    strategy: Any = plugins.strategy(name)()
    with pytest.raises(Misfit, match=r"^batch=1: at least 2 were expected, since BatchNorm would see the one site"):
        train(strategy, replace(SMALL, batch=1, global_weight=weight))


def test_one_image_of_one_cell_is_too_few() -> None:
    with pytest.raises(ValueError, match=r"^batch=1: must be at least 2 at size=32: BatchNorm needs more"):
        replace(SMALL, batch=1, size=32)
