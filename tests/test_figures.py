"""Figures: what is drawn is what the model and the strategies say, the same bytes every time; the rest is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from harness import ROOT, plugins, records
from harness.cli import main
from harness.evidence.figures import categories, matches, models, views
from harness.evidence.figures.drawing import GAP
from harness.evidence.figures.models import Weights
from harness.evidence.figures.pairs import loss_of, site_pairs
from harness.experiment import parse, rebuild
from harness.verbs import figure
from methods import geometry
from methods.boxes import overlaps
from methods.pixsim import Loss
from methods.recipe import Heads, Recipe
from methods.rng import CounterRNG
from methods.strategies.candidate_regions import CandidateRegions
from methods.strategies.location import Location
from methods.views import View, normalise
from tests.pictures import photos

TINY = Recipe(encoder="resnet18", size=96, zero_init=False, heads=Heads(8, 8, 8), jitter=0, grey=0, blur=0)
SMALL = [
    "--set",
    "size=32",
    "--set",
    "width=8",
    "--set",
    "heads.out=8",
    "--set",
    "heads.hidden=8",
    "--set",
    "similarity=cosine",
]


def view(*box: float) -> View:
    """A noise view of a source of 200 × 200."""
    image = torch.randint(256, (1, 3, 96, 96), generator=torch.Generator().manual_seed(int(sum(box))))
    return View(
        image.to(torch.uint8),
        torch.tensor([box], dtype=torch.float32),
        torch.tensor([[200.0, 200.0]]),
        torch.tensor([7]),
    )


PAIR = view(0, 0, 100, 100), view(150, 50, 50, 150)  # the second one mirrored


@cache
def linked(name: str) -> Loss:
    """What a strategy links in PAIR, with random weights."""
    return loss_of(models.load(plugins.strategy(name)(), TINY, 0, Weights()), PAIR)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a run of `location` and one of `simsiam`, both as long as their seed's initial weights."""
    folder = tmp_path_factory.mktemp("results")
    photos(folder / "photos", 5)
    for name in ("location", "simsiam"):
        line = ["--strategy", name, "--data", str(folder / "photos"), *SMALL]
        experiment = parse(line)
        run = folder / "runs" / name
        records.begin(run, experiment.settings)
        trained = rebuild(experiment.settings)
        model = models.load(trained.strategy, trained.recipe, 0, Weights())
        records.write_weights(run, model.encoder.state_dict(), model.branch.head.state_dict())
    return folder


def test_no_two_channels_share_a_colour_and_a_channel_keeps_its_own() -> None:
    many = matches.palette(2048)
    assert len(np.unique((many * 255).round(), axis=0)) == 2048
    assert ((many >= 0) & (many <= 1)).all()
    assert (matches.palette(27) == many[:27]).all()
    few = matches.palette(32)
    gaps = np.linalg.norm(few[:, None] - few[None], axis=2) + 9 * np.eye(32)
    assert gaps.min() > 0.1


def test_a_category_has_one_colour_over_all_views_and_a_rare_one_is_grey() -> None:
    view_of_grey = View(torch.full((1, 3, 2, 2), 80, dtype=torch.uint8), *PAIR[0][1:])
    colours = {3: "#ff0000", 0: "#00ff00", 9: "#0000ff"}
    first = categories.tint(view_of_grey, np.array([[3, 0], [1, 2]]), colours)
    second = categories.tint(view_of_grey, np.array([[0, 1], [2, 3]]), colours)
    assert (first[0, 0] == second[1, 1]).all()
    assert not (first[0, 0] == second[0, 0]).all()
    assert (first[1, 0] == first[1, 1]).all()
    assert len(np.unique(first[1, 0])) == 1


