"""Dense matching: planted places are found, a loop counts the same, and scenes know where a sprite is shown again."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from benchmarks.data.flaws import DataError
from benchmarks.dense import places
from benchmarks.dense.cells import ResNet
from benchmarks.dense.places import Instance
from benchmarks.matching import FAVOURS, Matching
from benchmarks.scenes.layout import Layout
from harness import plugins
from tests.pictures import photos

SIDE = 6
SMALL = Matching("resnet18", 64, layout=Layout(size=32, extent=(0.4, 0.9)), train=1, test=40)


def saved(network: nn.Module, file: Path, part: int = 1) -> Path:
    """Write a network without its head, of each convolution and norm only the first of `part` parts of channels."""
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    for name, tensor in state.items():
        kept = [slice(-(-size // part) if size > 7 else size) for size in tensor.shape]
        state[name] = tensor[tuple(kept)].clone()
    torch.save(state, file)
    return file


def own_layers(network: nn.Module, images: Tensor) -> dict[int, Tensor]:
    """The maps of stages 3 and 4 by torchvision's own modules."""
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    maps, x = {}, images.float().sub(mean[:, None, None]).div(std[:, None, None])
    x = x.contiguous(memory_format=torch.channels_last)
    for name, part in network.named_children():
        if name not in ("avgpool", "fc"):
            x = part(x)
            maps[name] = x
    return {3: maps["layer3"], 4: maps["layer4"]}


@pytest.mark.parametrize(("build", "encoder"), [(resnet18, "resnet18"), (resnet50, "resnet50")])
def test_stages_are_read_bit_for_bit_as_torchvision_computes_them(
    build: Callable[[], nn.Module], encoder: str, tmp_path: Path
) -> None:
    network = build().eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    maps = ResNet(saved(network, tmp_path / "b.pth"), encoder, "cpu").read([images], (3, 4))
    with torch.no_grad():
        for stage, wanted in own_layers(network, images).items():
            assert torch.equal(maps[stage], wanted)


def test_statistics_are_the_mean_over_batches_as_batchnorm_without_momentum_has_it(tmp_path: Path) -> None:
    network = resnet18()
    batches = [torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8) for _ in range(3)]
    read = ResNet(saved(network, tmp_path / "b.pth"), "resnet18", "cpu")
    read.calibrate(batches)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        for batch in batches:
            own_layers(network, batch)
    for name, tensor in network.state_dict().items():
        if "running" in name:
            assert torch.allclose(read.state[name], tensor, rtol=1e-5, atol=1e-6), name


def test_a_narrow_network_is_read_by_its_tensors(tmp_path: Path) -> None:
    network = ResNet(saved(resnet18(), tmp_path / "b.pth", part=4), "resnet18", "cpu")
    maps = network.read([torch.zeros(1, 3, 64, 64)], (3, 4))
    assert [maps[stage].shape for stage in (3, 4)] == [(1, 64, 4, 4), (1, 128, 2, 2)]


def test_linked_folders_are_read_each_once(tmp_path: Path) -> None:
    photos(tmp_path / "disk" / "cats", 3)
    photos(tmp_path / "set" / "dogs", 2)
    for name in ("cats", "again"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "disk" / "cats")
    assert SMALL.prepare(tmp_path / "set", tmp_path / "cache").summary == "5 images"


def planted(boxes: Tensor, side: int) -> Tensor:
    """Maps [2n, D, side, side] whose cells are bumps around their place in the source, 100 px wide."""
    where = torch.stack(torch.meshgrid(torch.arange(0.0, 101, 2), torch.arange(0.0, 101, 2), indexing="xy"), -1)
    flat = torch.cat(boxes.unbind(1)).double()
    cells = flat[:, None, :2] + places.centres(side) * (flat[:, None, 2:] - flat[:, None, :2])
    bumps = (-(torch.cdist(cells, where.reshape(1, -1, 2).double().expand(len(cells), -1, -1)) ** 2) / 20).exp()
    maps: Tensor = bumps.mT.unflatten(2, (side, side))
    return maps


BOXES = torch.tensor([[[0, 0, 60, 60], [90, 20, 20, 80]], [[10, 10, 80, 70], [20, 0, 90, 90]]])


def test_planted_places_are_matched_under_crops_and_mirroring() -> None:
    pairs = places.between_views(BOXES, SIDE)
    assert 0 < pairs.shown.sum() < pairs.shown.numel()
    assert places.matched(planted(BOXES, SIDE), pairs) == 100
    turned = planted(BOXES.roll(1, 0), SIDE)
    assert (places.matched(turned, pairs) or 0) < 80


