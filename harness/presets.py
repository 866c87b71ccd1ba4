"""Bases of settings, from a laptop's minutes to the paper's GPU days; --set changes any field of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.scenes import Scenes
from benchmarks.scenes.compose import Layout
from benchmarks.voc07_12 import Voc0712
from methods.recipe import Heads, Recipe


@dataclass(frozen=True)
class Preset:
    """A base of settings that --set changes."""

    summary: str
    recipe: Recipe
    benchmark: Any
    scenes: Scenes | None  # to pre-train on where no folder is given; None: a folder must be given


DEMO = Scenes(
    layout=Layout(size=96, classes=("bed", "person", "potted_plant", "vehicle"), objects=(1, 2), extent=(0.45, 0.85)),
    train=1200,
    test=200,
    sizes=(96,),
)
STUDY = Scenes(train=4000, test=1000, sizes=(128,))
PRESETS = {
    "demo": Preset(
        "embedded data, ResNet-18, small views: minutes on a laptop's CPU",
        Recipe(depth=18, size=64, batch=64, epochs=8, heads=Heads(256, 256, 256)),
        DEMO,
        scenes=DEMO,
    ),
    "study": Preset(
        "embedded data, all classes, thousands of scenes: hours of CPU or minutes of GPU",
        Recipe(depth=18, size=96, batch=64, epochs=8, heads=Heads(256, 256, 256)),
        STUDY,
        scenes=STUDY,
    ),
    "paper": Preset(
        "ResNet-50, 224 px, an ImageNet folder, VOC07+12: the paper's setting, for GPUs",
        Recipe(),
        Voc0712(),
        scenes=None,
    ),
}