def test_the_twelve_most_frequent_categories_are_in_the_key_and_the_rest_is_one_entry() -> None:
    labels = np.repeat(np.arange(14), [*range(1, 14), 165]).reshape(2, 8, 16)  # 256 pixels; 13 is the most frequent
    share = categories.shares([(labels[0], labels[1])])
    assert [*share][:3] == [13, 12, 11]
    assert sum(share.values()) == pytest.approx(1)
    views = [View(torch.zeros(1, 3, 8, 16, dtype=torch.uint8), *one[1:]) for one in PAIR]
    sheet = categories.category_sheet([(views[0], views[1])], [(labels[0], labels[1])], "note")
    texts = [text.get_text() for text in sheet.legends[0].get_texts()]
    assert texts[:2] == ["13 (64%)", "12 (5%)"]
    assert texts[12:] == ["other (1%)"]
    rgb = np.array([to_rgb(colour) for colour in (*categories.COLOURS, categories.REST)])
    assert (np.linalg.norm(rgb[:, None] - rgb[None], axis=2) + np.eye(13)).min() > 0.2


@pytest.mark.parametrize("images", [1, 2, 3])
def test_a_caption_stays_within_its_figure(images: int, results: Path, tmp_path: Path) -> None:
    sheet = categories.categories(records.find(results, "location"), tmp_path, images=images, size=64)
    renderer = FigureCanvasAgg(sheet).get_renderer()  # type: ignore[no-untyped-call]
    width, height = sheet.get_size_inches() * sheet.dpi
    for artist in (sheet.texts[0], sheet.legends[0]):
        box = artist.get_window_extent(renderer)
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
    assert sheet.texts[0].get_window_extent(renderer).y1 < sheet.legends[0].get_window_extent(renderer).y0


def test_the_overlap_is_where_each_view_shows_it() -> None:
    assert views.shared_in(*PAIR) == (0.5, 0.5, 1.0, 1.0)
    assert views.shared_in(*PAIR[::-1]) == (0.5, 0.0, 1.0, 0.5)
    assert views.shared_in(view(10, 20, 110, 120), view(30, 20, 60, 70)) == pytest.approx((0.2, 0.0, 0.5, 0.5))


def test_views_are_found_again_and_one_is_mirrored() -> None:
    source = Image.effect_noise((120, 90), 50).convert("RGB")
    for seed in range(5):
        one, other = views.find_views(source, TINY, seed, 0, mirrored=True)
        again = views.find_views(source, TINY, seed, 0, mirrored=True)
        assert torch.equal(one.image, again[0].image)
        assert torch.equal(other.box, again[1].box)
        assert views.is_mirrored(one) != views.is_mirrored(other)
        upright = [geometry.overlap(seen.box, seen.box)[:, None] for seen in (one, other)]
        assert 0.25 <= float(overlaps(*upright)) <= 0.6


def test_views_without_a_mirror_are_better_than_none_but_must_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Image.new("RGB", (120, 90))
    unflipped = views.find_views(source, replace(TINY, flip=0.0), 0, 0, mirrored=True)
    assert not any(map(views.is_mirrored, unflipped))
    monkeypatch.setattr(views, "draw_views", lambda *_: (view(0, 0, 50, 50), view(60, 0, 110, 50)))
    with pytest.raises(ValueError, match="none of 300 pairs of views overlaps"):
        views.find_views(source, TINY, 0, 0, mirrored=False)


def test_a_map_is_the_arg_max_of_z_at_every_cell() -> None:
    model = models.load(Location(), TINY, 0, Weights())
    looked = model.look(normalise(PAIR[0], torch.device("cpu")))
    cells = model.branch.head(looked.cells).z[0].argmax(dim=1).reshape(looked.shape).numpy()
    labels = categories.largest_channel(model, PAIR[0])
    assert looked.shape == (3, 3)
    assert labels.shape == (96, 96)
    assert (labels[::95, ::95] == cells[::2, ::2]).all()
    assert len(np.unique(cells)) > 1


