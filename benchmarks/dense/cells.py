"""Reading a ResNet densely from its tensors: maps of cells from any stage, of whatever depth and width the file has.

A cell is one position of a map. Nothing here trains: norms use the file's statistics, or those of images measured anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.weights import PIXEL_MEAN, PIXEL_STD, ConvertError, check_names, load_file

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 50  # images of one pass
NORM = ("running_mean", "running_var", "weight", "bias")
EPSILON = 1e-5  # of a BatchNorm's variance


class ResNet:
    """A ResNet without its head, read from a state dict under torchvision's names; its widths are its tensors'."""

    def __init__(self, file: Path, encoder: str, device: str) -> None:
        """Read a file; ConvertError for tensors of another architecture and for a number that is not finite."""
        self.state, _ = load_file(file)
        check_names(set(self.state), encoder=encoder)
        for name, tensor in self.state.items():
            if not tensor.isfinite().all():
                raise ConvertError(f"{file}: {name!r} holds a number that is not finite")
        self.state = {name: tensor.to(device) for name, tensor in self.state.items()}
        self.device = device

    def maps(
        self, images: Tensor, stages: Sequence[int], seen: int | None = None, stride: int = 32
    ) -> dict[int, Tensor]:
        """Return the maps [B, D, h, w] of stages 1 to 4 for images [B, 3, S, S] from 0 to 255.

        stride: px of a cell of stage 4, at 16 and 8 by dilation in place of strides (PROBES 31.3). seen: how many
        batches were measured so far, if the norms use and measure the statistics of these images.
        """
        import torch
        from torch.nn import functional as F

        mean, std = (torch.tensor(three, device=self.device)[:, None, None] for three in (PIXEL_MEAN, PIXEL_STD))
        x = images.to(self.device).float().sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, self.state["conv1.weight"], stride=2, padding=3)
        x = F.max_pool2d(self._norm("bn1", x, seen).relu_(), 3, 2, 1)
        maps, cell, dilation = {}, 4, 1  # px of a cell
        for stage in range(1, max(stages) + 1):
            shrinks, block, before = stage > 1, 0, dilation
            if shrinks and cell == stride:
                shrinks, dilation = False, 2 * dilation
            cell *= 2 if shrinks else 1
            while f"layer{stage}.{block}.conv1.weight" in self.state:
                first = block == 0
                strides = 2 if shrinks and first else 1
                dilations = before if first else dilation, dilation
                x = self._block(f"layer{stage}.{block}.", x, strides, dilations, seen)
                block += 1
            maps[stage] = x
        return {stage: maps[stage] for stage in stages}

    def _block(self, name: str, x: Tensor, stride: int, dilations: tuple[int, int], seen: int | None) -> Tensor:
        """Return what a residual block makes of a map.

        Its first 3 × 3 convolution strides, as torchvision's does, and has the first of the dilations.
        """
        from torch.nn import functional as F

        convs = [conv for conv in (1, 2, 3) if f"{name}conv{conv}.weight" in self.state]
        y = x
        for conv in convs:
            weight = self.state[f"{name}conv{conv}.weight"]
            strides = conv == len(convs) - 1  # the first of two, or the second of a bottleneck's three
            reach = dilations[0 if strides else 1] * (weight.shape[-1] // 2)
            y = F.conv2d(y, weight, stride=stride if strides else 1, padding=reach, dilation=max(1, reach))
            y = self._norm(f"{name}bn{conv}", y, seen)
            y = y if conv == convs[-1] else y.relu_()
        if f"{name}downsample.0.weight" in self.state:
            x = F.conv2d(x, self.state[f"{name}downsample.0.weight"], stride=stride)
            x = self._norm(f"{name}downsample.1", x, seen)
        return (y + x).relu_()

    def _norm(self, name: str, x: Tensor, seen: int | None) -> Tensor:
        from torch.nn import functional as F

        mean, var, weight, bias = (self.state[f"{name}.{part}"] for part in NORM)
        share = 0.0 if seen is None else 1 / (seen + 1)  # a mean over all batches
        return F.batch_norm(x, mean, var, weight, bias, seen is not None, share, EPSILON)

    def calibrate(self, batches: Iterable[Tensor], stride: int = 32) -> None:
        """Measure the norms' statistics on batches of images [B, 3, S, S]: their means over the batches.

        A random network's statistics, as stored, are 0 and 1, which are not those of what it computes.
        """
        import torch

        with torch.inference_mode():
            for seen, batch in enumerate(batches):
                self.maps(batch, (4,), seen, stride)

    def read(self, batches: Iterable[Tensor], stages: Sequence[int], stride: int = 32) -> dict[int, Tensor]:
        """Return the maps [N, D, h, w] of stages for all images of some batches; ValueError for one not finite."""
        import torch

        with torch.inference_mode():
            parts = [self.maps(batch, stages, stride=stride) for batch in batches]
            maps = {stage: torch.cat([part[stage] for part in parts]) for stage in stages}
        if not all(each.isfinite().all() for each in maps.values()):
            raise ValueError("the backbone's features are not finite")
        return maps


def enlarged(images: Tensor, scale: int) -> Iterator[Tensor]:
    """Yield batches of images [N, 3, S, S], brought bilinearly to sides of `scale` times S."""
    from torch.nn import functional as F

    for batch in images.split(BATCH):
        yield F.interpolate(batch.float(), scale_factor=scale, mode="bilinear") if scale > 1 else batch
