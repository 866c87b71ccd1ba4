"""Annotations of Pascal VOC: the size of an image and its objects, read from an XML file of anybody's."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from reprlib import repr as shown
from typing import NamedTuple

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from benchmarks.data.flaws import DataError, Findings

Box = tuple[float, float, float, float]

DECLARED = re.compile(rb"""<\?xml[^>]*?\sencoding=["']([\w.-]+)["']""")
WIDER = {"gb2312": "gb18030", "gbk": "gb18030"}  # which many files hold that declare its older subsets
FROM_ZERO = "boxes that begin before 1, VOC's first pixel, moved there"
OVER_EDGE = "boxes that reach over the edge of their image, cut off there"
NO_SIZE = "annotations whose size is 0, taken from the image"


class VocError(DataError):
    """A VOC folder that cannot be used; the message names the file and what is wrong with it, in one line."""


class Object(NamedTuple):
    """One object of an image."""

    box: Box  # px, x0 y0 x1 y1 by their edges: VOC's xmin - 1, ymin - 1, xmax, ymax
    label: str
    difficult: bool


def parse(path: Path) -> tuple[ET.Element, bytes]:
    """Return the root of an annotation and the file's bytes; VocError for what is no XML or defines entities."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise VocError(f"{path}: unreadable: {error.strerror}") from None
    try:
        return _root(raw), raw
    except DefusedXmlException:
        raise VocError(f"{path}: a document type or an entity: not a Pascal VOC annotation") from None
    except (ET.ParseError, LookupError, ValueError) as error:
        raise VocError(f"{path}: malformed XML: {error}") from None


def _root(raw: bytes) -> ET.Element:
    """Return the root, decoded here if the parser does not know the declared encoding: it knows no GB2312."""
    try:
        root: ET.Element = fromstring(raw, forbid_dtd=True)  # a document type can define entities without bound
    except (ET.ParseError, LookupError, ValueError):
        declared = DECLARED.match(raw)
        if not declared:
            raise
        name = declared[1].decode().lower()
        root = fromstring(raw.decode(WIDER.get(name, name)), forbid_dtd=True)
    return root


def check_size(root: ET.Element, size: tuple[int, int], path: Path, image: str, findings: Findings) -> None:
    """Refuse a size other than the image's, which is also in words; one of 0, which some tools write, is mended."""
    node = root.find("size")
    if node is None:
        raise VocError(f"{path}: no <size>")
    width, height = (_number(node, tag, path) for tag in ("width", "height"))
    if width == 0 or height == 0:
        findings.mend(NO_SIZE, f"{path}: the size is {width:g}x{height:g}")
        return
    for tag, value in (("width", width), ("height", height)):
        if value != int(value) or value < 1:
            raise VocError(f"{path}: <{tag}> is {value:g}, a whole number of pixels was expected")
    if size != (width, height):
        raise VocError(f"{image}, but its XML says {width:g}x{height:g}")


def objects(root: ET.Element, size: tuple[int, int], path: Path, findings: Findings) -> Iterator[Object]:
    """Yield the objects of an image of that width and height; those with a flaw enter the findings instead."""
    for node in root.findall("object"):
        with findings.collected():
            yield _object(node, *size, path, findings)


def _object(node: ET.Element, width: int, height: int, path: Path, findings: Findings) -> Object:
    label = (node.findtext("name") or "").strip()
    frame = node.find("bndbox")
    if not label or frame is None:
        raise VocError(f"{path}: an object without {'<bndbox>' if label else '<name>'}")
    box = _box(frame, width, height, f"{path}: object {shown(label)}", findings)
    # strangers' files often lack it: VOC's meaning of absence is "not difficult"
    difficult = (node.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise VocError(f"{path}: object {shown(label)}: <difficult> is {shown(difficult)}, 0 or 1 was expected")
    return Object(box, label, difficult == "1")


def _box(frame: ET.Element, width: int, height: int, where: str, findings: Findings) -> Box:
    """Return the edges of a box from VOC's corners, which count from 1 and include both ends.

    The part of a box that lies outside of the image is cut off. A box of one pixel has equal corners.
    """
    x0, y0, x1, y1 = (_number(frame, tag, where) for tag in ("xmin", "ymin", "xmax", "ymax"))
    text = f"box {x0:g} {y0:g} {x1:g} {y1:g}"
    if x1 < x0 or y1 < y0:
        raise VocError(f"{where}: {text} is inverted")
    low_x, low_y, high_x, high_y = max(x0, 1), max(y0, 1), min(x1, width), min(y1, height)
    if low_x >= high_x + 1 or low_y >= high_y + 1:
        raise VocError(f"{where}: {text} lies outside of the image, 1 1 {width} {height}")
    outside = f"{where}: {text} leaves the image, 1 1 {width} {height}"
    if min(x0, y0) < 0 or x1 > width or y1 > height:
        findings.mend(OVER_EDGE, outside)
    elif min(x0, y0) < 1:
        findings.mend(FROM_ZERO, outside)
    return low_x - 1, low_y - 1, high_x, high_y


def _number(node: ET.Element, tag: str, where: Path | str) -> float:
    text = node.findtext(tag)
    if text is None:
        raise VocError(f"{where}: no <{tag}>")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise VocError(f"{where}: <{tag}> is {shown(text.strip())}, a number was expected")
    return value