def test_matches_are_counted_as_a_loop_counts_them() -> None:
    torch.manual_seed(0)
    maps, pairs = torch.randn(4, 8, SIDE, SIDE), places.between_views(BOXES, SIDE)
    mean, hits, shown, lucky = maps.mean((0, 2, 3)), 0, 0, 0
    for first, second, truths, seen in zip(*pairs, strict=True):
        query, key = (maps[one].flatten(1).T - mean for one in (first, second))
        for cell in range(SIDE**2):
            if seen[cell]:
                shown += 1
                best = max(range(SIDE**2), key=lambda at: float(torch.cosine_similarity(query[cell], key[at], 0)))
                near = [math.dist((at % SIDE + 0.5, at // SIDE + 0.5), (truths[cell] * SIDE).tolist()) <= 0.75 * 2**0.5
                        for at in range(SIDE**2)]  # fmt: skip
                hits, lucky = hits + near[best], lucky + sum(near)
    assert places.matched(maps, pairs) == pytest.approx(100 * hits / shown)
    assert places.by_chance(pairs, SIDE) == pytest.approx(100 * lucky / shown / SIDE**2)


def test_a_sprite_is_looked_for_where_the_other_scene_shows_it_uncovered() -> None:
    masks = torch.zeros(2, 60, 60, dtype=torch.uint8)
    masks[0, 0:30, 0:30], masks[1, 20:50, 10:40] = 1, 2
    masks[1, 40:50, 10:40] = 3  # covered
    instances = {"cup": [Instance(0, 1, ((1, 0, 0), (0, 1, 0))), Instance(1, 2, ((1, 0, 10), (0, 1, 20)))]}
    found = places.across_images(instances, masks, SIDE)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 1), (1, 0)]
    cells = found.shown[0].nonzero()[:, 0]
    assert cells.tolist() == [0, 1, 2, 6, 7, 8]  # 5, 15, 25 px across; 25 px down would be covered
    assert torch.allclose(
        found.truth[0, cells] * 60, places.centres(SIDE)[cells] * 60 + torch.tensor([10.0, 20.0]).double()
    )


def test_the_scenes_know_where_a_sprite_is_shown_again(tmp_path: Path) -> None:
    """The pixels at the two places are more alike than at places drawn at random."""
    benchmark = replace(SMALL, size=96, layout=Layout(size=96))
    data = benchmark.prepare(None, tmp_path)
    pairs = benchmark._across(data, 24)
    images = benchmark.whole(data).float().unflatten(2, (24, 4)).unflatten(4, (24, 4)).mean((3, 5)).flatten(2).mT
    query = images[pairs.first][pairs.shown]
    cell = (pairs.truth * 24).long().clamp(0, 23)
    key = images[pairs.second[:, None], cell[..., 1] * 24 + cell[..., 0]][pairs.shown]
    assert len(query) > 500
    apart = (query - query.mean(0)) - (key - key.mean(0))
    shuffled = (query - query.mean(0)) - (key - key.mean(0))[torch.randperm(len(key))]
    assert apart.norm(dim=1).mean() < 0.7 * shuffled.norm(dim=1).mean()


def test_scenes_and_an_unlabelled_folder_are_scored_and_again_alike(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = saved(resnet18(), tmp_path / "b.pth", part=8)
    names = [f"layer{stage}{end}" for end in ("", "_x2") for stage in (4, 3)]
    photos(tmp_path / "photos" / "deep", 12, (70, 50))
    for folder, wanted in ((None, [*names, *(f"across_{name}" for name in names)]), (tmp_path / "photos", names)):
        data = SMALL.prepare(folder, tmp_path / "cache")
        scores = SMALL.evaluate(backbone, data, tmp_path / "run", 3)
        assert sorted(scores) == sorted(wanted)
        assert all(0 <= score <= 100 for score in scores.values())
        assert (
            SMALL.evaluate(backbone, data, tmp_path / "run", 3)
            == scores
            != SMALL.evaluate(backbone, data, tmp_path / "run", 4)
        )
        assert SMALL.notes(data) == [FAVOURS]
        assert SMALL.prepare(folder, tmp_path / "cache").fingerprint == data.fingerprint


def test_statistics_measured_anew_undo_the_scale_of_stored_ones(tmp_path: Path) -> None:
    network = resnet18()
    data = SMALL.prepare(None, tmp_path / "cache")
    scores = []
    for factor in (1.0, 3.0):
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.mul_(factor)
        file = saved(network, tmp_path / "b.pth", part=8)
        scores.append([replace(SMALL, calibrate=on).evaluate(file, data, tmp_path, 0) for on in (True, False)])
    assert scores[0][0] == scores[1][0]
    assert scores[0][1] != scores[1][1]


def test_images_of_a_folder_are_chosen_by_their_names_and_turned_as_seen(tmp_path: Path) -> None:
    files = photos(tmp_path / "photos", 9)
    with Image.open(files[0]) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(files[0], exif=exif)
    benchmark = Matching(images=4)
    chosen = benchmark.prepare(tmp_path / "photos", tmp_path).files
    assert len(chosen) == 4
    photos(tmp_path / "photos" / ".hidden", 3)
    assert benchmark.prepare(tmp_path / "photos", tmp_path).files == chosen
    from benchmarks.dense.images import opened

    assert opened(files[0]).size == (30, 40)


@pytest.mark.parametrize("case", ["no folder", "empty", "broken", "hopeless"])
def test_a_folder_that_cannot_be_matched_in_is_refused_in_a_line(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    if case != "no folder":
        folder.mkdir()
    if case == "broken":
        (folder / "a.jpg").write_bytes(b"no image")
    if case == "hopeless":
        Image.fromarray(np.zeros((40, 30), np.float32), "F").save(folder / "a.tif")
    with pytest.raises(DataError) as refused, warnings.catch_warnings(action="ignore"):
        Matching().prepare(folder, tmp_path)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_it_is_chosen_by_its_name_and_brings_no_images_to_train_on() -> None:
    assert plugins.benchmark("matching") is Matching
    assert Matching().embedded_images() is None
    assert Matching().cost().images > 200
    with pytest.raises(ValueError, match="size=8"):
        Matching(size=8)
