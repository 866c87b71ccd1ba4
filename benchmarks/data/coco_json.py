"""Annotations of COCO: images, categories and objects, read from a JSON file of anybody's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as shown
from typing import Any, NamedTuple

from benchmarks.data.flaws import DataError, Findings

SLACK = 1  # px by which a box may leave its image, by rounding
SIDE = 65_535  # px: a JPEG has no longer one
MOST = 2**53  # ids above lose digits in COCO's evaluation
OVER_EDGE = "boxes that reach over the edge of their image, cut off there"

Entry = Mapping[str, Any]


class CocoError(DataError):
    """A COCO folder that cannot be used; the message names the file and what is wrong with it, in one line."""


class Rules(NamedTuple):
    """What an annotation file must have."""

    least: int = 1  # of an object's id: COCO's evaluation takes the id 0 for "no match"
    masks: bool = True  # whether every object has one
    areas: bool = True  # whether every object has one
    mends: bool = False  # whether a box over the edge of its image is cut off instead of refused


def parse(path: Path) -> tuple[object, hashlib._Hash]:
    """Return the file's content and the SHA-256 of its bytes; like detectron2, accept no byte order mark."""
    try:
        raw = path.read_bytes()
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant), hashlib.sha256(raw)
    except OSError as error:
        raise CocoError(f"{path}: unreadable: {error.strerror}") from None
    except RecursionError:
        raise CocoError(f"{path}: malformed JSON: nested too deeply") from None
    except ValueError as error:
        raise CocoError(f"{path}: malformed JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def table(content: object, key: str, path: Path, findings: Findings, least: int = 0) -> dict[int, Entry]:
    """Return id → entry of one of the file's lists; a missing list, or an id that is none, enters the findings."""
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        findings.flaws.append(f"{path}: no list of {key}")
        return {}
    found: dict[int, Entry] = {}
    for entry in entries:
        id = entry.get("id") if isinstance(entry, dict) else None
        with findings.collected():
            if type(id) is not int or not least <= id <= MOST:
                raise CocoError(f"{path}: an entry of {key} has the id {shown(id)}, a whole number was expected")
            if id in found:
                raise CocoError(f"{path}: the id {id} is twice in {key}")
            found[id] = entry
    return found


def _is_whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most  # JSON's true is an int to isinstance


def printable(entry: Entry, key: str, path: Path) -> str:
    """Return a field's text, which must be printable: JSON can hold half a surrogate pair, which cannot be encoded."""
    text = entry.get(key)
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise CocoError(f"{path}: id {entry['id']}: {key} is {shown(text)}, a text was expected")
    return text


def image_name(entry: Entry, path: Path) -> str:
    """Return the name of an image whose sides are whole numbers of pixels."""
    name = printable(entry, "file_name", path)
    for side in ("width", "height"):
        if not _is_whole(entry.get(side), 1, SIDE):
            raise CocoError(f"{path}: image {shown(name)}: {side} is {shown(entry.get(side))}, pixels were expected")
    return name


def check(
    entry: Entry, images: Mapping[int, Entry], categories: Mapping[int, str], where: str, rules: Rules,
    findings: Findings,
) -> None:  # fmt: skip
    """Raise CocoError for an object that cannot be learnt or scored; what the rules mend enters the findings."""
    for key, known in (("image_id", images), ("category_id", categories)):
        if type(entry.get(key)) is not int or entry[key] not in known:
            raise CocoError(f"{where}: {key} is {shown(entry.get(key))}, which the file does not list")
    if not _is_whole(entry.get("iscrowd", 0), 0, 1):  # where tools leave it out, everybody reads 0
        raise CocoError(f"{where}: iscrowd is {shown(entry['iscrowd'])}, 0 or 1 was expected")
    if entry.get("ignore", 0) != 0:
        raise CocoError(f"{where}: ignore is {shown(entry['ignore'])}, which detectron2 does not know")
    if rules.areas and not _are_numbers([entry.get("area")], 0, SIDE**2):
        raise CocoError(f"{where}: area is {shown(entry.get('area'))}, square pixels were expected")
    image = images[entry["image_id"]]
    width, height = image["width"], image["height"]
    x, y, wide, high = box = _box(entry.get("bbox"), where)
    text = f"{where}: bbox {' '.join(f'{value:g}' for value in box)} leaves the image, {width}x{height}"
    if rules.mends and not (x < width and y < height and x + wide > 0 and y + high > 0):
        raise CocoError(f"{text}, wholly")
    if min(x, y) < -SLACK or x + wide > width + SLACK or y + high > height + SLACK:
        if not rules.mends:
            raise CocoError(text)
        findings.mend(OVER_EDGE, text)
    if rules.masks:
        _check_mask(entry, width, height, where)


def _are_numbers(values: Sequence[Any], least: float, most: float) -> bool:
    """Return whether all values are numbers in the range; the parser has refused NaN."""
    return set(map(type, values)) <= {int, float} and least <= min(values) and max(values) <= most


def _box(box: object, where: str) -> list[float]:
    """Return x, y, width and height of a box in pixels; CocoError for one without area."""
    if not (isinstance(box, list) and len(box) == 4 and _are_numbers(box, -SIDE, SIDE)):
        raise CocoError(f"{where}: bbox is {shown(box)}, x y width height in pixels were expected")
    x, y, wide, high = box
    # train2017 has two boxes without height (cocoapi issue 355), which detectron2 leaves out
    if min(wide, high) < 0 or max(wide, high) == 0:
        raise CocoError(f"{where}: bbox {x:g} {y:g} {wide:g} {high:g} has no area")
    return box


def _check_mask(entry: Entry, width: int, height: int, where: str) -> None:
    mask = entry.get("segmentation")
    if entry.get("iscrowd", 0) and isinstance(mask, dict):
        if not _is_rle(mask, width, height):
            raise CocoError(f"{where}: segmentation is {shown(mask)}, an uncompressed RLE of the image was expected")
    elif not (isinstance(mask, list) and mask and all(_is_polygon(part, max(width, height)) for part in mask)):
        raise CocoError(f"{where}: segmentation is {shown(mask)}, a list of polygons was expected")
    elif len(mask[0]) < 6:  # COCO's evaluation would take it for a box; detectron2 leaves out such a one farther on
        raise CocoError(f"{where}: segmentation begins with {len(mask[0])} coordinates, at least 6 were expected")


def _is_rle(mask: Entry, width: int, height: int) -> bool:
    counts, size = mask.get("counts"), mask.get("size")
    whole = isinstance(counts, list) and all(_is_whole(count, 0, width * height) for count in counts)
    return whole and size == [height, width] and sum(mask["counts"]) == width * height


def _is_polygon(part: object, side: int) -> bool:
    """Return whether a part is pairs of numbers near the image: drawing a polygon takes memory in proportion to it."""
    return isinstance(part, list) and part != [] and len(part) % 2 == 0 and _are_numbers(part, -side, 2 * side)
