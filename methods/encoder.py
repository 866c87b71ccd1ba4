"""What an encoder's name builds; its state dict, under torchvision's names, is the product of a pre-training."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

ENCODERS = ("resnet18", "resnet34", "resnet50", "resnet101")  # torchvision's names


def build_encoder(name: str, zero_init: bool) -> nn.Sequential:
    """Return torchvision's ResNet up to layer4: images [B, 3, S, S] → cells [B, D, S/32, S/32] (METHODS 2.1).

    With zero_init the last BatchNorm of every residual branch starts at γ = 0, as in SimSiam. The state dict has
    torchvision's keys, fc left out.
    """
    import torch
    from torch import nn
    from torchvision import models

    resnet = getattr(models, name)(weights=None, zero_init_residual=zero_init)
    kept = [(name, part) for name, part in resnet.named_children() if name not in ("avgpool", "fc")]
    return nn.Sequential(OrderedDict(kept)).to(memory_format=torch.channels_last)


def width(network: nn.Sequential) -> int:
    """Return D, the channels of an encoder's output."""
    from torch import nn

    return [part.num_features for part in network.modules() if isinstance(part, nn.BatchNorm2d)][-1]
