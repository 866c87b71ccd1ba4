"""Bases of settings, from a laptop's minutes to the paper's GPU days; --set changes any field of them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import AnyBenchmark
from benchmarks.scenes import DEMO, Scenes
from benchmarks.voc07_12 import Voc0712
from methods.recipe import Heads, Recipe


@dataclass(frozen=True)
class Preset:
    """A base of settings that --set changes."""

    summary: str
    recipe: Recipe
    benchmark: AnyBenchmark  # whose embedded images, if any, are pre-trained on where no folder is given


STUDY = Scenes(train=4000, test=1000, sizes=(128,), iterations=6000, batch=8, lr=0.01)
PRESETS = {
    "demo": Preset(
        "embedded data, ResNet-18, small views: minutes on a CPU",
        # 64 steps cannot open residual branches that start shut, so here they start open, for every strategy
        Recipe(encoder="resnet18", zero_init=False, size=64, batch=64, epochs=4, heads=Heads(128, 128, 128)),
        DEMO,
    ),
    "study": Preset(
        "embedded data, all classes: CPU hours or GPU minutes",
        Recipe(encoder="resnet18", size=96, batch=64, epochs=100, heads=Heads(256, 256, 256)),
        STUDY,
    ),
    "paper": Preset(
        "ResNet-50, 224 px, ImageNet, VOC07+12: the paper's",
        Recipe(),
        Voc0712(),
    ),
}
