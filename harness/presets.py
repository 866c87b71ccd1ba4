"""Bases of settings, from a laptop's minutes to the paper's GPU days; --set changes any field of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.scenes import Scenes
from benchmarks.scenes.layout import Layout
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
    layout=Layout(
        size=96,
        classes=("person", "potted_plant", "vehicle"),
        objects=(1, 2),
        distractors=(0, 1),
        extent=(0.5, 0.85),
        visible=0.6,
    ),
    train=1024,
    test=200,
    sizes=(96,),
    norm="FrozenBN",
    iterations=450,
    lr=0.007,
    decay=(0.6, 0.85),
    warmup=20,
)
STUDY = Scenes(train=4000, test=1000, sizes=(128,), iterations=6000, batch=8, lr=0.01)
PRESETS = {
    "demo": Preset(
        "embedded data, ResNet-18, small views: minutes on a CPU",
        # 64 steps cannot open residual branches that start shut, so here they start open, for every strategy
        Recipe(depth=18, zero_init=False, size=64, batch=64, epochs=4, heads=Heads(128, 128, 128)),
        DEMO,
        scenes=DEMO,
    ),
    "study": Preset(
        "embedded data, all classes: CPU hours or GPU minutes",
        Recipe(depth=18, size=96, batch=64, epochs=100, heads=Heads(256, 256, 256)),
        STUDY,
        scenes=STUDY,
    ),
    "paper": Preset(
        "ResNet-50, 224 px, ImageNet, VOC07+12: the paper's",
        Recipe(),
        Voc0712(),
        scenes=None,
    ),
}
