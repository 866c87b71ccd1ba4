"""The examples of docs/extending.md run as they are printed; what does not keep its contract is refused by name."""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.models import resnet18

import benchmarks
from harness import ROOT, plugins
from harness.cli import main
from harness.engine.reference import reference
from harness.experiment import Pretraining, parse, rebuild
from methods import contract, geometry
from methods.properties import APART, BATCH, BOXES, OTHERS, maps
from methods.similarity import cosine
from tests.pictures import photos
from tests.test_cli import refused

TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`(mine/\w+\.py)`:\n\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
COMMANDS = [line for line in TEXT.splitlines() if line.startswith("harness ")]
HERE = ["--workers", "0", "--device", "cpu"]
TINY = shlex.split("--set epochs=1 --set batch=2 --set size=32 --set width=8 --set heads.hidden=8")
SMALL = [*TINY, "--set", "heads.out=8", *HERE]
DETECTOR = shlex.split(
    "--set benchmark.iterations=2 --set benchmark.batch=1 --set benchmark.train=6 --set benchmark.test=3"
    " --set benchmark.layout.size=48 --set benchmark.sizes=48"
)
PHOTOS = ["--data", "photos"]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the examples and photos of two classes, where the user stands."""
    for name, code in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code, encoding="utf-8")
    photos(tmp_path / "photos" / "cat", 4)
    for file in photos(tmp_path / "photos" / "dog", 4):
        with Image.open(file) as photo:
            dark = photo.point(lambda value: value // 2)
        dark.save(file)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    yield tmp_path
    forget_mine()


def forget_mine() -> None:
    """Nothing of the examples is imported any more, as in a new process."""
    for name in [one for one in sys.modules if one.split(".")[0] == "mine"]:
        del sys.modules[name]


def test_the_document_shows_one_of_each_and_commands_for_it() -> None:
    assert set(FILES) == {"mine/corners.py", "mine/linear.py", "mine/widths.py"}
    assert all(re.match("harness (run|check|reproduce|table|plot) ", command) for command in COMMANDS)
    for name in FILES:
        assert any(name.removesuffix(".py").replace("/", ".") in command for command in COMMANDS), name


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.startswith("harness run")])
def test_the_commands_run(command: str, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [*SMALL, *([] if "mine.linear" in command else DETECTOR), *([] if "--data " in command else PHOTOS)]
    assert main([*shlex.split(command)[1:], *small, "--results", "results"]) == 0
    (folder,) = (mine / "results" / "runs").iterdir()
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert set(scores) == ({"accuracy"} if "mine.linear" in command else {"AP", "AP50", "AP75"})
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert settings.items() >= rebuild(settings).settings.items()
    name = settings["benchmark"]["name"]
    assert ("mine.linear" in command) == (name == plugins.benchmark(name).name == "mine.linear")
    capsys.readouterr()
    assert main([*shlex.split(command)[1:], *small, "--results", "results"]) == 0
    assert f"this has been run: {folder.name}" in capsys.readouterr().out
    forget_mine()
    figure = ["figure", "A1", "--run", folder.name, "--images", "1", "--size", "64", "--results", "results"]
    named = re.findall(r"mine\.\w+", command)
    assert f"no record can have imported: --code {named[0]}" in refused(capsys, *figure)
    assert main([*figure, *(word for name in named for word in ("--code", name))]) == 0


def test_the_table_is_filled_by_its_own_commands(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce, table, plot = (shlex.split(one)[1:] for one in COMMANDS if "mine.widths" in one)
    assert main([*reproduce, *TINY, *HERE, "--results", "results"]) == 0
    capsys.readouterr()
    assert main([*table, *TINY, "--results", "results", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["row"], row["n"]) for row in rows] == [("8 channels", 1), ("32 channels", 1), ("random", 1)]
    runs = mine / "results" / "runs"
    for row in rows:
        assert row["accuracy"] == json.loads((runs / row["runs"] / "scores.json").read_text())["accuracy"]
        assert row["accuracy"] > 50
    assert main([*table, *TINY, "--results", "results"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()[0]) <= 80
    assert "accuracy, %" in text
    assert main([*plot, *TINY, "--results", "results"]) == 0
    assert (mine / "results" / "plots" / "mine.widths.png").stat().st_size > 0


def test_corners_link_the_same_places(mine: Path) -> None:
    kind: Any = plugins.strategy("mine.corners")
    strategy, query, key = kind(), maps(BOXES, 0, (14, 14)), maps(OTHERS, 5, (14, 14))
    found, back = strategy(query, key, cosine), strategy(key, query, cosine)
    centres = [geometry.to_source(geometry.centres(view.shape, view.box), view.box) for view in (query, key)]
    inner = kind(inset=0.4)(query, key, cosine)
    here, there = inner.query @ centres[0], inner.key @ centres[1]
    linked = inner.weight.any(2)
    assert linked.sum() == 4 * (BATCH - 1)
    assert torch.allclose(here[linked], there[linked], atol=1e-3)
    for one, other in ((found.query, back.key), (found.key, back.query), (found.weight, back.weight.mT)):
        assert torch.equal(one, other)
    assert not strategy(query, key._replace(box=APART), cosine).weight.any()


def test_the_linear_probe_leaves_each_image_out(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refitted without an image, one by one, the classifier tells the same."""
    torch.manual_seed(0)
    features, labels = torch.randn(20, 4).double(), torch.arange(20) % 2
    features[:, 0] += labels
    found: Any = plugins.benchmark("mine.linear")
    monkeypatch.setattr(found, "read", lambda *_: (features, labels))
    (score,) = found(ridge=2.0).evaluate(mine, found().prepare(mine / "photos", mine), mine, 0).values()
    right = 0
    for out in range(20):
        kept = torch.arange(20) != out
        gram = features[kept].T @ features[kept] + 2.0 * torch.eye(4).double()
        weights = torch.linalg.solve(gram, features[kept].T @ torch.nn.functional.one_hot(labels[kept]).double())
        right += int((features[out] @ weights).argmax() == labels[out])
    assert score == pytest.approx(100 * right / 20)
    assert 50 < score < 100


