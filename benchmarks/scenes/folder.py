"""Scenes as a Pascal VOC folder, which is there whole or not at all."""

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.scenes.compose import Scene, check, compose
from benchmarks.scenes.layout import HERE, Layout, record

FOLDERS = ("JPEGImages", "Annotations", "ImageSets/Main", "SegmentationClass", "SegmentationObject")


def write(folder: str | Path, layout: Layout, counts: Mapping[str, int], seed: int, progress: bool) -> None:
    """Write a Pascal VOC folder of `counts` scenes a split atomically; FileExistsError unless new or empty."""
    for split, count in counts.items():
        check(split, seed, count)
    with _whole(Path(os.path.realpath(folder))) as part:
        for name in FOLDERS:
            (part / name).mkdir(parents=True)
        shutil.copyfile(HERE / "CREDITS.md", part / "CREDITS.md")
        (part / "scenes.json").write_text(json.dumps(record(layout, counts, seed), indent=2) + "\n")
        for split, index in _bar(counts, progress):
            _save(part, f"{split}_{index:06d}", compose(layout, seed, split, index))
        for split, count in counts.items():
            names = "".join(f"{split}_{index:06d}\n" for index in range(count))
            (part / "ImageSets" / "Main" / f"{split}.txt").write_text(names)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Yield a sibling folder that becomes `folder` at the end, and is removed by any exception or Ctrl-C."""
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
    """Yield every split and index, with a progress bar if that is wanted."""
    from tqdm import tqdm  # not needed to compose

    with tqdm(total=sum(counts.values()), desc="scenes", unit="image", disable=not progress) as bar:
        for split, count in counts.items():
            for index in range(count):
                yield split, index
                bar.update()


def _save(folder: Path, name: str, scene: Scene) -> None:
    Image.fromarray(scene.image).save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
    _save_mask(folder / "SegmentationClass" / f"{name}.png", scene.classes)
    _save_mask(folder / "SegmentationObject" / f"{name}.png", scene.instances)
    tree = _element("annotation", _annotation(name, scene))
    ElementTree.indent(tree)
    (folder / "Annotations" / f"{name}.xml").write_bytes(ElementTree.tostring(tree) + b"\n")


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
        "filename": f"{name}.jpg",
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
