"""Reading a ResNet densely from its tensors: maps of cells from any stage, of whatever depth and width the file has.

A cell is one position of a map. Nothing here trains: norms use the file's statistics, or those of images measured anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.network import network
from benchmarks.weights import PIXEL_MEAN, PIXEL_STD, ConvertError, check_names, load_file

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH = 50  # images of one pass
STRIDES = {2: 8, 3: 16, 4: 32}  # stage → px of its cells in torchvision's network


class ResNet:
    """A ResNet without its head, read from a state dict under torchvision's names; its widths are its tensors'."""

    def __init__(self, file: Path, encoder: str, device: str) -> None:
        """Read a file; ConvertError for tensors of another architecture and for a number that is not finite."""
        state, _ = load_file(file)
        check_names(set(state), encoder=encoder)
        for name, tensor in state.items():
            if not tensor.isfinite().all():
                raise ConvertError(f"{file}: {name!r} holds a number that is not finite")
        self.model, self.device = network(state, encoder).to(device).eval(), device

    @property
    def state(self) -> dict[str, Tensor]:
        """Return the tensors under torchvision's names, with the statistics that were measured last."""
        state: dict[str, Tensor] = self.model.state_dict()
        return state

    def maps(self, images: Tensor, stages: Sequence[int], stride: int) -> dict[int, Tensor]:
        """Return the maps [B, D, h, w] of stages 1 to 4 for images [B, 3, S, S] from 0 to 255.

        stride: px of a cell of stage 4, at 16 and 8 by dilation in place of strides (PROBES 31.3).
        """
        import torch

        self._dilate(stride)
        model, maps = self.model, {}
        mean, std = (torch.tensor(three, device=self.device)[:, None, None] for three in (PIXEL_MEAN, PIXEL_STD))
        x = images.to(self.device).float().sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
        x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
        for stage in range(1, max(stages) + 1):
            maps[stage] = x = model.get_submodule(f"layer{stage}")(x)
        return {stage: maps[stage] for stage in stages}

    def _dilate(self, stride: int) -> None:
        """Let each stage whose cells would be larger than `stride` px dilate instead of striding.

        The convolution of it that strode keeps the dilation of the stage before.
        """
        for stage, usual in STRIDES.items():
            dilation = max(1, usual // stride)
            for number, block in enumerate(self.model.get_submodule(f"layer{stage}").children()):
                first, *rest = (conv for conv in convolutions(block) if conv.kernel_size == (3, 3))
                for conv in rest:
                    conv.dilation = conv.padding = (dilation, dilation)
                own = dilation if number else max(1, dilation // 2)
                first.dilation = first.padding = (own, own)
                for conv in () if number else (first, *convolutions(block.get_submodule("downsample"))):
                    conv.stride = (1, 1) if usual > stride else (2, 2)

    def calibrate(self, batches: Iterable[Tensor], stride: int = 32) -> None:
        """Measure the norms' statistics on batches of images [B, 3, S, S]: their means over the batches.

        A random network's statistics, as stored, are 0 and 1, which are not those of what it computes.
        """
        import torch
        from torch import nn

        norms = [part for part in self.model.modules() if isinstance(part, nn.BatchNorm2d)]
        self.model.train()
        with torch.inference_mode():
            for seen, batch in enumerate(batches):
                for norm in norms:
                    norm.momentum = 1 / (seen + 1)  # a mean over all batches
                self.maps(batch, (4,), stride)
        self.model.eval()

    def read(self, batches: Iterable[Tensor], stages: Sequence[int], stride: int = 32) -> dict[int, Tensor]:
        """Return the maps [N, D, h, w] of stages for all images of some batches; ValueError for one not finite."""
        import torch

        with torch.inference_mode():
            parts = [self.maps(batch, stages, stride) for batch in batches]
            maps = {stage: torch.cat([part[stage] for part in parts]) for stage in stages}
        if not all(each.isfinite().all() for each in maps.values()):
            raise ValueError("the backbone's features are not finite")
        return maps


def convolutions(part: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions that are a module's own children."""
    from torch import nn

    return [child for child in part.children() if isinstance(child, nn.Conv2d)]


def enlarged(images: Tensor, scale: int) -> Iterator[Tensor]:
    """Yield batches of images [N, 3, S, S], brought bilinearly to sides of `scale` times S."""
    from torch.nn import functional as F

    for batch in images.split(BATCH):
        yield F.interpolate(batch.float(), scale_factor=scale, mode="bilinear") if scale > 1 else batch
