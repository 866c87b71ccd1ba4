"""Conversion of a ResNet from torchvision's names to detectron2's, every key accounted for (METHODS 10.1).

The rule is that of DenseCL's benchmarks/detection/convert-pretrain-to-detectron2.py, which writes a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.resuming import files
from benchmarks.weights import ConvertError, check_names, load_file, width_of

if TYPE_CHECKING:
    from torch import Tensor, nn

# where a detectron2 Faster R-CNN keeps its ResNet: FPN, C4, and C4's last stage in the head
PLACES = ("backbone.bottom_up.", "backbone.", "roi_heads.")
# what lies among the ResNet's parameters and starts fresh: the FPN's own layers and the norm behind C4's res5
FRESH = ("backbone.fpn_lateral", "backbone.fpn_output", "roi_heads.res5.norm.")


def rename(name: str) -> str:
    """Return detectron2's name for one of torchvision's (METHODS 10.1)."""
    if "layer" not in name:
        name = "stem." + name
    for stage in (1, 2, 3, 4):
        name = name.replace(f"layer{stage}", f"res{stage + 1}")
    for conv in (1, 2, 3):
        name = name.replace(f"bn{conv}", f"conv{conv}.norm")
    return name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")


def convert(state: Mapping[str, Tensor], *, encoder: str) -> dict[str, Tensor]:
    """Return the same tensors under detectron2's names.

    Raises ConvertError, which names an odd key, if `state` is not exactly this encoder without its head.
    """
    check_names(set(state), encoder=encoder)
    return {rename(name): tensor for name, tensor in state.items()}


def load_into(model: nn.Module, converted: Mapping[str, Tensor]) -> None:
    """Copy every tensor into the Faster R-CNN's ResNet and leave no tensor of that ResNet unfilled.

    Only FRESH layers stay unfilled, and only the batch counters of frozen norms, which have none, unused.
    Raises ConvertError on any other key that is unused, unfilled or of another shape.
    """
    import torch

    own = model.state_dict()
    filled = set()
    with torch.no_grad():
        for name, tensor in converted.items():
            target = _target(name, own)
            if target is None:
                continue
            if own[target].shape != tensor.shape:
                shapes = f"{list(tensor.shape)}, the detector's {list(own[target].shape)}"
                raise ConvertError(f"checkpoint of another architecture: {name!r} is {shapes}")
            own[target].copy_(tensor)
            filled.add(target)
    unfilled = [k for k in own if k.startswith(("backbone.", "roi_heads.res5.")) and k not in filled]
    for key in unfilled:
        if not key.startswith(FRESH):
            raise ConvertError(f"the detector's {key!r} is not in the checkpoint")


def _target(name: str, own: Mapping[str, Tensor]) -> str | None:
    targets = [place + name for place in PLACES if place + name in own]
    if len(targets) == 1:
        return targets[0]
    norm = name.removesuffix("num_batches_tracked")
    if norm != name and any(place + norm + "running_mean" in own for place in PLACES):
        return None
    raise ConvertError(f"the checkpoint's {name!r} has {len(targets)} places in the detector")


def convert_file(source: Path, target: Path, *, encoder: str) -> int:
    """Write the converted backbone to `target` (.pth) atomically and return its width.

    torch.load(weights_only=True) reads it.
    """
    import torch

    state = load_file(source).named
    if not state:
        raise ConvertError(f"{source}: it holds no tensor")
    try:
        converted = convert(state, encoder=encoder)
    except ConvertError as error:
        raise ConvertError(f"{source}: {error}") from None
    files.write(target, partial(torch.save, converted))
    return width_of(state)
