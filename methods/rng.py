"""Stateless (counter-based) random numbers for each image: the same on any device, rank and after any resuming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

WORD = 0xFFFFFFFF


class Draw(Protocol):
    """Source of uniform numbers for each image of a batch."""

    def __call__(self, *shape: int) -> Tensor:
        """Return the next numbers [B, *shape] of [0, 1)."""
        ...


class CounterRNG:
    """Random-number generator of B images with seeds [B] int64, a hash of seed and counter; torch's stays untouched."""

    def __init__(self, seed: Tensor) -> None:
        """Start at the first number."""
        self.seed, self.drawn = seed, 0

    def __getitem__(self, images: Tensor) -> CounterRNG:
        """Return the generator of some images, a mask [B], at the number where this one is."""
        rest = CounterRNG(self.seed[images])
        rest.drawn = self.drawn
        return rest

    def __call__(self, *shape: int) -> Tensor:
        """Return the next numbers [B, *shape] of [0, 1), multiples of 2⁻²⁴."""
        import torch

        count = torch.Size(shape).numel()
        index = torch.arange(self.drawn, self.drawn + count, device=self.seed.device)
        self.drawn += count
        start = scramble(scramble(self.seed) ^ (self.seed >> 32))
        numbers = scramble(start[:, None] + scramble(index + 1))
        return ((numbers >> 8) * 2.0**-24).reshape(len(self.seed), *shape)


def scramble(number: Tensor) -> Tensor:
    """Return a 32-bit hash of the low halves of int64 numbers: each bit of the input flips half of the output's bits.

    The multipliers and shifts are lowbias32 of C. Wellons's hash-prospector (2018).
    """
    number = number & WORD
    number = (number ^ (number >> 16)) * 0x7FEB352D & WORD
    number = (number ^ (number >> 15)) * 0x846CA68B & WORD
    return number ^ (number >> 16)
