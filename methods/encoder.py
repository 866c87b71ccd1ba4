"""A torchvision ResNet without its head; its state dict, under torchvision's names, is a pre-training's product."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torchvision import models


def encoder(depth: int, zero_init: bool) -> nn.Sequential:
    """ResNet-`depth` up to layer4: images [B, 3, S, S] → cells [B, D, S/32, S/32] (METHODS 2.1).

    With zero_init the last BatchNorm of every residual branch starts at γ = 0, as in SimSiam. The state dict has
    torchvision's keys, fc left out.
    """
    resnet = getattr(models, f"resnet{depth}")(weights=None, zero_init_residual=zero_init)
    kept = [(name, part) for name, part in resnet.named_children() if name not in ("avgpool", "fc")]
    return nn.Sequential(OrderedDict(kept)).to(memory_format=torch.channels_last)


def width(network: nn.Sequential) -> int:
    """D, the channels of an encoder's output."""
    return [part.num_features for part in network.modules() if isinstance(part, nn.BatchNorm2d)][-1]
