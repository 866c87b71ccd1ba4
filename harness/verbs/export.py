"""Write a run's backbone for another library, and how it is loaded.

Example: harness export location-s0 --to timm
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.detection.convert import convert
from benchmarks.resuming import files
from benchmarks.weights import PIXEL_MEAN, PIXEL_STD, RESNETS, WIDTH, read_backbone
from harness import records
from harness.terminal import say, shown
from harness.verbs import options

if TYPE_CHECKING:
    from torch import Tensor

    State = dict[str, Tensor]

MODELS = {  # library → its model of an encoder
    "torchvision": "torchvision.models.{encoder}()",
    "timm": 'timm.create_model("{encoder}", num_classes=0)',
}

TORCHVISION = """\
import torch, torchvision

file = {file}
model = {model}
model.load_state_dict(torch.load(file, weights_only=True), strict=False)
# only fc is missing"""

TIMM = """\
import timm, torch

file = {file}
model = {model}
model.load_state_dict(torch.load(file, weights_only=True))
# nothing is missing: timm's names are torchvision's"""

ANY_WIDTH = """\
import torch, {library}

file = {file}
model = {model}
model.fc = torch.nn.Identity()
# of width {width}: each tensor takes the place of one of another shape
for name, tensor in torch.load(file, weights_only=True).items():
    module, _, leaf = name.rpartition(".")
    learnt = leaf in ("weight", "bias")
    new = torch.nn.Parameter(tensor) if learnt else tensor
    setattr(model.get_submodule(module), leaf, new)"""

DETECTRON2 = f"""\
cfg.MODEL.WEIGHTS = {{file}}
cfg.MODEL.RESNETS.DEPTH = {{depth}}
cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = {{width}}
cfg.MODEL.RESNETS.WIDTH_PER_GROUP = {{width}}
cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = {{channels}}
cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
cfg.INPUT.FORMAT = "RGB"
cfg.MODEL.PIXEL_MEAN = {PIXEL_MEAN}
cfg.MODEL.PIXEL_STD = {PIXEL_STD}
# with detectron2's own stride and BGR they load too, but compute something else"""

SAFETENSORS = """\
from safetensors import safe_open
from safetensors.torch import load_file

file = {file}
state = load_file(file)  # torchvision's names, without fc
origin = safe_open(file, "pt").metadata()"""


class Kind(NamedTuple):
    """The form in which a library loads weights."""

    ending: str
    pack: Callable[[State, str, records.Record], bytes]  # the file of torchvision's names, an encoder and a run
    lines: str  # of Python, that load it


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the run, the library and the file."""
    options.add_run(parser)
    add = parser.add_argument
    add("--to", metavar="LIBRARY", choices=KINDS, required=True, help=", ".join(KINDS))
    add("--out", metavar="FILE", type=Path, help="a file that does not exist yet (RUN-LIBRARY.pth here)")
    options.add_results(parser)


def main(args: argparse.Namespace) -> None:
    """Write the backbone, name its file and print the Python that loads it."""
    file, lines = export(options.find_run(args.results, args.run), args.to, args.out)
    say(f"backbone: {shown(file)}\n\n{lines}")


def export(record: records.Record, to: str, out: Path | None) -> tuple[Path, str]:
    """Write a run's backbone for a library, and return the file and the Python that loads it.

    The file is written whole or not at all. Raises ValueError for weights that are not here or do not fit the run's
    settings, and for a file that exists.
    """
    kind = KINDS[to]
    file = out or Path(f"{record.id}-{to}{kind.ending}")
    if file.suffix != kind.ending:
        raise ValueError(f"--out {file}: for {to} its name must end in {kind.ending}")
    if file.exists():
        raise ValueError(f"{file} exists: remove it, or name another file with --out")
    (backbone,) = records.weights_of(record)
    encoder = encoder_of(record)
    found = read_backbone(backbone, encoder)
    lines = lines_for(to, encoder, found.width, file)
    content = kind.pack(found.state, encoder, record)
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write(file, lambda part: part.write(content))
    return file, lines


def lines_for(to: str, encoder: str, width: int, file: Path) -> str:
    """Return the Python that loads a library's file; ValueError where the library has no encoder of this width."""
    resnet, usual = RESNETS[encoder], width == WIDTH
    if to == "detectron2" and resnet.convs == 2 and not usual:
        raise ValueError(f"--to {to}: its {encoder} has the width {WIDTH} alone, this backbone has {width}")
    lines = KINDS[to].lines if usual or to not in MODELS else ANY_WIDTH
    return lines.format(
        file=repr(str(file)),
        library=to,
        model=MODELS.get(to, "").format(encoder=encoder),
        depth=resnet.depth,
        width=width,
        channels=width * resnet.expansion,
    )


def encoder_of(record: records.Record) -> str:
    """Return the encoder of a run's backbone; ValueError where its settings have none."""
    try:
        encoder: str = record.settings["benchmark"]["encoder"]  # which the recipe shares, where there is one
    except (KeyError, TypeError) as error:
        raise ValueError(f"run {record.id}: its settings have no benchmark.encoder") from error
    return encoder


def plain(state: State, encoder: str, record: records.Record) -> bytes:
    """Return a state dict under torchvision's names, which are those of timm's ResNets too."""
    return save(state)


def nested(state: State, encoder: str, record: records.Record) -> bytes:
    """Return a checkpoint of detectron2, which matches the ends of names: any model with a ResNet can load it."""
    return save({"model": convert(state, encoder=encoder), "matching_heuristics": True})


def save(content: dict[str, Any]) -> bytes:
    """Return the bytes of a file of torch."""
    import torch

    file = BytesIO()
    torch.save(content, file)
    return file.getvalue()


def labelled(state: State, encoder: str, record: records.Record) -> bytes:
    """Return the bytes of a file of safetensors, whose metadata name the run."""
    from safetensors import torch

    return torch.save(state, {"format": "pt", **origin(record)})


def origin(record: records.Record) -> dict[str, str]:
    """Return the run, its strategy, its seed, the hash of a given file and the commit, as far as they are recorded."""
    code = record.provenance.get("code")
    told = {name: record.settings.get(name) for name in ("seed", "backbone", "backbone_key")}
    facts = {
        "run": record.id,
        "strategy": record.strategy,
        **told,
        "commit": code.get("commit") if isinstance(code, dict) else None,
    }
    return {name: str(fact) for name, fact in facts.items() if fact is not None}


KINDS = {
    "torchvision": Kind(".pth", plain, TORCHVISION),
    "detectron2": Kind(".pth", nested, DETECTRON2),
    "timm": Kind(".pth", plain, TIMM),
    "safetensors": Kind(".safetensors", labelled, SAFETENSORS),
}
