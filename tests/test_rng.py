"""A stream's numbers: uniform, an image's own, and nobody else's."""

import torch

from methods.rng import CounterRNG

SEEDS = torch.arange(64)


def test_numbers_are_uniform() -> None:
    numbers = CounterRNG(SEEDS)(2000).double()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    count = numbers.numel()
    assert abs(numbers.mean() - 0.5) < 4 * (1 / 12 / count) ** 0.5
    assert abs(numbers.var() - 1 / 12) < 4 * (1 / 180 / count) ** 0.5
    ranks = torch.arange(1, count + 1) / count
    assert (numbers.flatten().sort().values - ranks).abs().max() < 1.95 / count**0.5  # Kolmogorov, 1 in 1000
    bins = (numbers * 64).long().flatten().bincount(minlength=64).double()
    assert ((bins - count / 64) ** 2 / (count / 64)).sum() < 104  # χ² with 63 degrees of freedom, 1 in 1000


def test_an_image_s_numbers_do_not_depend_on_its_batch() -> None:
    whole = CounterRNG(SEEDS)(5, 2)
    assert torch.equal(CounterRNG(SEEDS[17:18])(5, 2), whole[17:18])
    assert torch.equal(CounterRNG(SEEDS.flip(0))(5, 2), whole.flip(0))


def test_consecutive_calls_go_on_whatever_their_shapes() -> None:
    stream = CounterRNG(SEEDS)
    parts = [stream(3), stream(0, 2), stream(2, 2), stream()]
    assert [tuple(part.shape[1:]) for part in parts] == [(3,), (0, 2), (2, 2), ()]
    joined = torch.cat([part.reshape(64, -1) for part in parts], dim=1)
    assert torch.equal(joined, CounterRNG(SEEDS)(8))
    assert len(joined.unique()) == joined.numel()


def test_torch_s_generator_is_neither_asked_nor_moved() -> None:
    torch.manual_seed(0)
    state, first = torch.get_rng_state(), CounterRNG(SEEDS)(4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(CounterRNG(SEEDS)(4), first)


def test_streams_of_neighbouring_seeds_are_uncorrelated() -> None:
    """Neighbours in either half of the 63 bits, complements, and the same stream a number later."""
    for step in (torch.tensor(1), torch.tensor(1 << 32), torch.tensor(1 << 62)):
        rows = CounterRNG(torch.stack([step * index for index in range(2)] + [~step]))(4096).double()
        found = torch.corrcoef(torch.cat([rows, rows.roll(1, dims=1)])) - torch.eye(6)
        assert found.abs().max() < 4.5 / 4096**0.5


def test_seeds_that_differ_give_other_numbers() -> None:
    seeds = torch.cat([torch.arange(10_000), torch.arange(10_000) << 32 | 7])
    first = CounterRNG(seeds)(2)
    assert len(first.unique(dim=0)) >= len(seeds.unique()) - 1
