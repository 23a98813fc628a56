"""What is drawn depends on seed, stage and position, and on nothing else."""

import torch

from fantasyid_engine.training.draws import chance, generator_at, index_at


def test_each_sample_comes_once_an_epoch_in_a_new_order() -> None:
    epochs = [[index_at(3, 1, epoch * 10 + i, 10) for i in range(10)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_orders_of_seeds_and_stages_differ() -> None:
    orders = {tuple(index_at(seed, stage, i, 20) for i in range(20)) for seed in (0, 1) for stage in (0, 1)}
    assert len(orders) == 4


def test_a_position_has_one_generator() -> None:
    places = [(seed, stage, position) for seed in (0, 1) for stage in (0, 1) for position in (0, 1, 2)]
    draws = [torch.randn(4, generator=generator_at(*place)) for place in places]
    again = [torch.randn(4, generator=generator_at(*place)) for place in places]
    assert all(torch.equal(one, other) for one, other in zip(draws, again, strict=True))
    assert len({tuple(draw.tolist()) for draw in draws}) == len(places)


def test_chance_is_a_share_and_takes_one_draw() -> None:
    generator = torch.Generator().manual_seed(0)
    hits = sum(chance(0.1, generator) for _ in range(5000))
    assert 420 < hits < 580
    for share in (0.0, 1.0):
        one, other = torch.Generator().manual_seed(7), torch.Generator().manual_seed(7)
        assert chance(share, one) is (share == 1.0)
        torch.rand((), generator=other)
        assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=other))
