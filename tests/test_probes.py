"""Probes of labels: official figures, oracles of their parts, folders that cannot be used, and one reading for all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import resnet18, resnet50

from benchmarks.clusters import Clusters, joined, kmeans, matched, told
from benchmarks.data.flaws import DataError
from benchmarks.dense import agreement, probe, segmentation
from benchmarks.dense.cells import ResNet
from benchmarks.linear import Linear, predictions, solve
from benchmarks.retrieval import Retrieval, attended
from benchmarks.scenes.layout import Layout
from harness import plugins
from tests.official import PROBES, wave
from tests.test_matching import own_layers, saved

PHI = 0.2
SMALL: dict[str, Any] = {
    "encoder": "resnet18", "size": 32, "layout": Layout(size=32, extent=(0.4, 0.9)), "train": 30, "test": 10,
}  # fmt: skip


def classes(shape: tuple[int, ...], count: int, phase: float) -> Tensor:
    """L(shape, C, φ) of the golden file's notation."""
    k = torch.arange(int(np.prod(shape)), dtype=torch.float64)
    return (
        (count * (0.5 + 0.5 * torch.sin(0.37 * k**2 + 0.7 * k + phase)))
        .floor()
        .clamp(max=count - 1)
        .long()
        .reshape(shape)
    )


def predicted() -> tuple[Tensor, Tensor]:
    """Ground truth of 4 and prediction of 7 classes at 60 pixels, as the golden file makes them."""
    truth, told = classes((60,), 4, PHI), classes((60,), 7, PHI + 0.9)
    chosen = wave((60,), PHI + 2) > -0.2
    return truth, torch.where(chosen, (2 * truth + (wave((60,), PHI + 3) > 0)) % 7, told)


def test_mean_ious_are_leopart_s_capi_s_and_dinov3_s() -> None:
    truth, told = predicted()
    figures = PROBES["G31_identity_and_hungarian"]["results"]
    for name, count in (("identity", 4), ("with_absent_class_identity", 5)):
        counts = agreement.confusion(truth, told % 4, count, count)
        assert agreement.mean_iou(counts, "zero") == pytest.approx(100 * figures[name]["miou"])
        assert counts.diag().tolist() == figures[name]["tp"]
    truth[::7] = agreement.VOID
    counts = agreement.confusion(truth, told % 4, 5, 5)
    assert agreement.mean_iou(counts, "macro") == pytest.approx(100 * PROBES["G31_macro_present"]["results"]["255"])
    told = told % 4
    told[3::11] = 0
    metrics = PROBES["G31_nanmean"]["results"]["metrics"]
    counts = agreement.confusion(truth, told, 5, 5)
    assert agreement.mean_iou(counts, "nan") == pytest.approx(metrics["mIoU"], rel=1e-5)
    assert agreement.accuracies(counts) == pytest.approx((metrics["aAcc"], metrics["acc"]), rel=1e-5)


def test_a_class_without_labelled_pixels_is_left_out_but_costs_the_others_their_pixels() -> None:
    counts = torch.tensor([[6, 0, 2], [0, 2, 0], [0, 0, 0]])
    assert agreement.mean_iou(counts, "present") == pytest.approx(100 * (6 / 8 + 1) / 2)
    assert agreement.mean_iou(counts, "nan") == pytest.approx(100 * (6 / 8 + 1 + 0) / 3)


def test_clusters_are_assigned_as_leopart_s() -> None:
    truth, found = predicted()
    counts = agreement.confusion(truth, found % 4, 4, 4)
    one_to_one = PROBES["G31_identity_and_hungarian"]["results"]["hungarian_iou"]
    confusion = joined(counts, matched(counts))
    assert confusion.diag().tolist() == one_to_one["tp"]
    assert agreement.mean_iou(confusion, "zero") == pytest.approx(100 * one_to_one["miou"])
    counts = agreement.confusion(truth, found, 4, 7)
    wanted = PROBES["G34_matching"]["results"]["many_to_one_precision"]
    confusion = joined(counts, counts.argmax(0))
    assert confusion.diag().tolist() == wanted["tp"]
    assert agreement.mean_iou(confusion, "zero") == pytest.approx(100 * wanted["miou"])


def test_planted_clusters_are_found_and_tell_all() -> None:
    """Also more clusters than there are different rows, of which none is invented."""
    planted = classes((192,), 4, PHI)
    x = 4 * wave((4, 6), PHI + 1)[planted] + 0.05 * wave((192, 6), PHI + 2)
    runs = [kmeans(x, 4, torch.Generator().manual_seed(seed)) for seed in range(5)]
    joint = torch.zeros(4, 4, dtype=torch.double)
    best = max(told(joint.index_put((run, planted), torch.ones(192).double(), accumulate=True)) for run in runs)
    assert best == pytest.approx(100)
    assert torch.equal(runs[0], kmeans(x, 4, torch.Generator().manual_seed(0)))
    assert kmeans(x[:1].expand(9, -1), 4, torch.Generator().manual_seed(0)).unique().tolist() == [0]
    assert told(torch.ones(3, 4).double()) == pytest.approx(0, abs=1e-9)


