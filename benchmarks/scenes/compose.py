"""Synthetic composites: cut-outs of rendered 3D models on photos, drawn from a seed, each object's place known.

All that decides a pixel is whole numbers (draws.py, pixels.py), so the scenes are the same on every machine.
"""

import functools
import hashlib
import io
import zipfile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.scenes import pixels
from benchmarks.scenes.draws import Draws
from benchmarks.scenes.layout import CLASSES, Layout, assets, rows, unknown
from benchmarks.scenes.pixels import ONE, Picture, fixed, ratio

SIDES = {"trainval": "train", "test": "test"}  # a written split -> the side of split.csv that it draws from
SOLID = 127  # alpha above which a pixel belongs to the object
OCCLUDED = 0.05  # share of an object's pixels behind others from which VOC calls it occluded
TRIES = 12  # sprites and places tried for one layer, each easier than the last
EASIEST = 2 * (TRIES - 1)  # ease of the last try; the first one's is 0, of a distractor half of this
TINT = 3  # a colour is changed by a third of what brightness is

Transform = tuple[tuple[float, float, float], tuple[float, float, float]]


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
    sprites: tuple[str, ...]  # N, the file in assets.zip that shows the object
    transforms: tuple[Transform, ...]  # N, rows of the affine map from x, y, 1 in the sprite to x, y in the image, px

    @property
    def digest(self) -> str:
        """The sha256 of pixels, masks, boxes, labels, sprites and their places: the same on every machine."""
        facts = self.boxes.tolist(), self.labels, self.truncated, self.occluded, self.sprites, self.transforms
        content = hashlib.sha256(repr((self.image.shape, facts)).encode())
        for array in (self.image, self.instances, self.classes):
            content.update(array.tobytes())
        return content.hexdigest()


class Layer(NamedTuple):
    """One sprite at its place."""

    pixels: Picture  # [h, w, 4] within the image, as lit in its file
    place: tuple[slice, slice]  # rows and columns of the image that they cover
    mask: NDArray[np.bool_]  # [H, W] solid pixels in the image
    total: int  # solid pixels, those beyond the edge included
    label: str  # "" for a distractor
    sprite: str  # its file in assets.zip
    transform: Transform  # from the file's pixels to the image's


class Pose(NamedTuple):
    """A sprite mirrored or not, turned, trimmed and scaled, before it has a place."""

    picture: Picture
    transform: Transform  # from the file's pixels to the picture's


def compose(layout: Layout, seed: int, split: str, index: int) -> Scene:
    """Return scene `index` of a split ('trainval' or 'test'), a pure function of these arguments."""
    check(split, seed, index)
    draws, colours = Draws(seed, split, index), Draws(seed, split, index, "recolour")
    canvas = _background(draws, layout, SIDES[split])[..., :3].copy()
    layers = _arrange(draws, layout, SIDES[split])
    for layer in layers:
        picture = _recoloured(colours, layout.recolour, layer.pixels)
        pixels.paint(canvas[layer.place], _relit(draws, layout.light, picture))
    sigma = draws.between(0, fixed(layout.blur * layout.size))
    return _annotate(pixels.blurred(canvas, sigma), layers)


def check(split: str, seed: int, number: int) -> None:
    """Raise ValueError unless the split exists and neither number is negative."""
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
    for row in rows():
        kind = models.setdefault((row["class"] or row["kind"], row["split"]), {})
        kind.setdefault(row["model"], []).append(row["file"])
    return {kind: tuple(map(tuple, files.values())) for kind, files in models.items()}


def _pick(draws: Draws, kind: str, side: str) -> str:
    """Draw a file of a kind, every model with the same chance whatever its number of views."""
    return draws.among(draws.among(_catalogue()[kind, side]))


@functools.cache
def asset(file: str) -> Picture:
    """Return a cut-out or a photo as a picture (pixels.py)."""
    with Image.open(io.BytesIO(_archive().read(file))) as image:
        return pixels.premultiplied(np.asarray(image.convert("RGBA")))


@functools.cache
def _photo(file: str, least: int) -> Picture:
    """Return a background shrunk until its shorter side has `least` pixels, as no crop needs more."""
    photo = asset.__wrapped__(file)  # not kept at its full size
    height, width = photo.shape[:2]
    least = min(least, height, width)
    size = ratio(width, least, min(height, width)), ratio(height, least, min(height, width))
    return pixels.resized(photo, size, pixels.sharp)


# Drawing


