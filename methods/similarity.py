"""How alike two embeddings are: each similarity is a pair of maps whose dot product it is (METHODS 2.4).

With S(p, z) = φ(p) ψ(z)ᵀ the formula becomes −Σ φ(p) · (W ψ(z)), and no [B, N, M] similarities are ever held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Similarity(Protocol):
    """The two maps of a similarity."""

    def __call__(self, p: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """φ(p) [B, N, C] and ψ(z) [B, M, C] for predictions p [B, N, C] and projections z [B, M, C]."""
        ...


def cross_entropy(p: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """log softmax(p) · softmax(z), temperature 1 (DenseSiam).

    p [B, N, C] gives log-probabilities and z [B, M, C] probabilities over the C channels (METHODS 2.4).
    """
    return p.log_softmax(-1), z.softmax(-1)


def cosine(p: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine of p [B, N, C] and z [B, M, C] (SimSiam, Eq. 1)."""
    from torch.nn.functional import normalize

    return normalize(p, dim=-1), normalize(z, dim=-1)


def distance(similarity: Similarity, p: Tensor, z: Tensor) -> Tensor:
    """d [B, N] between p and z [B, N, C], site by site (METHODS 2.4)."""
    predicted, target = similarity(p, z)
    return -(predicted * target).sum(-1)


SIMILARITIES: dict[str, Similarity] = {"cross_entropy": cross_entropy, "cosine": cosine}
