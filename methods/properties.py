"""What holds of every strategy, whatever it pairs; `harness check` tries it on a user's, the tests on all of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from methods.contract import Misfit, check_links, checked
from methods.correspondence import FeatureMap, Strategy
from methods.pixsim import PixSim
from methods.recipe import Heads, Recipe
from methods.similarity import cross_entropy
from methods.strategies.simsiam import SimSiam
from methods.views import View

BATCH, SIDE = 4, 64
RECIPE = Recipe(encoder="resnet18", size=SIDE, batch=BATCH, heads=Heads(8, 8, 8))
BOXES = torch.tensor([[0.0, 0, 90, 80], [100, 20, 30, 90], [0, 0, 50, 50], [5, 5, 70, 70]])
OTHERS = torch.tensor([[40.0, 10, 120, 100], [20, 0, 90, 70], [80, 80, 120, 120], [70, 5, 5, 70]])  # 3rd: disjoint
FRAME, SEED = torch.tensor([[300.0, 150]]).expand(BATCH, -1), torch.arange(BATCH)
APART = torch.tensor([[200.0, 0, 290, 80]]).expand(BATCH, -1)
SHAPES = ((1, 1), (2, 2), (7, 7), (14, 14), (3, 5))  # cells down and across


class Broken(ValueError):
    """Property that does not hold; the message says what was wanted and what is there, in one line."""


def violations(strategy: Strategy) -> Iterator[tuple[str, str | None]]:
    """Yield each property as a sentence, with what is wrong, in one line, or None where it holds."""
    for sentence, check in PROPERTIES.items():
        try:
            check(strategy)
        except Exception as error:  # a user's strategy may raise anything
            name = "" if isinstance(error, Broken | Misfit) else f"{type(error).__name__}: "
            yield sentence, " ".join(f"{name}{error}".split())
        else:
            yield sentence, None


def wave(shape: tuple[int, ...], phase: float) -> Tensor:
    """Return numbers that look random and are the same everywhere."""
    steps = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (steps * 0.7 + phase).sin().reshape(shape).float()


def maps(box: Tensor, phase: float, shape: tuple[int, int] = (2, 2)) -> FeatureMap:
    """Return a view at boxes [B, 4] with features of its own."""
    count = shape[0] * shape[1]
    z, p = wave((BATCH, count, 8), phase + 1), wave((BATCH, count, 8), phase + 2)
    return FeatureMap(wave((BATCH, count, 16), phase), box, FRAME, SEED, shape, z, p)


def views() -> tuple[View, View]:
    """Return two views of a batch of noise, of which one image's views share nothing."""
    generator = torch.Generator().manual_seed(1)
    one, other = torch.randn(2, BATCH, 3, SIDE, SIDE, generator=generator)
    return View(one, BOXES, FRAME, SEED), View(other, OTHERS, FRAME, SEED)


def model(strategy: Strategy) -> PixSim:
    """Return the network of a strategy from fixed initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PixSim(strategy, RECIPE)


def has_shapes(strategy: Strategy) -> None:
    """Raise Misfit or Broken unless Q, K and W fit maps of any shape and linked rows sum to one."""
    for shape in SHAPES:
        query, key = maps(BOXES, 0, shape), maps(OTHERS, 5, shape)
        found = checked(strategy)(query, key, cross_entropy)
        check_links(strategy, query, key, found)
        for name, rows, linked in (
            ("query", found.query, found.weight.any(2)), ("key", found.key, found.weight.any(1))
        ):  # fmt: skip
            sums = rows.sum(-1)[linked]
            if not torch.allclose(sums, torch.ones_like(sums), atol=1e-5, rtol=0):
                wrong = sums[(sums - 1).abs().argmax()].item()
                raise Broken(f"{name}: rows that sum to 1 were expected, one sums to {wrong:.6g} ({shape} cells)")


def repeats(strategy: Strategy) -> None:
    """Raise Broken unless a second call gives the same and draws nothing from torch's generator."""
    query, key = maps(BOXES, 0, (7, 7)), maps(OTHERS, 5, (7, 7))
    before = torch.get_rng_state()
    first, second = strategy(query, key, cross_entropy), strategy(query, key, cross_entropy)
    if not torch.equal(before, torch.get_rng_state()):
        raise Broken("random numbers of query.seed were expected (methods/rng.py), torch's generator was used")
    for name, one, other in zip(first._fields, first, second, strict=True):
        if not torch.equal(one, other):
            raise Broken(f"{name}: the same numbers were expected of the same views, others came")


def is_symmetric(strategy: Strategy) -> None:
    """Raise Broken unless exchanging the views leaves the loss."""
    first, second = views()
    network = model(strategy)
    one, other = network(first, second).value.item(), network(second, first).value.item()
    if not abs(one - other) <= 1e-6:
        raise Broken(f"the same loss was expected, {one:.6g} and {other:.6g} came: is it directed?")


def survives_disjoint(strategy: Strategy) -> None:
    """Raise Broken unless views that share nothing give a finite loss, and, where nothing is paired, no gradient."""
    first, second = views()
    network = model(strategy)
    loss = network(first, second._replace(box=APART))
    loss.value.backward()
    if not torch.isfinite(loss.value):
        raise Broken(f"a finite loss was expected, it is {loss.value.item()}")
    moved = [weight for weight in network.parameters() if weight.grad is not None and weight.grad.any()]
    if not loss.forth.weight.any() and (loss.value != 0 or moved):
        raise Broken(f"W is all zeros, so a loss of 0 without gradient was expected, it is {loss.value.item():.6g}")


def stops_gradient(strategy: Strategy) -> None:
    """Raise Broken unless the target receives no gradient."""
    branch = model(strategy).branch
    p, z = wave((BATCH, 3, 8), 0.1).requires_grad_(), wave((BATCH, 3, 8), 0.2).requires_grad_()
    branch.distance(p, z, torch.eye(3).expand(BATCH, -1, -1)).backward()
    if p.grad is None or z.grad is not None:
        raise Broken("a gradient of p alone was expected")


def takes_bfloat16(strategy: Strategy) -> None:
    """Raise Broken unless the loss is finite and in fp32 under autocast."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(strategy)(*views()).value
    if loss.dtype != torch.float32 or not torch.isfinite(loss):
        raise Broken(f"a finite loss in torch.float32 was expected, it is {loss.item()} in {loss.dtype}")


def starts_equal(strategy: Strategy) -> None:
    """Raise Broken unless the encoder starts from the weights that every strategy starts from."""
    found, expected = (model(one).encoder.state_dict() for one in (strategy, SimSiam()))
    if not all(torch.equal(found[name], weight) for name, weight in expected.items()):
        raise Broken("the encoder's weights of every other strategy were expected")


PROPERTIES: dict[str, Callable[[Strategy], None]] = {
    "Q, K and W have their shapes, W ≥ 0, and linked rows of Q and K sum to 1": has_shapes,
    "the same views give the same correspondence": repeats,
    "exchanging the views changes nothing": is_symmetric,
    "views that share nothing give a finite loss": survives_disjoint,
    "the target receives no gradient": stops_gradient,
    "precision=bf16 works": takes_bfloat16,
    "the encoder starts from the same weights as with every strategy": starts_equal,
}