def _background(draws: Draws, layout: Layout, side: str) -> Picture:
    """Return a relit square crop [H, W, 4] of half to all of a photo's shorter side."""
    photo = _photo(_pick(draws, "background", side), 2 * layout.size)
    height, width = photo.shape[:2]
    crop = draws.between(min(height, width) // 2, min(height, width))
    x, y = draws.between(0, width - crop), draws.between(0, height - crop)
    square = pixels.resized(photo[y : y + crop, x : x + crop], (layout.size, layout.size), pixels.sharp)
    return _relit(draws, layout.light, pixels.mirrored(square) if draws.below(2) else square)


def _arrange(draws: Draws, layout: Layout, side: str) -> list[Layer]:
    """Return layers from back to front in which each object is visible enough to be labelled."""
    kinds = [True] * draws.between(*layout.objects) + [False] * draws.between(*layout.distractors)
    layers: list[Layer] = []
    for wanted in draws.shuffled(kinds):
        # Distractors start smaller, so that they do not hide the objects.
        for ease in range(0, EASIEST + 1, 2) if wanted else range(EASIEST // 2, EASIEST + 1):
            layer = _layer(draws, layout, side, draws.among(layout.classes) if wanted else "", ease)
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


def _layer(draws: Draws, layout: Layout, side: str, label: str, ease: int) -> Layer:
    """Return a sprite at a random place; the easiest is smallest and wholly inside, where a first one always fits."""
    file = _pick(draws, label or "distractor", side)
    pose = _posed(draws, layout, asset(file), ease)
    height, width = pose.picture.shape[:2]
    cut = fixed(layout.cut) * (EASIEST - ease) // EASIEST
    x = draws.between(-cut * width, layout.size * ONE - (ONE - cut) * width)
    # No object ends in the image's upper half, so that few of them float in the sky.
    highest = max(layout.size * ONE // 2, (ONE - cut) * height)
    bottom = draws.between(highest, layout.size * ONE + cut * height)
    return _placed(layout.size, pose, x // ONE, bottom // ONE - height, label, file)


def _placed(size: int, pose: Pose, x: int, y: int, label: str, file: str) -> Layer:
    """Return the layer of a sprite whose upper left corner x, y may be negative."""
    solid = pose.picture[..., 3] > SOLID
    inside = np.s_[max(0, -y) : size - y, max(0, -x) : size - x]
    place = np.s_[max(0, y) : y + len(solid), max(0, x) : x + solid.shape[1]]
    mask = np.zeros((size, size), np.bool_)
    mask[place] = solid[inside]
    (a, b, c), (d, e, f) = pose.transform
    moved = (a, b, c + x), (d, e, f + y)
    return Layer(pose.picture[inside], place, mask, int(np.count_nonzero(solid)), label, file, moved)


def _posed(draws: Draws, layout: Layout, sprite: Picture, ease: int) -> Pose:
    """Return the sprite mirrored or not, turned, trimmed and scaled to its extent."""
    low, high = (fixed(share * layout.size) for share in layout.extent)
    extent = draws.between(low, high - (high - low) * ease // EASIEST)
    factor = max(1, max(sprite.shape[:2]) * ONE // extent)
    shrunk, flip = pixels.shrunk(sprite, factor), (1, -1)[draws.below(2)]  # fewer pixels to turn
    limit = round(layout.rotation * pixels.DEGREE)
    angle = draws.between(-limit, limit)
    turned = pixels.turned(shrunk[:, ::flip], angle)
    trimmed, left, top = pixels.trimmed(turned)
    height, width = (max(1, ratio(side, extent, max(trimmed.shape[:2]) * ONE)) for side in trimmed.shape[:2])
    picture = pixels.resized(trimmed, (width, height), pixels.soft)
    across, down = width / trimmed.shape[1], height / trimmed.shape[0]
    cos, sin = (part / ONE for part in pixels.direction(angle))
    x0, y0 = -flip * shrunk.shape[1] / 2, -shrunk.shape[0] / 2  # where the file's corner lies from the centre
    x1, y1 = turned.shape[1] / 2 - left, turned.shape[0] / 2 - top  # where the centre lies after the trim
    transform = (
        (across * cos * flip / factor, -across * sin / factor, across * (cos * x0 - sin * y0 + x1)),
        (down * sin * flip / factor, down * cos / factor, down * (sin * x0 + cos * y0 + y1)),
    )
    return Pose(picture, transform)


def _relit(draws: Draws, light: float, picture: Picture) -> Picture:
    """Return a picture in another brightness, contrast and tint."""
    most = fixed(light)
    contrast, brightness = (ONE + draws.between(-most, most) for _ in range(2))
    tint = [brightness * (ONE + draws.between(-most // TINT, most // TINT)) // ONE for _ in range(3)]
    gain = tuple(contrast * colour // ONE for colour in tint)
    lift = tuple((ONE - contrast) * colour // (2 * ONE) for colour in tint)
    return pixels.relit(picture, gain, lift)


def _recoloured(draws: Draws, share: float, picture: Picture) -> Picture:
    """Return a picture of which a share of the colours gives way to shades of a random colour, whatever it shows."""
    if not share:
        return picture
    colour = tuple(draws.between(0, 2 * ONE) for _ in range(3))
    return pixels.recoloured(picture, colour, fixed(share))


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
        sprites=tuple(layer.sprite for layer, _ in seen),
        transforms=tuple(layer.transform for layer, _ in seen),
    )


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the extent x0, y0, x1, y1 of a mask [H, W] with at least one pixel, half-open."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1