def test_the_linear_probe_reads_the_backbone(mine: Path) -> None:
    benchmark: Any = plugins.benchmark("mine.linear")()
    state = {name: value for name, value in resnet18().state_dict().items() if not name.startswith("fc.")}
    torch.save(state, mine / "backbone.pth")
    features, labels = benchmark.read(mine / "backbone.pth", mine / "photos", "cpu")
    assert (features.shape, labels.tolist()) == ((8, 513), [0] * 4 + [1] * 4)
    data = benchmark.prepare(mine / "photos", mine)
    assert data.summary == "8 images of cat, dog"
    (mine / "photos" / "cat" / "0.jpg").rename(mine / "photos" / "dog" / "9.jpg")
    assert benchmark.prepare(mine / "photos", mine).fingerprint != data.fingerprint


def test_list_knows_only_what_is_here(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "mine" not in capsys.readouterr().out


def test_a_file_in_benchmarks_is_listed_and_made_by_the_name_that_it_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path)])
    for name in ("ridge", "package/__init__"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        called = f"by-{name[:5]}"
        (tmp_path / f"{name}.py").write_text(BENCHMARK.replace("= __name__", f'= "{called}"'), encoding="utf-8")
    (tmp_path / "reader.py").write_text("raise ValueError\n")  # a file that sets none is not run
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for called in ("by-ridge", "by-packa", "scenes", "voc07+12"):
        assert called in text
        assert plugins.benchmark(called).name == called
    assert "reader" not in text


def test_a_benchmark_that_does_not_say_its_cost_has_no_estimate(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--benchmark", "mine.linear", *TINY, "--device", "cpu", *PHOTOS]
    assert main(["run", "--strategy", "location", *words, "--dry-run"]) == 0
    assert "benchmark mine.linear: no estimate" in capsys.readouterr().out
    says = refused(capsys, "plan", "A1", *words, "--results", ".")
    assert "no estimate of benchmark mine.linear before a run of it is recorded" in says


def test_the_data_of_the_linear_probe_are_checked_first(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--strategy", "location", "--benchmark", "mine.linear", *SMALL, *PHOTOS, "--results", "results"]
    assert "needs a folder with a sub-folder for each class" in refused(capsys, *words)
    photos(mine / "one" / "cat", 1)
    assert "two classes were expected, cat is there" in refused(capsys, *words, "--benchmark-data", "one")
    (mine / "none").mkdir()
    assert "find any class folder" in refused(capsys, *words, "--benchmark-data", "none")
    assert not (mine / "results").exists()


STRATEGY = FILES["mine/corners.py"]
BENCHMARK = FILES["mine/linear.py"]


@pytest.mark.parametrize(
    ("kind", "old", "new", "says"),
    [
        ("strategy", "STRATEGY = Corners", "", "the module does not set STRATEGY"),
        ("strategy", "STRATEGY = Corners", "STRATEGY = Corners()", "STRATEGY is not a class"),
        ("strategy", "Corners(Strategy)", "Corners", "does not inherit from methods.correspondence.Strategy"),
        ("strategy", "@dataclass(frozen=True)", "", "STRATEGY is not a dataclass: @dataclass(frozen=True) is missing"),
        ("strategy", "inset: float = 0.1", "inset: float", "has fields without a default: inset"),
        ("strategy", "def __call__", "def call", "does not define __call__"),
        (
            "strategy",
            "inset: float",
            "directed: bool = True\n    inset: float",
            "has a setting directed, a name",
        ),
        ("strategy", "inset: float", "name: str = ''\n    inset: float", "has a setting name, a name of harness's"),
        ("benchmark", "Linear(Benchmark[Photos])", "Linear", "does not inherit from benchmarks.Benchmark"),
        ("benchmark", "@dataclass(frozen=True)", "", "BENCHMARK is not a dataclass"),
        ("benchmark", "def prepare", "def prepared", "does not define prepare"),
        ("benchmark", "def evaluate", "def evaluated", "does not define evaluate"),
        ("benchmark", "name: ClassVar[str] = __name__", "", "does not define name"),
        ("benchmark", 'encoder: str = "resnet18"', 'encoder = "resnet18"', "has no field encoder"),
        ("benchmark", "name: ClassVar[str]", "name: str", "has a setting name, a name of harness's own"),
        ("benchmark", "= __name__", "= 'linear'", "is named 'linear' and would not be found again"),
    ],
)
def test_misfits_are_refused_by_name(
    kind: str, old: str, new: str, says: str, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = {"strategy": STRATEGY, "benchmark": BENCHMARK}[kind]
    assert code.count(old) == 1
    (mine / "mine" / "misfit.py").write_text(code.replace(old, new), encoding="utf-8")
    words = ["--strategy", "mine.misfit"] if kind == "strategy" else shlex.split("--strategy x --benchmark mine.misfit")
    told = refused(capsys, "run", *words, *SMALL, "--results", "results")
    assert f"no {kind} in 'mine.misfit'" in told
    assert says in told
    assert not (mine / "results").exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("return Correspondence(", "return tuple, (", "__call__ returned a tuple: a Correspondence was expected"),
        ("return Correspondence(read(points, query)", "return Correspondence(None", "query is a NoneType: a tensor of"),
        (", read(points, key),", ", read(points, key)[:, :3],", "weight is [2, 4, 4]: W [B, N, M], here [2, 4, 3]"),
        ("read(points, query),", "read(points, query)[:, :, :-1],", "query is [2, 4, 0]: Q [B, N, H·W], here"),
        ("read(points, key), weight)", "read(points, key).log() - torch.inf, weight)", "key has -inf: finite numbers"),
        ("weight)\n", "weight.bool())\n", "weight is torch.bool on cpu: torch.float32 on cpu was expected"),
        ("weight)\n", "weight[0])\n", "weight is of shape [4, 4]: a tensor of three dimensions was expected"),
        ("weight)\n", "-weight)\n", "weight has -1: numbers ≥ 0 were expected"),
        (", similarity: Similarity)", ")", "(query, key, similarity) was expected"),
    ],
)
def test_a_correspondence_that_breaks_the_contract_is_refused_before_anything_is_trained(
    old: str, new: str, says: str, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert STRATEGY.count(old) == 1
    code = STRATEGY.replace(old, new).replace("        shared =", "        import torch\n\n        shared =")
    (mine / "mine" / "wrong.py").write_text(code, encoding="utf-8")
    main(["run", "--strategy", "mine.wrong", *SMALL, *DETECTOR, *PHOTOS, "--results", "results"])
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"harness: strategy mine.wrong ({mine / 'mine' / 'wrong.py'}): ")
    assert says in told
    assert not list((mine / "results" / "runs").iterdir())


@pytest.mark.parametrize(("pairs", "warned"), [("seen & False", True), ("seen", False)])
def test_a_strategy_that_pairs_nothing_is_warned_of_before_and_after_the_benchmark(
    pairs: str, warned: bool, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = STRATEGY.replace("weight = seen[", f"weight = ({pairs})[")
    (mine / "mine" / "blind.py").write_text(code, encoding="utf-8")
    assert main(["run", "--strategy", "mine.blind", *SMALL, *DETECTOR, *PHOTOS, "--results", "results"]) == 0
    line = "warning: only 0.0 % of the images had a pair in the last epoch, so the strategy hardly trained the backbone"
    printed = capsys.readouterr().out.splitlines()
    assert printed.count(line) == 2 * warned
    (folder,) = (mine / "results" / "runs").iterdir()
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert (line.removeprefix("warning: ") in provenance["warnings"]) == warned


def test_the_contract_is_checked_once_in_a_run(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ["run", "--strategy", "mine.corners", *SMALL, *DETECTOR, *PHOTOS, "--results", "results"]
    made = parse([*line[1:3], *TINY, "--set", "heads.out=8"]).backbone
    assert isinstance(made, Pretraining)
    reference(made.strategy, made.recipe)  # whose steps are checked too
    calls: list[object] = []
    monkeypatch.setattr(contract, "check_links", lambda *links: calls.append(links))
    assert main(line) == 0
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--strategy mine.corner", "no strategy 'mine.corner': Python finds no module 'mine.corner'"),
        ("--strategy location --benchmark mine.line", "no benchmark 'mine.line': Python finds no module 'mine.line'"),
        ("--strategy .corners", "no strategy '.corners'"),
        ("--strategy location --benchmark mine..linear", "no benchmark 'mine..linear'"),
        ("--strategy mine.corners --set strategy.inst=1", "did you mean 'strategy.inset'?"),
        (
            "--strategy location --benchmark mine.linear --set benchmark.ridge=big",
            "benchmark.ridge=big: a number was expected",
        ),
    ],
)
def test_bad_words_are_refused(words: str, says: str, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in refused(capsys, "run", *shlex.split(words), "--results", "results")
