"""What the loader leaves out and the device makes up for: the same bits as torchvision's own pipeline."""

from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch.utils.data import DataLoader, default_collate
from torchvision.transforms import ColorJitter, RandomResizedCrop
from torchvision.transforms import functional as F

from methods import augment
from methods.augment import colour
from methods.cache import GIB, Cache
from methods.recipe import Recipe
from methods.views import (
    BrokenImage,
    Order,
    Source,
    TwoViews,
    draw_both,
    frame,
    happens,
    make_raw_view,
    make_view,
    read,
)
from tests.pictures import photos

RECIPE = Recipe(size=32, batch=4, epochs=2)
CPU = torch.device("cpu")


def torchvision_view(source: Image.Image, recipe: Recipe) -> torch.Tensor:
    """SimSiam's augmentation as its authors wrote it, with torchvision's classes and PIL."""
    top, left, height, width = RandomResizedCrop.get_params(source, [recipe.crop, 1.0], [3 / 4, 4 / 3])
    image = F.resized_crop(source, top, left, height, width, [recipe.size, recipe.size], antialias=True)
    if happens(recipe.jitter):
        image = ColorJitter(0.4, 0.4, 0.4, 0.1)(image)
    if happens(recipe.grey):
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if happens(recipe.blur):
        image = image.filter(ImageFilter.GaussianBlur(radius=float(torch.empty(()).uniform_(0.1, 2.0))))
    if happens(recipe.flip):
        image = F.hflip(image)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def picture(number: int) -> Image.Image:
    """Noise, or smooth colours: a photo's hues lie close together."""
    random = np.random.default_rng(number)
    pixels = random.integers(0, 256, (60, 80, 3) if number % 2 else (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((80, 60), Image.Resampling.BICUBIC)


def test_both_paths_make_the_bits_of_torchvision_s_pipeline() -> None:
    made = []
    for number in range(200):
        source = Source(picture(number), (80, 60))
        torch.manual_seed(number)
        expected = [torchvision_view(source.image, RECIPE) for _ in range(2)]
        for plan, wanted in zip(draw_both(source.frame, RECIPE, number), expected, strict=True):
            assert torch.equal(make_view(source, plan, 32, number).image, wanted)
            made.append((make_raw_view(source, plan, 32, number), wanted))
    batch, wanted = default_collate(made)
    (view,) = colour([batch], CPU)
    image = view.image
    assert image.dtype == torch.uint8
    assert torch.equal(image, wanted)


@pytest.mark.parametrize("turn", range(4))
def test_each_turn_is_torchvision_s_for_every_image_s_own_amount(turn: int) -> None:
    ours, theirs = augment.COLOR_OPS[turn], (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    amounts = torch.linspace(*((-0.1, 0.1) if turn == 3 else (0.6, 1.4)), 11)
    images = [picture(number) for number in range(11)]
    pixels = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    for image, amount, got in zip(images, amounts.tolist(), ours(pixels, amounts), strict=True):
        assert np.array_equal(got.permute(1, 2, 0), np.array(theirs[turn](image, amount)))


def test_the_blur_is_pillow_s_for_every_image_s_own_sigma() -> None:
    sigmas = torch.linspace(0.1, 2.0, 20)
    images = [picture(number) for number in range(20)]
    pixels = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    blurred = augment.blur(pixels, augment.boxes(sigmas.numpy()))
    for image, sigma, got in zip(images, sigmas.tolist(), blurred, strict=True):
        assert np.array_equal(got.permute(1, 2, 0), np.array(image.filter(ImageFilter.GaussianBlur(sigma))))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("turn", augment.COLOR_OPS)
def test_a_gpu_turns_every_colour_there_is_as_a_cpu_does(turn: augment.ColorOp, compiled: bool) -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    colours = torch.cartesian_prod(levels, levels, levels).T.reshape(3, 4, 2048, 2048).movedim(1, 0).contiguous()
    for amount in torch.linspace(*((-0.1, 0.1) if turn is augment.hue else (0.6, 1.4)), 4).split(1):
        amounts = amount.expand(4)
        got = (augment.compiled(turn) if compiled else turn)(colours.cuda(), amounts.cuda())
        assert torch.equal(got.cpu(), turn(colours, amounts))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch finds no CUDA device here"))])  # fmt: skip
def test_compiled_colours_have_the_same_bits(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = torch.compile
    if device == "cpu":  # where torch's own compiler needs minutes
        monkeypatch.setattr(torch, "compile", lambda turn, options: compiled(turn, backend="aot_eager"))
    augment.compiled.cache_clear()
    views = [make_raw_view(Source(picture(n), (80, 60)), *draw_both((80, 60), RECIPE, n)[:1], 32, n) for n in range(64)]
    batches = [default_collate(views[:32]), default_collate(views[32:])]
    for got, wanted in zip(colour(batches, torch.device(device), True), colour(batches, CPU), strict=True):
        assert torch.equal(got.image.cpu(), wanted.image)
    assert augment.compiled.cache_info().currsize == len(augment.COLOR_OPS) + 1
    augment.compiled.cache_clear()


def sources(folder: Path) -> list[Path]:
    """Smooth JPEGs of 320 × 240 px, large beside a view."""
    folder.mkdir(exist_ok=True)
    for number in range(4):
        picture(2 * number).resize((320, 240), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=95)
    return sorted(folder.iterdir())


def test_a_reduced_decoding_keeps_the_boxes_and_changes_smooth_images_little(tmp_path: Path) -> None:
    plain, calm = Recipe(size=32, jitter=0, grey=0, blur=0), sources(tmp_path)
    whole, reduced = TwoViews(calm, plain, 0), TwoViews(calm, plain, 0, reduced=True)
    changed = 0
    for index in range(4):
        for one, other in zip(whole[0, index], reduced[0, index], strict=True):
            assert all(torch.equal(*pair) for pair in zip(one[1:], other[1:], strict=True))
            difference = (one.image.int() - other.image.int()).abs()
            changed += int(difference.sum())
            assert difference.float().mean() < 3
    assert changed


def test_a_reduced_decoding_never_has_fewer_pixels_than_the_view(tmp_path: Path) -> None:
    data = TwoViews(sources(tmp_path), RECIPE, 0, reduced=True)
    factors = set()
    for seed in range(40):
        (image, (width, height)), plans = data.read_reduced(0, seed)
        assert image.size[0] / width == image.size[1] / height
        factors.add(width // image.size[0])
        assert all(side * image.size[0] / width >= RECIPE.size for plan in plans for side in plan.window[2:])
    assert factors >= {2, 4}


def count(file: Path, log: Path) -> Image.Image:
    """Decode, and leave a mark."""
    with open(log, "a") as out:
        out.write("x")
    return read(file)


def test_the_cache_decodes_once_what_fits_and_has_the_same_pixels(tmp_path: Path) -> None:
    files, log = photos(tmp_path / "photos", 4), tmp_path / "log"
    cache = Cache(files, frame, 3 * 3 * 40 * 30 / GIB)
    assert len(cache.places) == 3
    for _ in range(3):
        for index, file in enumerate(files):
            assert np.array_equal(np.array(cache.read(index, partial(count, file, log))), np.array(read(file)))
    assert len(log.read_text()) == 3 + 3


def test_the_cache_is_shared_by_processes(tmp_path: Path) -> None:
    files, log = photos(tmp_path / "photos", 2), tmp_path / "log"
    cache = Cache(files, frame, 1e-3)
    for _ in range(3):
        child = get_context("fork").Process(target=cache.read, args=(1, partial(count, files[1], log)))
        child.start()
        child.join()
        assert child.exitcode == 0
    assert np.array_equal(np.array(cache.read(1, partial(count, files[1], log))), np.array(read(files[1])))
    assert log.read_text() == "x"


@pytest.mark.parametrize("colours", [True, False])
def test_a_loader_with_a_cache_and_many_workers_gives_the_same_views(tmp_path: Path, colours: bool) -> None:
    files, order = photos(tmp_path, 8), Order(8, RECIPE, 0, 0)
    cache = Cache(files, frame, 5 * 3600 / GIB)
    plain = DataLoader(TwoViews(files, RECIPE, 0), batch_sampler=order)
    cached = DataLoader(
        TwoViews(files, RECIPE, 0, colours, cache=cache),
        batch_sampler=order,
        num_workers=2,
        multiprocessing_context="fork",
    )
    for pair, other in zip(plain, cached, strict=True):
        for one, two in zip(pair, other, strict=True):
            made = two if colours else colour([two], CPU)[0]
            assert all(torch.equal(*parts) for parts in zip(one, made, strict=True))
    assert list(cache.kept) == [1] * 5


def test_a_cache_leaves_no_file_behind_and_names_a_broken_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "space"))
    (tmp_path / "space").mkdir()
    files = photos(tmp_path / "photos", 2)
    Cache(files, frame, 1e-3).read(0, partial(read, files[0]))
    assert not list((tmp_path / "space").iterdir())
    files[1].write_bytes(b"")
    with pytest.raises(BrokenImage, match=r"1\.jpg: cannot be decoded"):
        Cache(files, frame, 1e-3)
