"""Synthetic composites: cut-outs of rendered 3D models on photos, from a seed."""

import csv
import functools
import io
import zipfile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.scenes.layout import CLASSES, HERE, Layout, assets, unknown

SIDES = {"trainval": "train", "test": "test"}  # a written split -> the side of split.csv that it draws from
SOLID = 127  # alpha above which a pixel belongs to the object
OCCLUDED = 0.05  # share of an object's pixels behind others from which VOC calls it occluded
TRIES = 12  # sprites and places tried for one layer, each easier than the last
HORIZON = 0.5  # share of the image's height above which no object ends, so that few of them float in the sky


class Scene(NamedTuple):
    """One composed image of N labelled objects, back to front, that each own at least one pixel."""

    image: NDArray[np.uint8]  # [H, W, 3] RGB
    boxes: NDArray[np.int64]  # [N, 4] x0, y0, x1, y1 of the visible pixels, half-open
    labels: tuple[str, ...]  # N
    instances: NDArray[np.uint8]  # [H, W] 0 background, 1..N
    classes: NDArray[np.uint8]  # [H, W] 0 background, else 1 + the label's place in CLASSES
    visible: tuple[float, ...]  # N, share of the object's pixels inside the image and uncovered
    truncated: tuple[bool, ...]  # N, cut by the image's edge
    occluded: tuple[bool, ...]  # N, more than 5 % of its pixels in the image behind something


class Layer(NamedTuple):
    """One sprite at its place."""

    pixels: NDArray[np.float32]  # [h, w, 4] premultiplied RGB and alpha, 0..255, within the image
    place: tuple[slice, slice]  # rows and columns of the image that they cover
    mask: NDArray[np.bool_]  # [H, W] solid pixels in the image
    total: int  # solid pixels, those beyond the edge included
    label: str  # "" for a distractor


def compose(layout: Layout, seed: int, split: str, index: int) -> Scene:
    """Return scene `index` of a split ('trainval' or 'test'), a pure function of these arguments."""
    check(split, seed, index)
    rng = np.random.default_rng([seed, list(SIDES).index(split), index])
    canvas = _background(rng, layout, SIDES[split])
    layers = _arrange(rng, layout, SIDES[split])
    for layer in layers:
        canvas[layer.place] *= 1 - layer.pixels[..., 3:] / 255
        canvas[layer.place] += layer.pixels[..., :3]
    image = Image.fromarray(np.rint(canvas).clip(0, 255).astype(np.uint8))
    sigma = rng.uniform(0, layout.blur) * layout.size
    return _annotate(np.asarray(image.filter(ImageFilter.GaussianBlur(sigma))), layers)


def check(split: str, seed: int, number: int) -> None:
    if split not in SIDES:
        raise ValueError(unknown("split", split, SIDES))
    if seed < 0 or number < 0:
        raise ValueError(f"scene {number} of seed {seed} in {split}: neither number may be negative")


# Assets


@functools.cache
def _archive() -> zipfile.ZipFile:
    # Held in memory, since an open file's position would be shared by forked loader workers.
    return zipfile.ZipFile(io.BytesIO(assets()))


@functools.cache
def _catalogue() -> dict[tuple[str, str], tuple[tuple[str, ...], ...]]:
    """Return (class, or kind where there is none; side) → models, each with its files."""
    models: dict[tuple[str, str], dict[str, list[str]]] = {}
    with open(HERE / "split.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kind = models.setdefault((row["class"] or row["kind"], row["split"]), {})
            kind.setdefault(row["model"], []).append(row["file"])
    return {kind: tuple(map(tuple, files.values())) for kind, files in models.items()}


def _pick(rng: np.random.Generator, kind: str, side: str) -> str:
    """Draw a file of a kind, every model with the same chance whatever its number of views."""
    models = _catalogue()[kind, side]
    views = models[rng.integers(len(models))]
    return views[rng.integers(len(views))]


@functools.cache
def _sprite(file: str) -> Image.Image:
    """Return a cut-out in premultiplied colours (mode RGBa), which can be scaled and turned without a halo."""
    return Image.open(io.BytesIO(_archive().read(file))).convert("RGBa")


@functools.cache
def _photo(file: str, least: int) -> Image.Image:
    """Return a background, shrunk until its shorter side has about `least` pixels, since no crop needs more."""
    photo = Image.open(io.BytesIO(_archive().read(file))).convert("RGB")
    scale = min(1.0, least / min(photo.size))
    return photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)


# Drawing


def _background(rng: np.random.Generator, layout: Layout, side: str) -> NDArray[np.float32]:
    """Return a relit square crop [H, W, 3] of half to all of a photo's shorter side."""
    photo = _photo(_pick(rng, "background", side), 2 * layout.size)
    crop = rng.uniform(0.5, 1) * min(photo.size)
    x, y = rng.uniform(0, photo.width - crop), rng.uniform(0, photo.height - crop)
    square = photo.resize((layout.size, layout.size), Image.Resampling.BICUBIC, (x, y, x + crop, y + crop))
    pixels = np.asarray(_mirrored(rng, square), np.float32)
    return _relit(rng, layout.light, pixels, np.full((layout.size, layout.size, 1), 255, np.float32))