def test_clusters_score_what_their_cells_show(labelled: Path, tmp_path: Path) -> None:
    benchmark = Clusters("resnet18", 64, over=8)
    data, file = benchmark.prepare(labelled, tmp_path), saved(resnet18(), tmp_path / "b.pth", part=8)
    scores = benchmark.evaluate(file, data, tmp_path, 0)
    names = ("gain", "mIoU", "mIoU_over", "purity")
    assert set(scores) == {prefix + name for prefix in ("", "colour_") for name in names}
    assert all(0 <= score <= 100 for score in scores.values())
    assert benchmark.evaluate(file, data, tmp_path, 0) == scores
    with pytest.raises(ValueError, match="starts=0"):
        Clusters(starts=0)


def test_attention_gives_hummingbird_s_figures() -> None:
    queries, keys = wave((4, 4), PHI + 0.7), wave((4, 3, 4), PHI + 1.1)
    labels = 0.5 + 0.5 * wave((4, 3, 4), PHI + 1.7)
    for beta, wanted in PROBES["G33_hummingbird"]["attention"].items():
        told = [attended(queries[q : q + 1], keys[q], labels[q], 3, float(beta))[0] for q in range(4)]
        assert torch.allclose(torch.stack(told), torch.tensor(wanted)[0], rtol=1e-5, atol=1e-6)


def test_predictions_and_their_confusion_are_hummingbird_s() -> None:
    case = PROBES["G33_hummingbird"]
    memory, labels = wave((2 * 9, 4), PHI), torch.tensor(case["unbounded"]["labels"])
    told = attended(wave((2 * 9, 4), PHI + 4), memory, labels, 3, 0.02).unflatten(0, (2, 9))
    wanted = case["evaluate"]
    assert torch.allclose(told, torch.tensor(wanted["soft_labels"]), rtol=1e-4, atol=1e-6)
    wide = F.interpolate(told.mT.unflatten(2, (3, 3)), size=(12, 12), mode="bilinear").argmax(1)
    assert wide.tolist() == wanted["prediction"]
    truth = classes((2, 3, 3), 4, PHI + 5).repeat_interleave(4, 1).repeat_interleave(4, 2)
    truth[:, -1] = agreement.VOID
    counts = agreement.confusion(truth, wide, 4, 4)
    assert counts.tolist() == wanted["confusion"]
    assert agreement.mean_iou(counts, "zero") == pytest.approx(100 * wanted["miou_identity"], rel=1e-5)


def test_a_memory_of_itself_returns_its_own_labels() -> None:
    memory, labels = wave((20, 6), 1.0), F.one_hot(classes((20,), 3, 0.4), 3).float()
    assert torch.equal(attended(memory, memory, labels, 1, 0.02), labels)
    assert torch.allclose(attended(7 * memory, memory, labels, 5, 0.02), attended(memory, memory, labels, 5, 0.02))


def test_gain_is_0_of_the_prior_and_the_ceiling_of_the_labels_themselves() -> None:
    shares = F.normalize(wave((50, 4), 0.3).abs().double(), p=1, dim=1)
    prior = shares.mean(0)
    assert agreement.gain(prior.log().expand(50, -1), shares, prior) == pytest.approx(0, abs=1e-9)
    best = agreement.ceiling(shares, prior)
    entropy = -(shares * shares.log()).sum(1).mean() / -(prior * prior.log()).sum()
    assert best == pytest.approx(100 * float(1 - entropy))
    assert agreement.gain(shares.roll(1, 0).log(), shares, prior) < 0 < best < 100


def test_areas_under_the_curve_count_pairs_and_half_of_the_ties() -> None:
    shares = F.one_hot(classes((40,), 3, 0.4), 3).double()
    log_p = (wave((40, 3), 0.7).double() * 2).round().log_softmax(1)
    areas = []
    for c in range(3):
        odds = [float(p - torch.log1p(-p.exp())) for p in log_p[:, c]]
        own = [one for one, share in zip(odds, shares[:, c], strict=True) if share]
        rest = [one for one, share in zip(odds, shares[:, c], strict=True) if not share]
        areas.append(np.mean([(a > b) + 0.5 * (a == b) for a in own for b in rest]))
    assert agreement.auroc(log_p, shares) == pytest.approx(100 * np.mean(areas))
    assert agreement.auroc(torch.zeros(40, 3).double() - np.log(3), shares) == pytest.approx(50)


