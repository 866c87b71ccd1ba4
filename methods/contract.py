"""The contract of a strategy, checked on its first batch: what it is called with, and the correspondence it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from methods.correspondence import Correspondence, FeatureMap, Strategy
from methods.similarity import Similarity


class Misfit(ValueError):
    """Strategy whose first correspondence does not keep its contract; the message says in what, in one line."""


class Raised(Misfit):
    """Strategy whose first call raised an error, which is the cause of this one."""


def checked(strategy: Strategy) -> Callable[[FeatureMap, FeatureMap, Similarity], Correspondence]:
    """Return a strategy's call that raises Misfit, in one line, where the strategy does not keep its contract."""

    def call(query: FeatureMap, key: FeatureMap, similarity: Similarity) -> Correspondence:
        check_call(strategy, query, key, similarity)
        try:
            links = strategy(query, key, similarity)
        except Exception as error:  # a user's strategy may raise anything
            raise Raised(f"{origin(strategy)}: __call__ raised {type(error).__name__}: {error}") from error
        check_links(strategy, query, key, links)
        return links

    return call


def check_call(strategy: Strategy, *arguments: object) -> None:
    """Raise Misfit if a strategy cannot be called with (query, key, similarity)."""
    signature = inspect.signature(strategy)
    try:
        signature.bind(*arguments)
    except TypeError as error:
        wanted = "(query, key, similarity) was expected"
        raise Misfit(f"{origin(strategy)}: __call__ takes {signature} ({error}): {wanted}") from None


def check_links(strategy: Strategy, query: FeatureMap, key: FeatureMap, links: object) -> None:
    """Raise Misfit unless links are a Correspondence with Q [B, N, H·W], K [B, M, H·W], W [B, N, M] ≥ 0, all finite."""
    from torch import Tensor

    where = origin(strategy)
    if not isinstance(links, Correspondence):
        raise Misfit(f"{where}: __call__ returned a {type(links).__name__}: a Correspondence was expected")
    for name, part in links._asdict().items():
        if not isinstance(part, Tensor) or part.ndim != 3:
            got = f"of shape {[*part.shape]}" if isinstance(part, Tensor) else f"a {type(part).__name__}"
            raise Misfit(f"{where}: {name} is {got}: a tensor of three dimensions was expected")
        if (part.dtype, part.device) != (query.cells.dtype, query.cells.device):
            wanted = f"{query.cells.dtype} on {query.cells.device} was expected"
            raise Misfit(f"{where}: {name} is {part.dtype} on {part.device}: {wanted}")
    (batch, seen), (_, others) = query.cells.shape[:2], key.cells.shape[:2]
    sites, targets = links.query.shape[1], links.key.shape[1]
    shapes = {
        "query": ("Q [B, N, H·W]", [batch, sites, seen]),
        "key": ("K [B, M, H·W]", [batch, targets, others]),
        "weight": ("W [B, N, M]", [batch, sites, targets]),
    }
    for name, (letters, shape) in shapes.items():
        part = getattr(links, name)
        if [*part.shape] != shape:
            raise Misfit(f"{where}: {name} is {[*part.shape]}: {letters}, here {shape}, was expected")
        if not part.isfinite().all():
            raise Misfit(f"{where}: {name} has {part[~part.isfinite()][0].item()}: finite numbers were expected")
    if (links.weight < 0).any():
        raise Misfit(f"{where}: weight has {links.weight.min().item():.4g}: numbers ≥ 0 were expected")


def origin(strategy: Strategy) -> str:
    """Return the module of a strategy and its file, for an error."""
    kind = type(strategy)
    return f"strategy {kind.__module__} ({inspect.getfile(kind)})"
