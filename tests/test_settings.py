"""Settings from words and back to records."""

import re
from dataclasses import dataclass
from typing import Any

import pytest

from benchmarks.scenes import Scenes
from harness.experiment import parse
from harness.plugins import UnknownName
from harness.settings import BadValue, assign, describe, restore, upgrade
from methods.boxes import Windows
from methods.recipe import Heads, Recipe
from methods.sampling import Regular
from methods.similarity import cosine
from methods.strategies.candidate_regions import CandidateRegions
from methods.strategies.location import Location
from methods.strategies.location_region import LocationRegion
from methods.strategies.random import Random


def test_fields_take_values_of_their_kind() -> None:
    recipe = assign(assign(assign(Recipe(), "epochs", "3"), "lr", "1e-3"), "fix_predictor_lr", "False")
    assert (recipe.epochs, recipe.lr, recipe.fix_predictor_lr) == (3, 0.001, False)
    assert assign(Recipe(), "similarity", "cosine").similarity is cosine
    assert assign(Recipe(), "heads.hidden", "none").heads == Heads(hidden=None)
    assert assign(Location(), "sampler.side", "5").sampler == Regular(5)
    assert assign(Location(sampler=Regular(5)), "sampler", "regular").sampler == Regular(7)
    assert assign(Scenes(), "layout.classes", "bed, person").layout.classes == ("bed", "person")
    assert assign(Scenes(), "layout.objects", "1,2").layout.objects == (1, 2)


@pytest.mark.parametrize(
    ("settings", "field", "value", "error", "says"),
    [
        (Recipe(), "epoch", "3", UnknownName, "did you mean 'epochs'"),
        (Recipe(), "heads.width", "3", UnknownName, "hidden, out, predictor"),
        (Recipe(), "lr.x", "3", UnknownName, "lr has no fields"),
        (Random(), "x", "3", UnknownName, "there are none to set"),
        (Recipe(), "epochs", "three", BadValue, "epochs=three: a whole number was expected"),
        (Recipe(), "lr", "nan", BadValue, "a finite number was expected"),
        (Recipe(), "fix_predictor_lr", "maybe", BadValue, "choose from true, false"),
        (Recipe(), "similarity", "dot", BadValue, "choose from cross_entropy, cosine"),
        (Recipe(), "crop", "2", ValueError, "crop=2.0: must be between 0 and 1"),
        (Recipe(), "encoder", "resnet20", ValueError, "encoder=resnet20: must be one of resnet18, resnet34"),
        (Scenes(), "layout.objects", "1", BadValue, "2 values were expected"),
        (Scenes(), "layout.classes", "cat", ValueError, "cat"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_choices(
    settings: Any, field: str, value: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        assign(settings, field, value)


@pytest.mark.parametrize(
    ("settings", "owner", "field", "value", "says"),
    [
        (CandidateRegions(), "strategy.", "boxes.count", "0", "strategy.boxes.count=0: must be at least 1"),
        (CandidateRegions(), "strategy.", "boxes", "sclr", "strategy.boxes=sclr: choose from resim, scrl"),
        (
            CandidateRegions(),
            "strategy.",
            "boxes.lattic",
            "1",
            "no field 'strategy.boxes.lattic': did you mean 'strategy.",
        ),
        (LocationRegion(), "strategy.", "region.tau", "0", "strategy.region.tau=0.0: must be above 0"),
        (Scenes(), "benchmark.", "batch", "0", "benchmark.batch=0: "),
        (Recipe(), "", "heads.out", "x", "heads.out=x: a whole number was expected"),
        (Recipe(), "", "crop", "2", "crop=2.0: must be between 0 and 1"),
    ],
)
def test_an_error_names_the_field_as_it_was_typed(settings: Any, owner: str, field: str, value: str, says: str) -> None:
    if field == "boxes.count":
        settings = assign(settings, "boxes", "scrl")
    with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
        assign(settings, field, value, owner)


def test_records_name_what_was_chosen_by_name() -> None:
    assert describe(Location()) == {
        "sampler": {"name": "regular", "side": 7, "corners": False},
        "border": True,
        "min_overlap": 0.0,
    }
    assert describe(Recipe())["similarity"] == "cross_entropy"
    assert describe(Recipe())["heads"] == {"hidden": 512, "out": 512, "predictor": 512}


def test_every_field_is_recorded() -> None:
    @dataclass(frozen=True)
    class Some:
        a: int = 1
        b: tuple[int, ...] = (1, 2)

    assert describe(Some()) == {"a": 1, "b": [1, 2]}


def test_a_description_gives_its_settings_back() -> None:
    biased = assign(assign(Location(), "sampler", "biased"), "sampler.beta", "0.25")
    absent = assign(LocationRegion(), "region.heads.hidden", "64")
    objects = assign(Scenes(), "layout.objects", "1,3")
    for settings, default in ((biased, Location()), (absent, LocationRegion()), (objects, Scenes())):
        assert settings != default
        assert restore(default, describe(settings)) == settings
    with pytest.raises(UnknownName, match="no field 'samplers'"):
        restore(Location(), {"samplers": 1})


def test_fields_of_what_is_absent_are_set_on_its_defaults() -> None:
    changed = assign(LocationRegion(), "region.heads.hidden", "64")
    assert changed.region.heads == Heads(hidden=64)
    assert assign(changed, "region.heads", "none").region.heads is None
    with pytest.raises(BadValue, match=r"heads=64: set one of its fields, hidden, out, predictor"):
        assign(LocationRegion(), "region.heads", "64")


def test_a_field_of_words_takes_one_of_them() -> None:
    changed = assign(CandidateRegions(), "boxes", "scrl")
    assert describe(assign(changed, "boxes.count", "3"))["boxes"] == {
        "name": "scrl", "count": 3, "min_side": 32, "iou": 0.5, "tries": 50,
    }  # fmt: skip
    assert assign(CandidateRegions(), "boxes.level", "c3").boxes == Windows("c3")
    with pytest.raises(BadValue, match="pool=max: choose from prroi, roialign"):
        assign(CandidateRegions(), "pool", "max")


def test_match_is_the_older_word_for_strategy() -> None:
    for change in ("sampler.side=5", "border=false"):
        line = ["--strategy", "location", "--set"]
        old, new = (parse([*line, f"{part}.{change}"]) for part in ("match", "strategy"))
        assert old == new
        assert old.run_id == new.run_id


@pytest.mark.parametrize("benchmark", ["voc-folder", "voc07+12"])
def test_an_older_record_of_a_voc_folder_is_one_of_today_s_settings(benchmark: str) -> None:
    today = parse(["--strategy", "location", "--benchmark", benchmark, "--preset", "paper"]).settings
    older = {**today, "benchmark": {name: value for name, value in today["benchmark"].items() if name != "strict"}}
    assert today["benchmark"]["strict"] is False
    assert upgrade(older) == today
