"""Similarities of two embeddings, each a pair of maps whose dot product it is (METHODS 2.4).

With S(p, z) = φ(p) ψ(z)ᵀ the formula becomes −Σ φ(p) · (W ψ(z)), and no [B, N, M] similarities are ever held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Similarity(Protocol):
    """Two maps whose dot product is the similarity."""

    def __call__(self, p: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(p) [B, N, C] and ψ(z) [B, M, C] of predictions p [B, N, C] and projections z [B, M, C]."""
        ...


def cross_entropy(p: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Log softmax(p) · softmax(z), temperature 1 (DenseSiam).

    Returns log-probabilities of p [B, N, C] and probabilities of z [B, M, C] over the C channels (METHODS 2.4).
    """
    return p.log_softmax(-1), z.softmax(-1)


def cosine(p: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine of two unit vectors (SimSiam, Eq. 1).

    Returns p [B, N, C] and z [B, M, C], each divided by its length over the C channels.
    """
    from torch.nn.functional import normalize

    return normalize(p, dim=-1), normalize(z, dim=-1)


def distance(similarity: Similarity, p: Tensor, z: Tensor) -> Tensor:
    """Return the distance [B, N] between p and z [B, N, C], site by site (METHODS 2.4)."""
    predicted, target = similarity(p, z)
    return -(predicted * target).sum(-1)


SIMILARITIES: dict[str, Similarity] = {"cross_entropy": cross_entropy, "cosine": cosine}
