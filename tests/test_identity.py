"""Code is known by what it computes: only a text that computes something else has another key."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import sources
from benchmarks.scenes import Scenes
from benchmarks.sources import essence, hashes, own_files
from harness import ROOT, plugins
from harness.engine import identity, pretrain
from harness.engine.identity import Code
from harness.engine.reference import measured, tried
from methods import pixsim, views
from methods.correspondence import Correspondence, FeatureMap
from methods.recipe import Heads, Recipe
from methods.similarity import cross_entropy

RECIPE = Recipe(encoder="resnet18", size=32, batch=64, epochs=4, heads=Heads(8, 8, 8))
LOCATION = plugins.strategy("location")()
Simsiam = plugins.strategy("simsiam")


def numbers(recipe: Recipe = RECIPE) -> tuple[float, ...]:
    return measured(LOCATION, recipe)


@pytest.fixture(scope="module")
def usual() -> tuple[float, ...]:
    return numbers()


def test_reference_steps_are_the_same_again_and_leave_torch_s_generator(usual: tuple[float, ...]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert identity.agree(numbers(), usual)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32
    assert len(usual) == 9


def test_a_changed_constant_default_or_line_of_the_loss_has_other_numbers(
    usual: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(views, "STD", (0.229, 0.224, 0.226))
        assert not identity.agree(numbers(), usual)
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "learning_rate", lambda recipe, epoch: recipe.lr * recipe.batch / 255)
        assert not identity.agree(numbers(), usual)
    with monkeypatch.context() as patch:
        original = pixsim.Branch.distance
        patch.setattr(pixsim.Branch, "distance", lambda *given: original(*given) * 1.001)
        assert not identity.agree(numbers(), usual)
    assert not identity.agree(numbers(replace(RECIPE, weight_decay=2e-2)), usual)


def test_a_control_that_trains_nothing_does_not_depend_on_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    random = plugins.strategy("random")()
    before = measured(random, RECIPE)
    monkeypatch.setattr(pixsim.Branch, "distance", None)
    assert measured(random, RECIPE) == before


def test_a_strategy_that_fails_on_the_reference_inputs_has_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def single(self: object, query: FeatureMap, key: FeatureMap, similarity: object) -> Correspondence:
        links = LOCATION(query, key, cross_entropy)
        return Correspondence(*(part.float() for part in links))

    monkeypatch.setattr(Simsiam, "__call__", single)
    assert len(tried(Simsiam(), RECIPE)) == 9
    monkeypatch.setattr(Simsiam, "__call__", lambda *given: None)
    assert tried(Simsiam(), RECIPE) == ()


def test_numbers_agree_within_rounding_and_not_beyond() -> None:
    assert identity.agree([1.0, 0.0], [1.00009, 1e-7])
    assert not identity.agree([1.0], [1.0002])
    assert not identity.agree([1.0], [1.0, 1.0])


TEXT = '''"""A module."""
LEAST = 0.5

def count(items: list[int], least: float = 0.25) -> int:
    """Count."""
    kept = [item for item in items if item > least]
    return len(kept)
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("    kept =", "    # what is left\n    kept =", True),
        ("kept", "large", True),
        ("item ", "one ", True),
        ("Count.", "Return how many are large.", True),
        ("-> int", "-> float", True),
        ("LEAST = 0.5", "LEAST = 0.6", False),
        ("least: float = 0.25", "least: float = 0.26", False),
        ("item > least", "item >= least", False),
        ("return len(kept)", "return len(items)", False),
    ],
)
def test_a_benchmark_s_code_is_what_it_computes(old: str, new: str, same: bool) -> None:
    assert old in TEXT
    changed = TEXT.replace(old, new)
    if old == "item ":
        changed = TEXT.replace("[item for item in items if item >", "[one for one in items if one >")
    assert (essence(TEXT) == essence(changed)) == same


def test_a_benchmark_s_code_is_that_of_the_files_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {file.relative_to(ROOT).as_posix() for file in sources.reachable("benchmarks.scenes", ROOT)}
    assert {"benchmarks/detection/tuning.py", "benchmarks/scenes/compose.py", "benchmarks/data/voc.py"} <= files
    assert not {"benchmarks/coco_fpn.py", "benchmarks/voc07_12.py"} & files
    assert not any(file.startswith("methods") for file in files)
    assert sources.benchmark_code(Scenes) == sources.benchmark_code(Scenes)
    assert sources.benchmark_code(Scenes) != sources.benchmark_code(plugins.benchmark("coco-fpn"))


def test_a_user_s_own_files_are_those_of_the_package_that_its_class_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = (ROOT / "methods" / "strategies" / "location.py").read_text(encoding="utf-8")
    folder = tmp_path / "own_of_k"
    folder.mkdir()
    for name, text in (("corners", f"{location}\nfrom . import shared\n"), ("shared", "A = 1"), ("unrelated", "")):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    strategy = importlib.import_module("own_of_k.corners").STRATEGY
    found = own_files(strategy)
    assert [*found] == ["own_of_k/corners.py", "own_of_k/shared.py"]
    before = hashes(found)
    (folder / "shared.py").write_text("A = 2", encoding="utf-8")
    assert [name for name, digest in hashes(own_files(strategy)).items() if digest != before[name]] == [
        "own_of_k/shared.py"
    ]
    assert own_files(type(LOCATION)) == {}


def test_what_differs_between_two_codes_is_named() -> None:
    old = Code((1.0, 2.0), "b1", {"mine/corners.py": "aa"})
    assert old.differences(old) == []
    assert old.differences(Code((1.0, 2.1), "b2", {"mine/corners.py": "bb"})) == [
        "mine/corners.py (aa, now bb)",
        "what its pre-training computes (reference steps 2, now 2.1)",
        "the benchmark (b1, now b2)",
    ]
    assert identity.recorded({"code": {"commit": "c"}}) is None
    assert identity.recorded({"code": old.facts}) == old
