"""Backbone files: a reader that finds a ResNet in anybody's checkpoint and accounts for every key (METHODS 10.1)."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.weight_files import Tensors, read_tensors

if TYPE_CHECKING:
    from torch import Tensor


class ResNet(NamedTuple):
    """Layers of a ResNet and blocks of each of its stages (He et al. 2016, table 1)."""

    depth: int
    blocks: tuple[int, int, int, int]

    @property
    def convs(self) -> int:
        """Convolutions of a block: 2 of a basic block, 3 of a bottleneck."""
        return 2 if self.depth < 50 else 3

    @property
    def expansion(self) -> int:
        """Channels of the first stage's output over those of the stem."""
        return 1 if self.convs == 2 else 4


RESNETS = {  # encoder → what its file must look like
    "resnet18": ResNet(18, (2, 2, 2, 2)),
    "resnet34": ResNet(34, (3, 4, 6, 3)),
    "resnet50": ResNet(50, (3, 4, 6, 3)),
    "resnet101": ResNet(101, (3, 4, 23, 3)),
    "resnet152": ResNet(152, (3, 8, 36, 3)),
}
PIXEL_MEAN = [123.675, 116.28, 103.53]  # RGB from 0 to 255 that a backbone expects: torchvision's 0.485 0.456 0.406
PIXEL_STD = [58.395, 57.12, 57.375]  # torchvision's 0.229 0.224 0.225 times 255
WIDTH = 64  # torchvision's: channels of the stem
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

ANCHOR = "layer1.0.conv1.weight"  # every ResNet under torchvision's names has it once
PART = re.compile(r"(?:conv|bn|layer)\d+\.|downsample\.")  # how the name of a ResNet's part begins; a head's does not
COPY = {"k", "key", "momentum", "target", "teacher", "ema"}  # words of a prefix that tell the slow copy of a network
NUMBERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}  # among its children
PARTS = {number: part for part, number in NUMBERS.items()}


class Place(NamedTuple):
    """Where in a file a ResNet lies."""

    prefix: str  # what stands before its tensors' names
    numbered: bool = False  # as nn.Sequential(*resnet.children()) names the parts: "0." for "conv1."

    def spelled(self, name: str) -> str:
        """Return the file's name for one of torchvision's."""
        part, _, rest = name.partition(".")
        return self.prefix + (f"{NUMBERS[part]}.{rest}" if self.numbered else name)

    def read(self, key: str) -> str | None:
        """Return torchvision's name for one of the file's; None for a tensor of something else."""
        if not key.startswith(self.prefix):
            return None
        name = key[len(self.prefix) :]
        if self.numbered:
            number, _, rest = name.partition(".")
            name = f"{PARTS.get(number, '')}.{rest}"
        return name if PART.match(name) else None


class Backbone(NamedTuple):
    """A ResNet without its head, read from a file."""

    state: dict[str, Tensor]  # under torchvision's names, all of them, float32
    prefix: str  # what stands before its names, in the file or in the dictionary within it
    left_out: list[str]  # the file's other tensors, counted by group: "fc (2)", "encoder_k (320)"
    within: str = ""  # the dictionary that holds it: "teacher", "checkpoint.model"; "" is the outermost
    others: tuple[str, ...] = ()  # where other whole ResNets of this encoder lie, each a value of `key`

    @property
    def width(self) -> int:
        """Channels of its stem: every layer has width / 64 times torchvision's."""
        return width_of(self.state)


class ConvertError(ValueError):
    """A checkpoint that does not fit; the message names the key, the file or the architecture in one line."""


def names(encoder: str) -> list[str]:
    """Return torchvision's names of every tensor of an encoder without its head: 318 for resnet50."""
    keys = ["conv1.weight", *(f"bn1.{n}" for n in NORM)]
    convs = RESNETS[encoder].convs
    for stage, blocks in enumerate(RESNETS[encoder].blocks, start=1):
        for block in range(blocks):
            at = f"layer{stage}.{block}."
            for conv in range(1, convs + 1):
                keys += [f"{at}conv{conv}.weight", *(f"{at}bn{conv}.{n}" for n in NORM)]
            if block == 0 and (stage > 1 or convs == 3):
                keys += [f"{at}downsample.0.weight", *(f"{at}downsample.1.{n}" for n in NORM)]
    return keys