@pytest.mark.parametrize("name", ["feature_similarity", "pixel_distance"])
def test_drawn_pairs_of_cells_are_those_of_the_correspondence(name: str) -> None:
    loss = linked(name)
    ax = Figure().add_subplot()
    shown = matches.show_match(ax, plugins.strategy(name)(), loss)
    expected = [
        [((q % 3 + 0.5) / 3, (q // 3 + 0.5) / 3), (1 + GAP + (k % 3 + 0.5) / 3, (k // 3 + 0.5) / 3)]
        for q, k in loss.forth.weight[0].nonzero().tolist()
    ]
    (lines,) = (one for one in ax.collections if isinstance(one, LineCollection))
    assert np.array(lines.get_segments()) == pytest.approx(np.array(expected), abs=1e-5)
    assert shown == len(expected) > 0


def test_drawn_places_of_location_are_the_same_in_the_source() -> None:
    loss = linked("location")
    found = matches.in_views(site_pairs(loss), loss)
    inner = ((found.first > 0.17) & (found.first < 0.83) & (found.second > 0.17) & (found.second < 0.83)).all(dim=1)
    here, there = (
        geometry.to_source(points[None], seen.box)[0, inner]
        for points, seen in zip((found.first, found.second), PAIR, strict=True)
    )
    assert inner.sum() > 5
    assert torch.allclose(here, there, atol=1e-3)
    assert torch.allclose(here, site_pairs(loss).first[inner], atol=1e-3)
    assert found.weight.tolist() == [1.0] * 49


def test_drawn_boxes_are_valid_pairs_of_the_strategy() -> None:
    ax = Figure().add_subplot()
    shown = matches.show_match(ax, CandidateRegions(), linked("candidate_regions"))
    pairs = CandidateRegions().boxes(PAIR[0].box, PAIR[1].box, CounterRNG(PAIR[0].seed))
    known = torch.cat([pairs.first, pairs.second], dim=2)[pairs.valid]
    frames = np.array([patch.get_bbox().extents for patch in ax.patches if isinstance(patch, Rectangle)][1::2])
    drawn = torch.tensor(np.hstack([frames[::2], frames[1::2] - [1 + GAP, 0, 1 + GAP, 0]]), dtype=torch.float32)
    away = torch.cdist(drawn, known)
    assert len(drawn) == shown == matches.BOXES
    assert away.amin(dim=1).max() < 1e-5
    assert len(away.argmin(dim=1).unique()) == shown


def test_many_links_are_thinned_evenly_and_the_caption_says_so() -> None:
    loss = linked("location")
    few = matches.evenly_spread(site_pairs(loss), 10)
    steps = few.sites[:, 0].diff().tolist()
    assert few.sites[[0, -1]].tolist() == [[0, 0], [48, 48]]
    assert len(few.weight) == 10
    assert max(steps) - min(steps) <= 1
    assert matches.count_pairs(loss, 10).startswith("10 of 49 pairs shown, error 0.")
    assert matches.count_pairs(linked("simsiam"), 1).startswith("1 pair, error ")


def test_dots_of_a_region_strategy_have_the_colour_of_their_channel() -> None:
    loss = linked("location_region")
    found = site_pairs(loss)
    for rows, seen, colours in zip(loss.forth[:2], loss.views, matches.region_colours(loss, found), strict=True):
        channel = (rows[0] @ seen.z[0]).argmax(dim=1)
        assert (colours == matches.palette(8)[channel.numpy()]).all()


def test_a_record_gives_its_experiment_back() -> None:
    for line in (
        ["--strategy", "location", "--set", "strategy.sampler=biased", "--set", "strategy.sampler.beta=0.5", *SMALL],
        ["--strategy", "candidate_regions", "--preset", "study", "--set", "strategy.boxes=scrl", "--set", "lr=1e-3"],
        ["--strategy", "simsiam", "--set", "heads.hidden=none", "--data", "photos", "--set", "benchmark.clip=none"],
    ):
        experiment = parse(line)
        assert rebuild(json.loads(json.dumps(experiment.settings))) == experiment.backbone
    with pytest.raises(ValueError, match="not a run's"):
        rebuild({"strategy": {"name": "location"}})


@pytest.mark.parametrize(
    "line",
    ["A1 --run location --images 2 --size 64", "matches --run location --strategy location_region --size 64"],
)
def test_figures_are_written_twice_alike(line: str, results: Path, tmp_path: Path) -> None:
    for stem in ("one", "two"):
        assert main(["figure", *line.split(), "--results", str(results), "--out", str(tmp_path / "new" / stem)]) == 0
    for kind in ("png", "pdf"):
        one, two = ((tmp_path / "new" / f"{stem}.{kind}").read_bytes() for stem in ("one", "two"))
        assert one == two
    assert b"CreationDate" not in one
    assert b"/FontFile2" in one  # TrueType: text stays text


def test_a_strategy_that_pools_first_has_a_map_of_its_cells_too(results: Path, tmp_path: Path) -> None:
    sheet = categories.categories(records.find(results, "simsiam"), tmp_path, images=1, size=64)
    assert "of the 2048 channels of z" in sheet.texts[0].get_text().replace("\n", " ")
    assert len(sheet.axes[0].images) == 4


def test_a_run_s_weights_are_drawn_and_not_random_ones(results: Path) -> None:
    record = records.find(results, "location")
    experiment = rebuild(record.settings)
    known = matches.known_weights(record, experiment.strategy)
    model = models.load(experiment.strategy, experiment.recipe, 1, known)
    for part, file in ((model.encoder, "backbone.pth"), (model.branch.head, "heads.pth")):
        saved = torch.load(record.folder / file, weights_only=True)
        assert all(torch.equal(weight, saved[name]) for name, weight in part.state_dict().items())
    assert matches.known_weights(record, CandidateRegions()).heads is None


def test_help_needs_neither_torch_nor_matplotlib() -> None:
    words = ["figure", "matches", "--help"]
    code = f"import sys; sys.argv[1:] = {words}\nfrom harness import cli\ntry: cli.main()\nexcept SystemExit: pass\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print({{'torch', 'matplotlib'}} & {{*sys.modules}})"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert "--image FILE" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("A3", "invalid choice: 'A3'"),
        ("A1", "required: --run"),
        ("A1 --run nothing", "no run 'nothing'"),
        ("A1 --run simsiam --images 6", "--images=6: must be between 1 and 5"),
        ("A1 --run simsiam --size 31", "--size=31: must be at least 32"),
        ("matches --strategy locaton", "did you mean 'location'?"),
        ("matches --strategy random", "it pairs nothing"),
        ("matches --set strategy.radius=2", "name it with --strategy"),
        ("matches --set crop=0", "crop=0.0: must be above 0"),
        ("matches --image no.png", "no.png: cannot be decoded"),
        ("matches --seed -1", "--seed=-1: must be at least 0"),
        ("matches --run simsiam --strategy simsiam --set encoder=resnet50", "not the weights of these settings"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    line: str, says: str, results: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    try:
        code = main(["figure", *line.split(), "--results", str(results), "--out", str(tmp_path / "new" / "x")])
    except SystemExit as stop:
        code = int(stop.code or 0)
    told = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    (line,) = (row for row in told if not row.startswith(("usage:", " ")))
    assert says in line
    assert not list(tmp_path.iterdir())


def test_missing_weights_are_named_with_what_makes_them(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heads = results / "runs" / "simsiam" / "heads.pth"
    heads.rename(heads.with_suffix(".away"))
    assert main(["figure", "A1", "--run", "simsiam", "--results", str(results)]) == 2
    heads.with_suffix(".away").rename(heads)
    told = capsys.readouterr().err
    assert "run simsiam has no heads.pth" in told
    assert "`harness run --strategy simsiam --seed 0 --results weights`" in told


def test_figures_are_drawn_where_git_does_not_look_unless_a_file_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figure, "draw_matches", lambda args: None)
    monkeypatch.setattr("harness.evidence.style.save", lambda _, stem: [stem])
    assert main(["figure", "matches", "--results", "mine"]) == 0
    assert main(["figure", "matches", "--out", "here"]) == 0
    assert capsys.readouterr().out == "figure: mine/figures/matches\nfigure: here\n"
    assert "/results/figures/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
