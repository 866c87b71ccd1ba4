"""The settings of a set of scenes, and the name that a set of such settings has."""

import csv
import difflib
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

VERSION = 3  # to be raised whenever the same arguments give other pixels
NAMED = 2  # the version whose names of sets records have
HERE = Path(__file__).parent
CLASSES = ("appliance", "bed", "cabinet", "chair", "cup_bottle", "lamp",
           "person", "potted_plant", "sanitary", "sofa", "table", "vehicle")  # fmt: skip
LARGEST = 9_459  # pixels a side: Pillow warns of larger images
SMALLEST = 8  # pixels of a sprite's longest side: below, one may have no solid pixel at all


@dataclass(frozen=True)
class Layout:
    """The settings of a set of scenes besides seed and counts; ValueError for a value that gives no scene."""

    size: int = 128  # pixels a side
    classes: tuple[str, ...] = CLASSES
    objects: tuple[int, int] = (2, 6)  # fewest, most an image
    distractors: tuple[int, int] = (0, 2)  # fewest, most an image; never labelled
    extent: tuple[float, float] = (0.25, 0.6)  # a sprite's longest side, share of the image's side
    visible: float = 0.25  # least share of an object's pixels that is inside the image and uncovered
    cut: float = 0.15  # largest share of a sprite's width or height beyond the image's edge
    rotation: float = 10.0  # largest, degrees either way
    light: float = 0.25  # largest relative change of brightness and contrast; colours get a third of it
    blur: float = 0.005  # largest sigma, share of the image's side
    recolour: float = 0.0  # share of each sprite's colours that gives way to a random one, whatever its class

    def __post_init__(self) -> None:
        for wrong, message in self._faults():
            if wrong:
                raise ValueError(message)

    def _faults(self) -> Iterator[tuple[bool, str]]:
        yield self.size < 32, f"scenes of size {self.size}: choose at least 32 pixels a side"
        yield self.size > LARGEST, f"scenes of size {self.size}: choose at most {LARGEST} pixels a side"
        yield not self.classes, f"scenes without classes: choose from {', '.join(CLASSES)}"
        for name in self.classes:
            yield name not in CLASSES, unknown("class", name, CLASSES)
            yield self.classes.count(name) > 1, f"class '{name}' is named twice in {', '.join(self.classes)}"
        yield from _outside("objects", self.objects, 1, 255)
        yield from _outside("distractors", self.distractors, 0, 255)
        yield from _outside("extent", self.extent, SMALLEST / self.size, 1)
        yield not 0.25 <= self.visible <= 1, f"visible {self.visible}: choose a share from 0.25 to 1"
        yield not 0 <= self.cut <= 0.5, f"cut {self.cut}: choose a share from 0 to 0.5"
        yield not 0 <= self.rotation <= 180, f"rotation {self.rotation}: choose from 0 to 180 degrees"
        yield not 0 <= self.light < 1, f"light {self.light}: choose from 0 to below 1"
        yield not 0 <= self.blur <= 0.1, f"blur {self.blur}: choose from 0 to 0.1 of the side"
        yield not 0 <= self.recolour <= 1, f"recolour {self.recolour}: choose a share from 0 to 1"


def fingerprint(layout: Layout, counts: Mapping[str, int], seed: int) -> str:
    """Return a hash (12 hexadecimal digits) of a set's settings and assets, which names the set in records.

    It stays the same from VERSION to VERSION, as a setting must; the data's fingerprint says what the scenes show.
    """
    asked = record(layout, counts, seed) | {"version": NAMED}
    if not layout.recolour:  # a setting that sets had not yet when they were first named
        asked["layout"] = {name: value for name, value in asdict(layout).items() if name != "recolour"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def record(layout: Layout, counts: Mapping[str, int], seed: int) -> dict[str, object]:
    """Return the content of scenes.json."""
    digest = hashlib.sha256(assets() + (HERE / "split.csv").read_bytes()).hexdigest()
    return {"what": "synthetic composites", "layout": asdict(layout), "seed": seed, "counts": dict(counts),
            "assets": digest, "version": VERSION}  # fmt: skip


@functools.cache
def assets() -> bytes:
    """Return the archive of all pictures."""
    return (HERE / "assets.zip").read_bytes()


def rows() -> list[dict[str, str]]:
    """Return split.csv: of each picture in the archive its kind, class, model, file, side and licence."""
    with open(HERE / "split.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def unknown(what: str, name: str, choices: Mapping[str, str] | tuple[str, ...]) -> str:
    """Return the line that refuses a name and says which names there are."""
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"no {what} '{name}' in scenes: {hint}choose from {', '.join(choices)}"


def _outside(name: str, pair: tuple[float, float], low: float, high: float) -> Iterator[tuple[bool, str]]:
    wrong = len(pair) != 2 or not low <= pair[0] <= pair[1] <= high
    yield wrong, f"{name} {pair}: choose a least and a most from {low:.3g} to {high}"
