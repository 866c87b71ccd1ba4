"""Backbone files: a reader that finds a ResNet in anybody's checkpoint and accounts for every key (METHODS 10.1)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
    def channels(self) -> int:
        """Channels of the first stage's output, detectron2's RES2_OUT_CHANNELS."""
        return 64 if self.convs == 2 else 256


RESNETS = {  # encoder → what its file must look like
    "resnet18": ResNet(18, (2, 2, 2, 2)),
    "resnet34": ResNet(34, (3, 4, 6, 3)),
    "resnet50": ResNet(50, (3, 4, 6, 3)),
    "resnet101": ResNet(101, (3, 4, 23, 3)),
    "resnet152": ResNet(152, (3, 8, 36, 3)),
}
PIXEL_MEAN = [123.675, 116.28, 103.53]  # RGB from 0 to 255 that a backbone expects: torchvision's 0.485 0.456 0.406
PIXEL_STD = [58.395, 57.12, 57.375]  # torchvision's 0.229 0.224 0.225 times 255
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

ANCHOR = "layer1.0.conv1.weight"  # every ResNet under torchvision's names has it once
PART = re.compile(r"(?:conv|bn|layer)\d+\.|downsample\.")  # how the name of a ResNet's part begins; a head's does not
COPY = {"k", "key", "momentum", "target", "teacher", "ema"}  # words of a prefix that tell the slow copy of a network
TORCH_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # in the head of torch's files before 1.6, else bare pickles


class Backbone(NamedTuple):
    """A ResNet without its head, read from a file."""

    state: dict[str, Tensor]  # under torchvision's names, all of them, float32
    prefix: str  # what stands before those names, in the file or in the dictionary within it
    left_out: list[str]  # the file's other tensors, counted by group: "fc (2)", "encoder_k (320)"


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


def read_backbone(file: Path, encoder: str) -> Backbone:
    """Return the encoder in a file of torch or safetensors, whoever trained it, every key accounted for.

    It may lie in a dictionary ({"state_dict": …}) and behind a prefix ("module.encoder_q."); of a network and its slow
    copy the network is taken. Where a block strides cannot be seen: torchvision's 3 × 3 convolution is supposed.
    Raises ConvertError, which names file and key, for two different ResNets, another architecture or number format,
    a missing key and a weight that is not finite.
    """
    if encoder not in list(RESNETS):
        raise ConvertError(f"encoder {encoder}: choose from {', '.join(RESNETS)}")
    content = load_file(file)
    try:
        tensors = _flatten(content)
        prefix, state = _choose({each: _take(tensors, each, encoder) for each in _prefixes(tensors, encoder)})
    except ConvertError as error:
        raise ConvertError(f"{file}: {error}") from None
    return Backbone(state, _within(content, prefix), _left_out(tensors, prefix, state))


def load_file(file: Path) -> object:
    """Return the content of a file of torch or safetensors without running code from it; ConvertError for any other."""
    if not file.is_file():
        raise ConvertError(f"{file}: no such backbone file")
    if _is_pickle(file):
        raise ConvertError(
            f"{file}: a bare pickle, as detectron2's .pkl are: reading it can run code, so it is not opened;"
            " give the .pth or .safetensors that it was made from"
        )
    read = _reader(file)
    try:
        return read(file)
    except Exception as error:  # either reader raises what its version of the day raises
        raise ConvertError(f"{file}: not a state dict of tensors{_advice(file, str(error))}") from error


def _reader(file: Path) -> Callable[[Path], object]:
    if file.suffix == ".safetensors":
        from safetensors import torch as safetensors

        return safetensors.load_file
    import torch

    return partial(torch.load, map_location="cpu", weights_only=True)


def _is_pickle(file: Path) -> bool:
    """Return whether a file is a bare pickle, by its name or its first bytes, and not one of torch's files."""
    with open(file, "rb") as opened:
        head = opened.read(16)
    return file.suffix == ".pkl" or (head[:1] == b"\x80" and TORCH_MAGIC not in head)


