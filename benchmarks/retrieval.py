"""Dense nearest neighbours in context (Hummingbird, Balažević et al. 2023), searched exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmarks.dense.probe import Cells, Prediction, Probe, prior_of

if TYPE_CHECKING:
    from torch import Tensor

MIXED = 0.02  # share of the prior in a probability, as a class among no neighbours must not cost infinitely much
QUERIES = 1024  # of one product


@dataclass(frozen=True)
class Retrieval(Probe):
    """Labels of a frozen cell's nearest training cells."""

    name: ClassVar[str] = "retrieval"
    least: ClassVar[Mapping[str, int]] = {**Probe.least, "k": 1}

    k: int = 30  # neighbours
    beta: float = 0.02  # temperature of their weights, softmax(cosine / beta)

    def __post_init__(self) -> None:
        """Raise ValueError for a temperature that makes no weights."""
        super().__post_init__()
        if self.beta <= 0:
            raise ValueError(f"beta={self.beta}: must be above 0")

    def predict(self, train: Cells, test: Cells, seed: int) -> Prediction:
        """Return the labels of the neighbours in a memory of all kept training cells, each weighted."""
        memory, known = (part[train.valid].float() for part in (train.features, train.shares))
        p = attended(test.features.flatten(0, 1).float(), memory, known, self.k, self.beta).unflatten(
            0, test.valid.shape
        )
        prior = prior_of(train)
        log_p = ((1 - MIXED) * p.double() + MIXED * prior).log()
        few = [f"{len(memory)} cells are in the memory, fewer than k"] if len(memory) < self.k else []
        return Prediction(log_p, p, p / prior.float(), {"memory": len(memory), "remarks": few})


def attended(queries: Tensor, memory: Tensor, labels: Tensor, k: int, beta: float) -> Tensor:
    """Return the mean labels [q, C] of the k rows of a memory [n, D] with the largest cosine to queries [q, D].

    Weights are softmax(cosine / beta); labels [n, C].
    """
    import torch
    from torch.nn import functional as F

    unit, keys = (F.normalize(part, dim=1, eps=1e-12) for part in (queries, memory))
    parts = []
    for block in unit.split(QUERIES):
        cosine, rows = (block @ keys.T).topk(min(k, len(keys)))
        parts.append(torch.einsum("qk,qkc->qc", (cosine / beta).softmax(1), labels[rows]))
    return torch.cat(parts)


BENCHMARK = Retrieval