def test_the_linear_probe_ends_where_no_derivative_is_left() -> None:
    x = wave((200, 5), 0.3).double()
    y = F.one_hot(classes((200,), 3, 0.4), 3).double()
    y[x[:, 0] > 0] = torch.tensor([0.5, 0.5, 0]).double()
    for penalty in (1.0, 0.01):
        weights = solve(x, y, penalty, None)
        p = predictions(x, weights).exp()
        slope = torch.cat([x.T @ (p - y) / 200 + penalty * weights[:-1], (p - y).mean(0)[None]])
        assert slope.abs().max() < 1e-4
        again = predictions(x, solve(x, y, penalty, 2 * weights))
        assert torch.allclose(again, predictions(x, weights), atol=1e-3)


@pytest.mark.parametrize("stride", [16, 8])
def test_dilation_in_place_of_strides_is_torchvision_s(stride: int, tmp_path: Path) -> None:
    network = resnet50(replace_stride_with_dilation=[False, stride == 8, True]).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    maps = ResNet(saved(network, tmp_path / "b.pth"), "resnet50", "cpu").read([images], (3, 4), stride)
    with torch.no_grad():
        for stage, wanted in own_layers(network, images).items():
            assert torch.equal(maps[stage], wanted)


def test_dilation_of_a_basic_block_begins_behind_the_stride(tmp_path: Path) -> None:
    network = resnet18().eval()
    layer4: Any = network.layer4
    layer4[0].conv1.stride = layer4[0].downsample[0].stride = (1, 1)
    for conv in (layer4[0].conv2, layer4[1].conv1, layer4[1].conv2):
        conv.dilation = conv.padding = (2, 2)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    read = ResNet(saved(network, tmp_path / "b.pth"), "resnet18", "cpu")
    with torch.no_grad():
        assert torch.equal(read.read([images], (4,), 16)[4], own_layers(network, images)[4])
    assert torch.equal(read.read([images], (3,), 16)[3], read.read([images], (3,), 32)[3])


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder of 12 train and 4 test images: a red square of class 7, a green one of class 9, blue, a void rim."""
    folder = tmp_path / "voc"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    for number in range(16):
        image, mask = np.full((64, 64, 3), (20, 20, 200), np.uint8), np.zeros((64, 64), np.uint8)
        x, y = 8 * (number % 3), 8 * (number % 4)
        for at, colour, value in ((x, (220, 10, 10), 7), (x + 32, (10, 220, 10), 9)):
            image[y : y + 24, at : at + 16], mask[y : y + 24, at : at + 16] = colour, value
        mask[:2] = 255
        Image.fromarray(image).save(folder / "JPEGImages" / f"i{number}.png")
        Image.fromarray(mask).save(folder / "SegmentationClass" / f"i{number}.png")
    for split, numbers in (("train", range(12)), ("val", range(12, 16))):
        (folder / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"i{number}\n" for number in numbers))
    return folder


def test_labels_are_read_as_they_are_stored_and_void_is_left_out(labelled: Path) -> None:
    data = segmentation.read(labelled)
    assert (data.values, data.learnt, data.notes) == ((0, 7, 9), 3, ())
    found = segmentation.labels(data, data.test[0], 64)
    assert found[:2].unique().tolist() == [255]
    assert found[2:].unique().tolist() == [0, 1, 2]


def test_a_name_may_hold_spaces_and_the_list_a_byte_order_mark(labelled: Path) -> None:
    for part, suffix in (("JPEGImages", "png"), ("SegmentationClass", "png")):
        (labelled / part / f"i2.{suffix}").rename(labelled / part / f"my photo 2.{suffix}")
    (labelled / "ImageSets/Segmentation/train.txt").write_text("i0\nmy photo 2\ni1\n", encoding="utf-8-sig")
    assert [pair.id for pair in segmentation.read(labelled).train] == ["i0", "my photo 2", "i1"]


def spoil(case: str, folder: Path) -> None:
    mask = folder / "SegmentationClass" / "i3.png"
    match case:
        case "colours":
            Image.open(mask, formats=["PNG"]).convert("RGB").save(mask)
        case "size":
            Image.new("L", (60, 64)).save(mask)
        case "turned":
            image = Image.open(folder / "JPEGImages" / "i3.png", formats=["PNG"])
            exif = image.getexif()
            exif[0x0112] = 6
            image.save(folder / "JPEGImages" / "i3.png", exif=exif)
        case "broken":
            mask.write_bytes(b"no mask")
        case "path":
            (folder / "ImageSets/Segmentation/train.txt").write_text("i1\n../i3\n")
        case "twice":
            (folder / "ImageSets/Segmentation/train.txt").write_text("i1\ni12\ni2\n")
        case "none":
            (folder / "SegmentationClass").rename(folder / "other")
        case "one class":
            for file in (folder / "SegmentationClass").iterdir():
                Image.new("L", (64, 64)).save(file)


@pytest.mark.parametrize(
    ("case", "words"),
    [("colours", "mode RGB"), ("size", "60x64 px, but its image 64x64"), ("turned", "turned by its EXIF"),
     ("broken", "not a readable mask"), ("path", "is a path"), ("twice", "in train and in test"),
     ("none", "only matching and structure"), ("one class", "show 1 classes")],
)  # fmt: skip
def test_masks_that_do_not_fit_are_refused_in_a_line(case: str, words: str, labelled: Path) -> None:
    spoil(case, labelled)
    with pytest.raises(DataError, match=words) as refused:
        Linear().prepare(labelled, labelled)
    assert "\n" not in str(refused.value)


def test_a_class_of_test_that_train_never_shows_scores_0_and_is_told(labelled: Path, tmp_path: Path) -> None:
    mask = labelled / "SegmentationClass" / "i13.png"
    with Image.open(mask, formats=["PNG"]) as image:
        pixels = np.array(image)
    pixels[40:60, 40:60] = 3
    Image.fromarray(pixels).save(mask)
    benchmark = Linear("resnet18", 64)
    data = benchmark.prepare(labelled, tmp_path)
    assert benchmark.notes(data) == ["value 3 of test masks is in no train mask: it scores 0"]
    scores = benchmark.evaluate(saved(resnet18(), tmp_path / "b.pth", part=8), data, tmp_path, 0)
    assert np.isfinite([*scores.values()]).all()
    assert scores["colour_mIoU"] < 75


@pytest.mark.parametrize("kind", [Linear, Retrieval])
def test_colour_tells_classes_of_one_colour_each(
    kind: type[Linear] | type[Retrieval], labelled: Path, tmp_path: Path
) -> None:
    benchmark = kind("resnet18", 64)
    data, file = benchmark.prepare(labelled, tmp_path), saved(resnet18(), tmp_path / "b.pth", part=8)
    scores = benchmark.evaluate(file, data, tmp_path, 0)
    assert scores["colour_auroc"] > 95
    assert scores["colour_fg"] > 90
    assert set(scores) == {prefix + name for prefix in ("", "colour_")
                           for name in ("gain", "auroc", "fg", "mIoU", "mAcc", "pixel_acc")}  # fmt: skip
    grey = replace(benchmark, grey=True).evaluate(file, data, tmp_path, 0)
    assert grey["colour_gain"] < scores["colour_gain"]
    assert (tmp_path / f"{benchmark.name}.json").is_file()


def test_probes_of_one_backbone_share_one_reading_and_score_again_alike(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = saved(resnet18(), tmp_path / "b.pth", part=8)
    data = Linear(**SMALL).prepare(None, tmp_path / "cache")
    probe.read.cache_clear()
    first = [kind(**SMALL).evaluate(file, data, tmp_path, 0) for kind in (Linear, Retrieval)]
    assert probe.read.cache_info().misses == 1
    probe.read.cache_clear()
    assert [kind(**SMALL).evaluate(file, data, tmp_path, 0) for kind in (Linear, Retrieval)] == first
    changed = saved(resnet18(), file, part=8)
    assert Linear(**SMALL).evaluate(changed, data, tmp_path, 0) != first[0]


def test_labels_of_other_images_give_no_gain(labelled: Path, tmp_path: Path) -> None:
    """Masks of noise on the train images, and others on the test images."""
    for number, file in enumerate(sorted((labelled / "SegmentationClass").iterdir())):
        noise = np.random.default_rng(number).integers(0, 3, (4, 4), dtype=np.uint8)
        Image.fromarray(noise.repeat(16, 0).repeat(16, 1)).save(file)
    benchmark = Linear("resnet18", 64)
    data = benchmark.prepare(labelled, tmp_path)
    scores = benchmark.evaluate(saved(resnet18(), tmp_path / "b.pth", part=8), data, tmp_path, 0)
    assert scores["gain"] < 3


@pytest.mark.parametrize(
    ("field", "value"), [("stage", 2), ("stride", 4), ("size", 40), ("absent", "some"), ("calibrate", -1), ("cells", 0)]
)
def test_settings_that_read_nothing_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field}={value}"):
        Linear(**{field: value})  # type: ignore[arg-type]


def test_probes_are_chosen_by_their_names() -> None:
    assert [plugins.benchmark(name) for name in ("linear", "retrieval", "clusters")] == [Linear, Retrieval, Clusters]
