"""Other people's loaders and training steps as their authors publish them, for `python -m tests.speed` to time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torchvision import models, transforms

from methods.views import MEAN, STD

Step = Callable[[], Any]


def blur(image: Image.Image) -> Image.Image:
    """SimSiam's GaussianBlur."""
    return image.filter(ImageFilter.GaussianBlur(radius=float(torch.empty(()).uniform_(0.1, 2.0))))


def torchvision_pair(files: Sequence[Path], size: int) -> Step:
    """SimSiam's main_simsiam.py: two views of the next image by torchvision's PIL pipeline, to a normalised tensor."""
    compose = transforms.Compose([
        transforms.RandomResizedCrop(size, scale=(0.2, 1.0)),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.RandomApply([blur], p=0.5),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    turn = 0

    def step() -> tuple[Tensor, Tensor]:
        nonlocal turn
        turn += 1
        with open(files[turn % len(files)], "rb") as content:
            image = Image.open(content).convert("RGB")
        return compose(image), compose(image)

    return step


def resnet(encoder: str, kept: int) -> nn.Sequential:
    """The first parts of a torchvision ResNet, as lightly's examples cut it."""
    return nn.Sequential(*list(getattr(models, encoder)().children())[:kept])


def autocast(batch: Tensor, bf16: bool) -> torch.autocast:
    """Lightning's precision="bf16-mixed", or none."""
    return torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16)


def lightly_simsiam(encoder: str, views: tuple[Tensor, Tensor], bf16: bool = False) -> Step:
    """A step of lightly's example simsiam.py on a resident batch; ModuleNotFoundError without lightly."""
    modules, losses = import_module("lightly.models.modules"), import_module("lightly.loss")
    width = 512 if encoder in ("resnet18", "resnet34") else 2048
    parts = nn.ModuleList(
        [
            resnet(encoder, -1),
            modules.SimSiamProjectionHead(width, 512, 128),
            modules.SimSiamPredictionHead(128, 64, 128),
        ]
    ).to(views[0].device)
    backbone, projection, prediction = parts
    criterion = losses.NegativeCosineSimilarity()
    optimizer = torch.optim.SGD(parts.parameters(), lr=0.06)

    def look(view: Tensor) -> tuple[Tensor, Tensor]:
        z = projection(backbone(view).flatten(start_dim=1))
        return z.detach(), prediction(z)

    def step() -> float:
        with autocast(views[0], bf16):
            (z0, p0), (z1, p1) = look(views[0]), look(views[1])
            loss = 0.5 * (criterion(z0, p1) + criterion(z1, p0))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def lightly_densecl(encoder: str, views: tuple[Tensor, Tensor], bf16: bool = False) -> Step:
    """A step of lightly's example densecl.py on a resident batch: one view alone has a gradient."""
    modules, losses, helpers = (import_module(f"lightly.{name}") for name in ("models.modules", "loss", "models.utils"))
    width = 512 if encoder in ("resnet18", "resnet34") else 2048
    heads = [modules.DenseCLProjectionHead(width, width, 128) for _ in range(2)]
    trained = nn.ModuleList([resnet(encoder, -2), *heads]).to(views[0].device)
    followed = copy.deepcopy(trained)
    helpers.deactivate_requires_grad(followed)
    criteria = [losses.NTXentLoss(memory_bank_size=(4096, 128)).to(views[0].device) for _ in range(2)]
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.06)

    def look(parts: nn.ModuleList, view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        cells = parts[0](view)
        rows = cells.flatten(start_dim=2).permute(0, 2, 1)
        return rows, parts[1](cells.mean((2, 3))), parts[2](rows)

    def step() -> float:
        for part, follower in zip(trained, followed, strict=True):
            helpers.update_momentum(part, follower, m=0.999)
        with autocast(views[0], bf16):
            query, whole, local = look(trained, views[0])
            with torch.no_grad():
                key, key_whole, key_local = look(followed, views[1])
            key_local = helpers.select_most_similar(query, key, key_local)
            loss = (criteria[0](whole, key_whole) + criteria[1](local.flatten(0, 1), key_local.flatten(0, 1))) / 2
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step