def width_of(state: Mapping[str, Tensor]) -> int:
    """Return the width of a ResNet under torchvision's names, the channels of its stem: torchvision's is 64."""
    return max(state["conv1.weight"].shape[:1], default=0) or WIDTH  # of a tensor that is no stem: what it should be


def check_names(keys: set[str], *, encoder: str, prefix: str = "") -> None:
    """Raise ConvertError, which names an odd key, unless these are exactly the names of this encoder."""
    wanted = set(names(encoder))
    if keys == wanted:
        return
    for other in RESNETS:
        if keys == set(names(other)):
            raise ConvertError(f"checkpoint of another architecture: {other}, not {encoder}: --set encoder={other}")
    odd = min(keys ^ wanted)
    counts = f"{len(wanted - keys)} missing, {len(keys - wanted)} unknown"
    verdict = "unknown" if odd in keys else "missing"
    raise ConvertError(f"not a {encoder} without its head: key {prefix + odd!r} is {verdict} ({counts})")


def read_backbone(file: Path, encoder: str, key: str | None = None, width: int | None = None) -> Backbone:
    """Return the encoder in a file of torch or safetensors, whoever trained it, every key accounted for.

    It may lie in dictionaries at any depth ({"checkpoint": {"model": …}}) and behind a prefix ("module.encoder_q."),
    its parts may be numbered as by nn.Sequential, and anything may lie beside it. Of a network and its slow copy the
    network is taken, but of a student and its teacher the teacher, whose results are the published ones; `key` chooses
    another by a part of its name ("student"). It may be of any width, unless `width` asks for one. Where a block
    strides cannot be seen: torchvision's 3 × 3 convolution is supposed.
    Raises ConvertError, which names file and key, for two different ResNets, another architecture, width or number
    format, a missing key and a weight that is not finite.
    """
    if encoder not in list(RESNETS):
        raise ConvertError(f"encoder {encoder}: choose from {', '.join(RESNETS)}")
    tensors, dictionaries = load_file(file)
    try:
        found = _places(tensors)
        nearest = _nearest(_behind(found, key), tensors, encoder)
        place, state = _choose({each: _take(tensors, each, encoder) for each in _preferred(nearest)})
        if width not in (None, width_of(state)):
            raise ConvertError(f"checkpoint of width {width_of(state)}, not {width}: --set width={width_of(state)}")
    except ConvertError as error:
        raise ConvertError(f"{file}: {error}") from None
    within = max((name for name in dictionaries if place.prefix.startswith(name)), key=len, default="")
    others = tuple(_path(each) for each in _nearest(found, tensors, encoder) if each != place)
    left_out = _left_out(tensors, place, state)
    return Backbone(state, place.prefix.removeprefix(within), left_out, within.removesuffix("."), others)


def load_file(file: Path) -> Tensors:
    """Return the tensors in a file of torch or safetensors without running code from it; ConvertError for any other."""
    if not file.is_file():
        raise ConvertError(f"{file}: no such backbone file")
    try:
        return read_tensors(file)
    except ValueError as error:
        raise ConvertError(f"{file}: {one_line(error)}") from error
    except Exception as error:  # a damaged file raises whatever its reader of the day does
        raise ConvertError(f"{file}: damaged ({type(error).__name__}: {one_line(error)})") from error


def one_line(error: Exception) -> str:
    """Return an error's text without breaks and marks of control."""
    return "".join(letter if letter.isprintable() else " " for letter in str(error))[:300]


def _places(tensors: Mapping[str, Tensor]) -> list[Place]:
    """Return every place where a ResNet lies; ConvertError if there is none."""
    numbered = Place("", numbered=True).spelled
    places = [Place(key.removesuffix(ANCHOR)) for key in tensors if f".{key}".endswith(f".{ANCHOR}")]
    for key in tensors:
        prefix = key.removesuffix(numbered(ANCHOR))
        if f".{key}".endswith(f".{numbered(ANCHOR)}") and prefix + numbered("conv1.weight") in tensors:
            places.append(Place(prefix, numbered=True))
    if not places:
        held = ", ".join(map(repr, list(tensors)[:3])) or "no tensor"
        raise ConvertError(f"no ResNet under torchvision's names: it holds {held}, but no {ANCHOR!r}")
    return places


def _path(place: Place) -> str:
    return place.prefix.removesuffix(".")


