"""Drawing two views side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from harness.evidence.figures.views import shared_in
from harness.evidence.style import BLUE, ORANGE
from methods.pixsim import PixSim
from methods.views import View, normalise

VIEWS = BLUE, ORANGE  # frames of the first and of the second view
WIDTH = 7.0  # inches, a page's two columns
GAP = 0.12  # between two views, in sides of a view
Pixels = NDArray[np.float64]


def pixels(seen: View) -> Pixels:
    """A uint8 view as it is drawn: [S, S, 3] from 0 to 1."""
    shown: Pixels = seen.image[0].permute(1, 2, 0).numpy() / 255
    return shown


def show_views(ax: Axes, pair: tuple[View, View], drawn: Sequence[Pixels], top: float = 0.0) -> Axes:
    """Both views side by side in axes whose unit is a view's side, each framed and with the overlap in dashes."""
    for number, (seen, other) in enumerate((pair, pair[::-1])):
        left = number * (1 + GAP)
        ax.imshow(drawn[number], extent=(left, left + 1, top + 1, top), interpolation="nearest")
        outline(ax, (-0.013, -0.013, 1.013, 1.013), (left, top), color=VIEWS[number], linewidth=1.4)
        shared = shared_in(seen, other)
        if shared[2] > shared[0] and shared[3] > shared[1]:
            outline(ax, shared, (left, top), color="white", linewidth=1.6)
            outline(ax, shared, (left, top), color="black", linewidth=0.9, linestyle=(0, (3, 2)))
    return bare(ax)


def outline(ax: Axes, box: Sequence[float], at: tuple[float, float], **style: Any) -> None:
    """A frame x0, y0, x1, y1 in the unit coordinates of what begins at a place of the axes."""
    x0, y0, x1, y1 = box
    ax.add_patch(Rectangle((at[0] + x0, at[1] + y0), x1 - x0, y1 - y0, fill=False, **style))


def cased(ax: Axes, box: Sequence[float], at: tuple[float, float], colour: str) -> None:
    """An outline that is seen on any ground."""
    outline(ax, box, at, color="white", linewidth=2.4)
    outline(ax, box, at, color=colour, linewidth=1.4)


def bare(ax: Axes, height: float = 1.0) -> Axes:
    """Axes without an axis that hold two views side by side."""
    ax.set(xlim=(-0.03, 2.03 + GAP), ylim=(height + 0.03, -0.03), aspect="equal")
    ax.set_axis_off()
    return ax


def views_told(model: PixSim, seen: View) -> str:
    """What a figure's note says of its views."""
    height, width = model.look(normalise(seen, torch.device("cpu"))).shape
    return f"{seen.image.shape[-1]} px views, {height} × {width} cells; dashed: the overlap"
