"""Statistics of norms, measured anew for every backbone alike.

A random network has stored means of 0 and variances of 1, which are not those of what it computes, and a pre-trained
one those of its own views; norms that are frozen would compare the two by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.dense.cells import BATCH, ResNet
from benchmarks.dense.images import squares
from benchmarks.resuming import files


def calibrated(backbone: Path, encoder: str, images: Sequence[Path], side: int, target: Path, device: str) -> Path:
    """Write the backbone with the statistics of these images, whole and `side` px a side, to `target`; return that."""
    network = ResNet(backbone, encoder, device)
    network.calibrate(squares(images[at : at + BATCH], side) for at in range(0, len(images), BATCH))
    files.write(target, partial(torch.save, {name: part.cpu() for name, part in network.state.items()}))
    return target