def _behind(places: list[Place], key: str | None) -> list[Place]:
    """Return the places that have `key` in their name, or it as their whole name; ConvertError if there is none."""
    if key is None:
        return places
    exact = [place for place in places if _path(place) == key]
    chosen = exact or [place for place in places if key and f".{key}." in f".{place.prefix}"]
    if not chosen:
        there = ", ".join(repr(_path(place)) for place in places[:8])
        raise ConvertError(f"no ResNet behind the key {key!r}: there are {there}")
    return chosen


def _nearest(places: list[Place], tensors: Mapping[str, Tensor], encoder: str) -> list[Place]:
    """Return the places where most of the encoder lies."""
    lacks = {place: sum(place.spelled(name) not in tensors for name in names(encoder)) for place in places}
    return [place for place in places if lacks[place] == min(lacks.values())]


def _preferred(places: list[Place]) -> list[Place]:
    """Return the teachers if there are students too, else the places without slow copies if there is anything else."""
    words = {place: set(re.split(r"[._]", place.prefix)) for place in places}
    teachers = [place for place in places if "teacher" in words[place]]
    if teachers and any("student" in words[place] for place in places):
        return teachers
    return [place for place in places if not COPY & words[place]] or places


def _take(tensors: Mapping[str, Tensor], place: Place, encoder: str) -> dict[str, Tensor]:
    """Return the ResNet at a place; ConvertError if a part is missing, unknown or of another shape.

    If no norm has its counter of batches, as in files from before torch 0.4.1 and of frozen norms, the counters are 0:
    only a norm without momentum computes with them.
    """
    import torch

    parts = {name: tensor for key, tensor in tensors.items() if (name := place.read(key))}
    if not any(name.endswith("num_batches_tracked") for name in parts):
        norms = [name.removesuffix("running_mean") for name in parts if name.endswith("running_mean")]
        parts |= {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}
    check_names(set(parts), encoder=encoder, prefix=place.prefix)
    templates = _templates(encoder, width_of(parts))
    return {name: _plain(place.spelled(name), parts[name], like) for name, like in templates.items()}


def _templates(encoder: str, width: int) -> dict[str, Tensor]:
    """Return torchvision's encoder without its head as meta tensors: shapes and number formats, but no numbers."""
    import torch
    import torchvision

    with torch.device("meta"):
        model = getattr(torchvision.models, encoder)()
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("fc.")}
    return {
        name: tensor.new_empty([size // WIDTH * width or size for size in tensor.shape])  # kernels and colours stay
        for name, tensor in state.items()
    }


def _plain(key: str, tensor: Tensor, like: Tensor) -> Tensor:
    """Return a copy of the tensor in the number format of its template."""
    import torch

    if tensor.shape != like.shape:
        shapes = f"{list(tensor.shape)}, torchvision's {list(like.shape)}"
        raise ConvertError(f"checkpoint of another architecture: {key!r} is {shapes}")
    if tensor.is_meta or tensor.is_floating_point() != like.is_floating_point():
        raise ConvertError(f"{key!r} is no tensor of {like.dtype}, but of {tensor.dtype} on {tensor.device}")
    copy = torch.empty_like(like, device="cpu").copy_(tensor.detach())
    if not copy.isfinite().all():
        raise ConvertError(f"{key!r} holds a number that is not finite")
    return copy


def _choose(states: Mapping[Place, dict[str, Tensor]]) -> tuple[Place, dict[str, Tensor]]:
    """Return the one ResNet of a file, possibly at two places as in DenseCL's files; ConvertError for two."""
    import torch

    (place, state), *others = states.items()
    for other, copy in others:
        if not all(torch.equal(tensor, copy[name]) for name, tensor in state.items()):
            keys = f"--backbone-key {shlex.quote(_path(place))} or --backbone-key {shlex.quote(_path(other))}"
            raise ConvertError(
                f"two different ResNets: behind {place.prefix!r} and behind {other.prefix!r}: choose one with {keys}"
            )
    return place, state


def _left_out(tensors: Mapping[str, Tensor], place: Place, state: Mapping[str, Tensor]) -> list[str]:
    """Return the tensors that were not taken, counted by the first part of their name that is not the prefix's."""
    way = place.prefix.split(".")[:-1]
    taken = {place.spelled(name) for name in state}
    groups: Counter[str] = Counter()
    for key in tensors:
        if key not in taken:
            parts = key.split(".")
            shared = takewhile(lambda both: both[0] == both[1], zip(parts[:-1], way, strict=False))
            groups[parts[len(list(shared))]] += 1
    return [f"{name} ({count})" for name, count in groups.items()]
