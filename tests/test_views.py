"""Augmented views: their boxes, their determinism, the order of the batches, and files that are no RGB photos."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from methods.recipe import Recipe
from methods.views import BrokenImage, Order, TwoViews, View, normalise, read, view
from tests.pictures import photos

PLAIN = Recipe(size=32, batch=4, epochs=3, jitter=0, grey=0, blur=0)


def ramp(width: int, height: int) -> Image.Image:
    """Red is x and green is y, in pixels."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, 0 * x], -1).astype(np.uint8))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_box_says_which_pixels_a_view_shows(flip: float) -> None:
    source = ramp(200, 150)
    for seed in range(20):
        torch.manual_seed(seed)
        shown = view(source, Recipe(size=32, jitter=0, grey=0, blur=0, flip=flip), 0)
        x0, y0, x1, y1 = shown.box.tolist()
        assert (x0 > x1) == bool(flip)
        cells = (torch.arange(32) + 0.5) / 32
        inner = slice(2, -2)  # the filter's support is cut at a crop's edge
        across, down = shown.image[0].float().mean(0), shown.image[1].float().mean(1)
        torch.testing.assert_close(across[inner], (x0 + cells * (x1 - x0) - 0.5)[inner], atol=1.0, rtol=0)
        torch.testing.assert_close(down[inner], (y0 + cells * (y1 - y0) - 0.5)[inner], atol=1.0, rtol=0)


def test_views_are_a_function_of_seed_epoch_and_index(tmp_path: Path) -> None:
    files = photos(tmp_path, 3)
    one, other = TwoViews(files, Recipe(size=32), seed=0), TwoViews(files, Recipe(size=32), seed=1)
    torch.manual_seed(5)
    first = one[0, 1]
    torch.manual_seed(6)
    assert torch.equal(first[0].image, one[0, 1][0].image)
    for changed in (one[1, 1], one[0, 2], other[0, 1]):
        assert not torch.equal(first[0].image, changed[0].image)
    assert not torch.equal(first[0].image, first[1].image)


def test_views_leave_the_global_generator_alone(tmp_path: Path) -> None:
    data = TwoViews(photos(tmp_path, 1), Recipe(size=32), seed=0)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    data[0, 0]
    assert torch.equal(torch.rand(3), expected)


def test_order_shows_every_image_once_an_epoch_and_can_start_anywhere() -> None:
    batches = list(Order(12, PLAIN, seed=0, start=0))
    assert len(batches) == len(Order(12, PLAIN, seed=0, start=0)) == 9
    for epoch in range(3):
        keys = [key for batch in batches[3 * epoch : 3 * epoch + 3] for key in batch]
        assert sorted(keys) == [(epoch, index) for index in range(12)]
    assert batches[0] != [(0, index) for _, index in batches[3]]
    for start in range(10):
        assert list(Order(12, PLAIN, seed=0, start=start)) == batches[start:]


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_grey_and_cmyk_photos_become_rgb(tmp_path: Path, mode: str) -> None:
    ramp(40, 30).convert(mode).save(tmp_path / "photo.jpg")
    assert read(tmp_path / "photo.jpg").mode == "RGB"


@pytest.mark.parametrize("keep", [0, 300])
def test_a_broken_photo_is_named(tmp_path: Path, keep: int) -> None:
    file = photos(tmp_path, 1)[0]
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(BrokenImage, match=r"0\.jpg: cannot be decoded"):
        read(file)


def test_normalise_is_torchvision_s() -> None:
    image = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    found = normalise(View(image, torch.zeros(1, 4), torch.zeros(1, 2), torch.zeros(1)), torch.device("cpu")).image[
        0, :, 0, 0
    ]
    torch.testing.assert_close(found, (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225]))
