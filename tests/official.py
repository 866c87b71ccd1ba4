"""Figures that the official implementations gave on closed-form inputs (METHODS 13); numbers only."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden.json").read_text(encoding="utf-8"))
PROBES: dict[str, Any] = json.loads((Path(__file__).parent / "golden_probe.json").read_text(encoding="utf-8"))


def wave(shape: tuple[int, ...], phase: float) -> Tensor:
    """S(shape, φ) = sin(0.37 k² + 0.7 k + φ), k row-major, computed in float64 and given as float32."""
    k = torch.arange(int(torch.tensor(shape).prod()), dtype=torch.float64)
    return torch.sin(0.37 * k**2 + 0.7 * k + phase).float().reshape(shape)
