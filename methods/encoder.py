"""What an encoder's name builds; its state dict, under torchvision's names, is the product of a pre-training."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

ENCODERS = ("resnet18", "resnet34", "resnet50", "resnet101")  # torchvision's names
WIDTH = 64  # torchvision's: channels of the stem
COLOURS = 3


def build_encoder(name: str, zero_init: bool, width: int = WIDTH) -> nn.Sequential:
    """Return torchvision's ResNet up to layer4: images [B, 3, S, S] → cells [B, D, S/32, S/32] (METHODS 2.1).

    With zero_init the last BatchNorm of every residual branch starts at γ = 0, as in SimSiam. Of another width, every
    layer has width / 64 times torchvision's channels. The state dict has torchvision's keys, fc left out.
    """
    import torch
    from torch import nn
    from torchvision import models

    resnet = getattr(models, name)(weights=None, zero_init_residual=zero_init)
    if width != WIDTH:
        resize(resnet, width)
    kept = [(name, part) for name, part in resnet.named_children() if name not in ("avgpool", "fc")]
    return nn.Sequential(OrderedDict(kept)).to(memory_format=torch.channels_last)


def resize(resnet: nn.Module, width: int) -> None:
    """Give torchvision's ResNet another width; its convolutions are drawn anew, as torchvision draws them."""
    from torch import nn

    for part in resnet.modules():
        if isinstance(part, nn.Conv2d):
            part.out_channels = part.out_channels // WIDTH * width
            part.in_channels = part.in_channels // WIDTH * width or COLOURS
            part.weight = nn.Parameter(part.weight.new_empty(part.out_channels, part.in_channels, *part.kernel_size))
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.BatchNorm2d):
            part.num_features = part.num_features // WIDTH * width
            part.weight, part.bias = (
                nn.Parameter(like.detach()[:1].repeat(part.num_features)) for like in (part.weight, part.bias)
            )
            part.running_mean, part.running_var = (
                like[:1].repeat(part.num_features) for like in part.buffers() if like.dim()
            )


def channels(network: nn.Sequential) -> int:
    """Return D, the channels of an encoder's output."""
    from torch import nn

    return [part.num_features for part in network.modules() if isinstance(part, nn.BatchNorm2d)][-1]