def _arrange(rng: np.random.Generator, layout: Layout, side: str) -> list[Layer]:
    """Return layers from back to front in which each object is visible enough to be labelled."""
    objects = rng.integers(*layout.objects, endpoint=True)
    kinds = [True] * objects + [False] * rng.integers(*layout.distractors, endpoint=True)
    layers: list[Layer] = []
    for wanted in rng.permutation(kinds):
        # Distractors start smaller, so that they do not hide the objects.
        for ease in np.linspace(0 if wanted else 0.5, 1, TRIES):
            label = layout.classes[rng.integers(len(layout.classes))] if wanted else ""
            layer = _layer(rng, layout, side, label, ease)
            if _fits(layout, [*layers, layer]):
                layers.append(layer)
                break
    return layers


def _fits(layout: Layout, layers: list[Layer]) -> bool:
    seen = zip(layers, _uncovered(layers), strict=True)
    return all(mask.sum() >= max(1, layout.visible * layer.total) for layer, mask in seen if layer.label)


def _uncovered(layers: list[Layer]) -> list[NDArray[np.bool_]]:
    """Return the pixels [H, W] of each layer that no later layer covers."""
    seen, covered = [], np.zeros_like(layers[0].mask)
    for layer in reversed(layers):
        seen.append(layer.mask & ~covered)
        covered = covered | layer.mask
    return seen[::-1]


def _layer(rng: np.random.Generator, layout: Layout, side: str, label: str, ease: float) -> Layer:
    """Return a sprite at a random place; at ease 1 smallest and wholly inside, where a first object always fits."""
    sprite = _posed(rng, layout, _sprite(_pick(rng, label or "distractor", side)), ease)
    cut = (1 - ease) * layout.cut
    x = rng.uniform(-cut * sprite.width, layout.size - (1 - cut) * sprite.width)
    highest = max(HORIZON * layout.size, (1 - cut) * sprite.height)
    bottom = rng.uniform(highest, layout.size + cut * sprite.height)
    return _placed(rng, layout, sprite, (int(x), int(bottom) - sprite.height), label)


def _placed(
    rng: np.random.Generator, layout: Layout, sprite: Image.Image, corner: tuple[int, int], label: str
) -> Layer:
    """Return the relit layer of a sprite, the coordinates of whose upper left corner x, y may be negative."""
    x, y = corner
    whole = np.asarray(sprite, np.float32)
    total = int(np.count_nonzero(whole[..., 3] > SOLID))
    pixels = whole[max(0, -y) : layout.size - y, max(0, -x) : layout.size - x]
    rgb = _relit(rng, layout.light, pixels[..., :3], pixels[..., 3:])
    place = np.s_[max(0, y) : y + whole.shape[0], max(0, x) : x + whole.shape[1]]
    mask = np.zeros((layout.size, layout.size), np.bool_)
    mask[place] = pixels[..., 3] > SOLID
    return Layer(np.concatenate([rgb, pixels[..., 3:]], axis=2), place, mask, total, label)


def _posed(rng: np.random.Generator, layout: Layout, sprite: Image.Image, ease: float) -> Image.Image:
    """Return the sprite mirrored or not, turned, trimmed and scaled to its extent."""
    low, high = layout.extent
    extent = rng.uniform(low, high - ease * (high - low)) * layout.size
    sprite = _mirrored(rng, sprite.reduce(max(1, int(max(sprite.size) / extent))))  # fewer pixels to turn
    angle = rng.uniform(-layout.rotation, layout.rotation)
    sprite = sprite.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    sprite = sprite.crop(sprite.getbbox())
    width, height = (max(1, round(side * extent / max(sprite.size))) for side in sprite.size)
    return sprite.resize((width, height), Image.Resampling.HAMMING)  # does not ring, as bicubic does


def _mirrored(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def _relit(
    rng: np.random.Generator, light: float, rgb: NDArray[np.float32], alpha: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return premultiplied colours [H, W, 3] in another brightness, contrast and tint, at most alpha [H, W, 1]."""
    contrast = rng.uniform(1 - light, 1 + light)
    tint = rng.uniform(1 - light, 1 + light) * rng.uniform(1 - light / 3, 1 + light / 3, 3)
    gain, lift = (contrast * tint).astype(np.float32), ((1 - contrast) / 2 * tint).astype(np.float32)
    return np.clip(rgb * gain + alpha * lift, 0, alpha)


def _annotate(image: NDArray[np.uint8], layers: list[Layer]) -> Scene:
    seen = [(layer, mask) for layer, mask in zip(layers, _uncovered(layers), strict=True) if layer.label]
    instances, classes = np.zeros((2, *image.shape[:2]), np.uint8)
    for number, (layer, mask) in enumerate(seen, 1):
        instances[mask] = number
        classes[mask] = CLASSES.index(layer.label) + 1
    return Scene(
        image=image,
        boxes=np.array([_box(mask) for _, mask in seen]),
        labels=tuple(layer.label for layer, _ in seen),
        instances=instances,
        classes=classes,
        visible=tuple(float(mask.sum() / layer.total) for layer, mask in seen),
        truncated=tuple(bool(layer.mask.sum() < layer.total) for layer, _ in seen),
        occluded=tuple(bool(mask.sum() < (1 - OCCLUDED) * layer.mask.sum()) for layer, mask in seen),
    )


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the extent x0, y0, x1, y1, half-open, of a mask [H, W] with at least one pixel."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1