def _advice(file: Path, refusal: str) -> str:
    """Return which class torch refused to read, if it says so, and a command that saves the tensors without it."""
    refused = re.search(r"GLOBAL ([\w.]+\.\w+)\s", refusal)
    if not refused:
        return ""
    name = refused[1]
    return (
        f" alone: it holds {name} too. If you know that to be harmless, save the tensors ('state_dict', or the key that"
        f' they have) without it: python -c "import torch, {name.rpartition(".")[0]};'
        f" torch.serialization.add_safe_globals([{name}]); torch.save("
        f"torch.load({str(file)!r}, map_location='cpu', weights_only=True)['state_dict'], 'tensors.pth')\""
    )


def _flatten(content: object) -> dict[str, Tensor]:
    """Return every tensor of a dictionary by its name; for one in an inner dictionary that is `key.name`."""
    import torch

    if not isinstance(content, Mapping):
        raise ConvertError("not a state dict of tensors")
    flat = dict(content)
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
    return {str(key): value for key, value in flat.items() if isinstance(value, torch.Tensor)}


def _prefixes(tensors: Mapping[str, Tensor], encoder: str) -> list[str]:
    """Return the prefixes behind which most of the encoder lies, without slow copies if there is anything else."""
    prefixes = [key.removesuffix(ANCHOR) for key in tensors if f".{key}".endswith(f".{ANCHOR}")]
    if not prefixes:
        held = ", ".join(map(repr, list(tensors)[:3])) or "no tensor"
        raise ConvertError(f"no ResNet under torchvision's names: it holds {held}, but no {ANCHOR!r}")
    lacks = {prefix: sum(prefix + name not in tensors for name in names(encoder)) for prefix in prefixes}
    nearest = [prefix for prefix in prefixes if lacks[prefix] == min(lacks.values())]
    return [prefix for prefix in nearest if not COPY & set(re.split(r"[._]", prefix))] or nearest


def _take(tensors: Mapping[str, Tensor], prefix: str, encoder: str) -> dict[str, Tensor]:
    """Return the ResNet behind the prefix; ConvertError if a part is missing, unknown or of another shape.

    If no norm has its counter of batches, as in files from before torch 0.4.1 and of frozen norms, the counters are 0:
    only a norm without momentum computes with them.
    """
    import torch

    parts = {
        key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix) and PART.match(key, len(prefix))
    }
    if not any(name.endswith("num_batches_tracked") for name in parts):
        norms = [name.removesuffix("running_mean") for name in parts if name.endswith("running_mean")]
        parts |= {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}
    check_names(set(parts), encoder=encoder, prefix=prefix)
    return {name: _plain(prefix + name, parts[name], like) for name, like in _templates(encoder).items()}


def _templates(encoder: str) -> dict[str, Tensor]:
    """Return torchvision's encoder without its head as meta tensors: shapes and number formats, but no numbers."""
    import torch
    import torchvision

    with torch.device("meta"):
        model = getattr(torchvision.models, encoder)()
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("fc.")}


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


def _choose(states: Mapping[str, dict[str, Tensor]]) -> tuple[str, dict[str, Tensor]]:
    """Return the one ResNet of a file, possibly under two prefixes as in DenseCL's files; ConvertError for two."""
    import torch

    (prefix, state), *others = states.items()
    for other, copy in others:
        if not all(torch.equal(tensor, copy[name]) for name, tensor in state.items()):
            raise ConvertError(f"two different ResNets: behind {prefix!r} and behind {other!r}: save one of them alone")
    return prefix, state


def _within(content: object, prefix: str) -> str:
    """Return the prefix without the key of the inner dictionary."""
    inner = content.items() if isinstance(content, Mapping) else ()
    keys = [f"{key}." for key, value in inner if isinstance(value, Mapping)]
    return next((prefix.removeprefix(key) for key in keys if prefix.startswith(key)), prefix)


def _left_out(tensors: Mapping[str, Tensor], prefix: str, state: Mapping[str, Tensor]) -> list[str]:
    """Return the tensors that were not taken, counted by the first part of their name that is not the prefix's."""
    way = prefix.split(".")[:-1]
    groups: Counter[str] = Counter()
    for key in tensors:
        if not (key.startswith(prefix) and key[len(prefix) :] in state):
            parts = key.split(".")
            shared = takewhile(lambda both: both[0] == both[1], zip(parts[:-1], way, strict=False))
            groups[parts[len(list(shared))]] += 1
    return [f"{name} ({count})" for name, count in groups.items()]
