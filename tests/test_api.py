"""The Python interface: `harness.open` and `harness.table`, on a tiny run."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

import harness
from harness import ROOT, api
from harness.cli import main
from harness.engine.gauges import cell_side, match_error
from harness.engine.images import list_images, source_folder
from harness.experiment import rebuild
from harness.verbs import options
from methods.views import TwoViews
from tests.pictures import photos

TINY = shlex.split(
    "--set epochs=1 --set batch=2 --set size=64 --set heads.hidden=8 --set heads.out=8 --workers 0 --device cpu"
    " --set benchmark.iterations=2 --set benchmark.batch=1 --set benchmark.train=6 --set benchmark.test=3"
    " --set benchmark.layout.size=48 --set benchmark.sizes=48"
)
DEMO = ROOT / "results" / "demo"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a run of location and one of random."""
    folder = tmp_path_factory.mktemp("results")
    for strategy in ("location", "random"):
        assert main(["run", "--strategy", strategy, *TINY, "--results", str(folder)]) == 0
    return folder


def test_the_documented_example_runs(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(api, "RESULTS", results)
    exec(compile((ROOT / "docs" / "example.py").read_text(encoding="utf-8"), "example.py", "exec"), {})
    out = capsys.readouterr().out
    assert "<location: 49 of 2401 pairs of sites; Q [1, 49, 4], K [1, 49, 4], W [1, 49, 49]; " in out
    assert "query_x" in out
    assert "location + region" in out


def test_importing_harness_imports_nothing_heavy() -> None:
    code = "import sys, harness; harness.open; harness.table; print({'torch', 'pandas', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_harness_has_no_other_name() -> None:
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'opened'"):
        harness.opened  # noqa: B018


def test_a_run_is_what_its_record_says(results: Path) -> None:
    run = harness.open("location-s0", results)
    assert set(run.scores or {}) == {"AP", "AP50", "AP75"}
    assert run.settings["recipe"]["epochs"] == 1
    assert len(run.curve) == 3
    assert {"step", "epoch", "loss", "rank"} <= set(run.curve)
    assert repr(run).startswith(f"<run {run.name}: COMPLETED, AP ")


def test_the_model_is_the_file_s_encoder(results: Path) -> None:
    run = harness.open("location-s0", str(results))
    reference = resnet18()
    reference.load_state_dict(torch.load(run.record.folder / "backbone.pth", weights_only=True), strict=False)
    reference.eval()
    reference.avgpool, reference.fc = torch.nn.Identity(), torch.nn.Identity()
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(run.model(image).flatten(1), reference(image), atol=1e-5)


def test_the_views_are_those_of_the_training(results: Path) -> None:
    run = harness.open("location-s0", results)
    trained = rebuild(run.settings)
    data = TwoViews(list_images(source_folder(trained, options.CACHE)), trained.recipe, seed=0)
    for ours, theirs in zip(run.views(3, epoch=2), data[2, 3][:2], strict=True):
        assert all(torch.equal(one[0], other) for one, other in zip(ours, theirs, strict=True))


def test_an_image_may_be_a_number_a_file_or_opened(results: Path, tmp_path: Path) -> None:
    from PIL import Image

    run = harness.open("location-s0", results)
    (file,) = photos(tmp_path, 1)
    with Image.open(file) as opened:
        first, second = run.views(file)[0], run.views(opened)[0]
    assert torch.equal(first.image, second.image)
    assert first.image.shape == (1, 3, 64, 64)
    with pytest.raises(ValueError, match="image 6: the run has images 0 to 5"):
        run.views(6)


def test_pairs_lie_at_the_same_place_of_the_source(results: Path) -> None:
    run = harness.open("location-s0", results)
    found = next(match for epoch in range(20) if len((match := run.correspondence(*run.views(0, epoch))).pairs()) == 49)
    pairs = found.pairs()
    assert pairs["weight"].tolist() == [1.0] * 49
    assert pairs["query"].tolist() == pairs["key"].tolist() == list(range(49))
    apart = np.hypot(pairs["query_x"] - pairs["key_x"], pairs["query_y"] - pairs["key_y"])
    cell = max(float(cell_side(view)[0]) for view in found.loss.views)
    assert apart.mean() / cell == pytest.approx(float(match_error(found.loss)), rel=1e-4)


def test_a_control_that_links_nothing_says_so(results: Path) -> None:
    run = harness.open("random-s0", results)
    with pytest.raises(ValueError, match="its strategy random links nothing"):
        run.correspondence(*run.views(0))


def test_weights_that_are_not_here_are_one_line() -> None:
    run = harness.open("location-s0-f96f00bd", DEMO)
    with pytest.raises(ValueError, match=r"has no backbone\.pth here, since weights are not kept in git") as failure:
        run.model  # noqa: B018
    assert "\n" not in str(failure.value)


def test_a_table_has_the_numbers_that_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    frame = harness.table("A1", DEMO)
    assert main(["table", "A1", "--results", str(DEMO)]) == 0
    out = capsys.readouterr().out
    for _, row in frame.iterrows():
        assert f"{row['AP']:.1f} ± {row['AP_std']:.1f}" in next(
            line for line in out.splitlines() if line.startswith(f"{row['row']}  ")
        )
    assert frame["n"].tolist() == [3] * 8


def test_options_of_a_table_are_those_of_the_command_line() -> None:
    assert set(harness.table("A1", DEMO, "--set epochs=3")["n"]) == {0}
    with pytest.raises(ValueError, match="no preset 'demmo': did you mean 'demo'"):
        harness.table("A1", DEMO, "--preset demmo")
    with pytest.raises(ValueError, match="no table 'A3'"):
        harness.table("A3", DEMO)


def test_a_folder_that_is_no_record_is_left_out_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "x" / "config.json").write_text("[]")
    with pytest.warns(UserWarning, match=r"left out: .*config\.json: not a readable record"):
        assert set(harness.table("A1", tmp_path)["n"]) == {0}


def test_own_rows_stand_in_the_frame_and_runs_are_one_frame() -> None:
    frame = harness.table("A1", DEMO, row={"mine": "--strategy location --set strategy.sampler=uniform"})
    assert frame.set_index("row").loc["mine", "n"] == 3
    with pytest.raises(ValueError, match="no strategy 'locaton': did you mean 'location'"):
        harness.table("A1", DEMO, row={"mine": "--strategy locaton"})
    runs = harness.runs(DEMO)
    assert len(runs) == 33
    assert set(runs.columns) == {"run", "strategy", "seed", "trial", "status", "date", "AP", "AP50", "AP75"}
    assert (runs["status"] == "COMPLETED").all()
