"""Parts of every figure: two views side by side, boxes and captions.

Unit coordinates lie in a view as it is seen, x to the right and y down, whether it is mirrored or not.
"""

from __future__ import annotations

import textwrap
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
LETTERS = 22  # of a caption per inch
GAP = 0.12  # between two views, in sides of a view
Pixels = NDArray[np.float64]


def pixels(view: View) -> Pixels:
    """Return the image of a uint8 view: [S, S, 3] from 0 to 1."""
    image: Pixels = view.image[0].permute(1, 2, 0).numpy() / 255
    return image


def show_views(ax: Axes, pair: tuple[View, View], images: Sequence[Pixels], top: float = 0.0) -> Axes:
    """Draw both views side by side, each in its frame and with the overlap in dashes; the unit is a view's side."""
    for number, (view, other) in enumerate((pair, pair[::-1])):
        left = number * (1 + GAP)
        ax.imshow(images[number], extent=(left, left + 1, top + 1, top), interpolation="nearest")
        outline(ax, (-0.013, -0.013, 1.013, 1.013), (left, top), color=VIEWS[number], linewidth=1.4)
        shared = shared_in(view, other)
        if shared[2] > shared[0] and shared[3] > shared[1]:
            outline(ax, shared, (left, top), color="white", linewidth=1.6)
            outline(ax, shared, (left, top), color="black", linewidth=0.9, linestyle=(0, (3, 2)))
    return bare(ax)


def outline(ax: Axes, box: Sequence[float], at: tuple[float, float], **style: Any) -> None:
    """Draw the frame of a box x0, y0, x1, y1 in the unit coordinates of a view whose corner lies at a point."""
    x0, y0, x1, y1 = box
    ax.add_patch(Rectangle((at[0] + x0, at[1] + y0), x1 - x0, y1 - y0, fill=False, **style))


def outline_on_any_ground(ax: Axes, box: Sequence[float], at: tuple[float, float], colour: str) -> None:
    """Draw a frame with a white border, so that it is seen on any picture."""
    outline(ax, box, at, color="white", linewidth=2.4)
    outline(ax, box, at, color=colour, linewidth=1.4)


def bare(ax: Axes, height: float = 1.0) -> Axes:
    """Hide the axes, and set their limits for two views side by side."""
    ax.set(xlim=(-0.03, 2.03 + GAP), ylim=(height + 0.03, -0.03), aspect="equal")
    ax.set_axis_off()
    return ax


def describe_views(model: PixSim, view: View) -> str:
    """Return what a caption says about the views."""
    height, width = model.look(normalise(view, torch.device("cpu"))).shape
    return f"Views of {view.image.shape[-1]} px, {height} × {width} cells; dashed: where the two overlap."


def caption_lines(text: str, width: float) -> str:
    """Return a caption on lines that a figure of a width in inches can hold."""
    return textwrap.fill(text, int(width * LETTERS))
