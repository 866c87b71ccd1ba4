"""Scenes as a Pascal VOC folder that is the same everywhere: pictures without loss, and a hash of what they show."""

import functools
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.scenes.compose import Scene, check, compose
from benchmarks.scenes.layout import HERE, Layout, record

PICTURES = ("JPEGImages", "SegmentationClass", "SegmentationObject")
FOLDERS = (*PICTURES, "Annotations", "ImageSets/Main")
BLOCK = 65_535  # bytes of an uncompressed block, at most


def write(folder: str | Path, layout: Layout, counts: Mapping[str, int], seed: int, progress: bool) -> None:
    """Write a Pascal VOC folder of `counts` scenes a split atomically; FileExistsError unless new or empty.

    instances.jsonl has a line an image: of each object, in the annotation's order, the sprite and the affine map from
    the sprite's pixels to the image's. scenes.json has what the scenes were made from, and their `content`.
    """
    for split, count in counts.items():
        check(split, seed, count)
    with _whole(Path(os.path.realpath(folder))) as part:
        for name in FOLDERS:
            (part / name).mkdir(parents=True)
        for split, count in counts.items():
            names = "".join(f"{split}_{index:06d}\n" for index in range(count))
            (part / "ImageSets" / "Main" / f"{split}.txt").write_text(names)
        with open(part / "instances.jsonl", "w", encoding="utf-8") as instances:
            for split, index in _bar(counts, progress):
                scene, name = compose(layout, seed, split, index), f"{split}_{index:06d}"
                _save(part, name, scene)
                instances.write(json.dumps({"image": name, "objects": _instances(scene)}) + "\n")
        shutil.copyfile(HERE / "CREDITS.md", part / "CREDITS.md")
        facts = record(layout, counts, seed) | {"content": content(part)}
        (part / "scenes.json").write_text(json.dumps(facts, indent=2) + "\n")


def write_jpegs(folder: Path, layout: Layout, count: int) -> list[Path]:
    """Write the first train scenes of seed 0 as JPEGs, as photos come, so that their decoding can be timed."""
    files = [folder / f"{index:06d}.jpg" for index in range(count)]
    for index, file in enumerate(files):
        Image.fromarray(compose(layout, 0, "trainval", index).image).save(file, quality=95)
    return files


def content(folder: Path) -> str:
    """Return the sha256 of a written folder: of lists, annotations, and the decoded pixels of images and masks."""
    digest = hashlib.sha256()
    for names in sorted((folder / "ImageSets" / "Main").iterdir()):
        digest.update(f"{names.stem}\n".encode())
        for name in names.read_text(encoding="utf-8").split():
            digest.update(f"{name}\n".encode() + (folder / "Annotations" / f"{name}.xml").read_bytes())
            for kind in PICTURES:
                with Image.open(folder / kind / f"{name}.png", formats=["PNG"]) as image:
                    digest.update(f"{image.mode} {image.size}\n".encode() + image.tobytes())
    return digest.hexdigest()


def verify(folder: Path) -> None:
    """Raise ValueError, in one line, unless a written folder still holds what was written."""
    try:
        kept = json.loads((folder / "scenes.json").read_text(encoding="utf-8"))["content"] == content(folder)
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):  # SyntaxError: Pillow's of a broken PNG
        kept = False
    if not kept:
        raise ValueError(f"{folder}: not the scenes that were written there: remove it, and they are composed anew")


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Yield a sibling folder that becomes `folder` at the end, or is removed by any exception or Ctrl-C."""
    _refuse_occupied(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        part = Path(temporary) / folder.name  # as the temporary one is readable by its owner alone
        part.mkdir()
        yield part
        _refuse_occupied(folder)
        part.replace(folder)


def _refuse_occupied(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder: remove it or choose another")


def _bar(counts: Mapping[str, int], progress: bool) -> Iterator[tuple[str, int]]:
    """Yield every split and index, and show the progress if that is wanted."""
    from benchmarks.resuming.progress import Progress  # not needed to compose

    items = [(split, index) for split, count in counts.items() for index in range(count)]
    with Progress("scenes", "images", len(items), shown=progress, items=items) as shown:
        yield from shown


def _save(folder: Path, name: str, scene: Scene) -> None:
    (folder / "JPEGImages" / f"{name}.png").write_bytes(png(scene.image))
    _save_mask(folder / "SegmentationClass" / f"{name}.png", scene.classes)
    _save_mask(folder / "SegmentationObject" / f"{name}.png", scene.instances)
    tree = _element("annotation", _annotation(name, scene))
    ElementTree.indent(tree)
    (folder / "Annotations" / f"{name}.xml").write_bytes(ElementTree.tostring(tree) + b"\n")


def png(image: NDArray[np.uint8]) -> bytes:
    """Return an RGB image [H, W, 3] as a PNG without compression.

    Its bytes, then, depend on no version of zlib, and it is decoded several times as fast as a JPEG of these pixels.
    """
    height, width = image.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with the number of its filter: 0, none
    rows[:, 1:] = image.reshape(height, -1)
    data = rows.tobytes()
    blocks = [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]
    sizes = [len(block).to_bytes(2, "little") + (BLOCK - len(block)).to_bytes(2, "little") for block in blocks]
    last = [b"\0"] * (len(blocks) - 1) + [b"\1"]
    stored = b"".join(b"".join(parts) for parts in zip(last, sizes, blocks, strict=True))
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])  # 8 bits each of RGB
    body = b"\x78\x01" + stored + zlib.adler32(data).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _instances(scene: Scene) -> list[dict[str, object]]:
    pairs = zip(scene.sprites, scene.transforms, strict=True)
    return [{"sprite": sprite, "transform": transform} for sprite, transform in pairs]


def _save_mask(path: Path, mask: NDArray[np.uint8]) -> None:
    image = Image.fromarray(mask, mode="P")
    image.putpalette(_colours())
    image.save(path)


@functools.cache
def _colours() -> bytes:
    """Return VOC's colour map: 256 RGB triples, made from the bits of the index, so that neighbours differ."""
    bits = (np.arange(256)[:, None, None] >> (3 * np.arange(8)[:, None] + np.arange(3))) & 1
    return bytes((bits << (7 - np.arange(8)[:, None])).sum(axis=1).astype(np.uint8).ravel())


def _annotation(name: str, scene: Scene) -> dict[str, object]:
    height, width, depth = scene.image.shape
    return {
        "folder": "scenes",
        "filename": f"{name}.png",
        "source": {"database": "scenes: synthetic composites"},
        "size": {"width": width, "height": height, "depth": depth},
        "segmented": 1,
        "object": [_object(scene, number) for number in range(len(scene.labels))],
    }


def _object(scene: Scene, number: int) -> dict[str, object]:
    x0, y0, x1, y1 = scene.boxes[number]
    return {
        "name": scene.labels[number],
        "pose": "Unspecified",
        "truncated": int(scene.truncated[number]),
        "occluded": int(scene.occluded[number]),
        "difficult": 0,
        # VOC counts pixels from 1 and includes both ends.
        "bndbox": {"xmin": x0 + 1, "ymin": y0 + 1, "xmax": x1, "ymax": y1},
    }


def _element(tag: str, content: object) -> ElementTree.Element:
    """Return an XML element of nested dicts, in which a list repeats its tag."""
    element = ElementTree.Element(tag)
    if not isinstance(content, dict):
        element.text = str(content)
        return element
    for name, value in content.items():
        element.extend(_element(name, item) for item in (value if isinstance(value, list) else [value]))
    return element
