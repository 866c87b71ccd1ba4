"""The network of a backbone file's tensors, of whichever width they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.models import ResNet


def network(state: Mapping[str, Tensor], encoder: str) -> ResNet:
    """Return torchvision's ResNet with all these tensors in the place of its own, and without its classifier.

    It takes images [B, 3, H, W] to the mean of layer4 [B, D]; its parts have torchvision's names.
    """
    import torch
    import torchvision

    with torch.device("meta"):  # where nothing is drawn: every tensor is replaced
        model: ResNet = getattr(torchvision.models, encoder)()
    model.fc = torch.nn.Identity()
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        value = torch.nn.Parameter(tensor) if leaf in ("weight", "bias") else tensor
        setattr(model.get_submodule(module), leaf, value)
    return model
