"""The order of `shuffle` without the device: the same rows, at any positions."""

import jax
import numpy as np
import pytest

import jaxgd
from jaxgd import host_order, permutation
from jaxgd.streaming import blockwise, host_shuffle

# Ranked, at the border to Feistel's, with many that walk and with none.
SIZES = [1, 256, 257, 1024, 65_537]


@pytest.mark.parametrize("n", SIZES)
def test_it_is_shuffle_bit_for_bit(n):
    for seed in range(3):
        key = jax.random.key(seed)
        ours, theirs = host_shuffle(key, n)(np.arange(n)), jaxgd.shuffle(key, n)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_up_to_the_most_rows_there_may_be():
    key, n = jax.random.key(0), 2**31 - 1
    positions = np.r_[0, 1, n - 1, np.random.default_rng(0).integers(0, n, 1000)].astype(np.int32)
    np.testing.assert_array_equal(host_shuffle(key, n)(positions), jaxgd.shuffle(key, n, positions))


def test_it_asks_for_the_device_once(monkeypatch):
    """Whoever reads rows for the device must not queue behind it."""
    order = host_shuffle(jax.random.key(0), 1000)
    monkeypatch.setattr(host_order, "_bits", None)
    monkeypatch.setattr(permutation, "permuted", None)
    assert len(order(np.arange(10))) == 10


# Ragged and whole blocks and windows, one block, more window than blocks, a row a block.
BLOCKS = [(700, 60, 4), (600, 60, 5), (597, 60, 2), (31, 60, 2), (130, 60, 9), (25, 1, 3)]


@pytest.mark.parametrize(("n", "size", "window"), BLOCKS)
def test_blockwise_is_a_permutation_that_needs_few_blocks_at_a_time(n, size, window):
    order = blockwise(size, window)(jax.random.key(3), n)
    rows = order(np.arange(n))
    np.testing.assert_array_equal(np.sort(rows), np.arange(n))
    at = np.random.default_rng(n).integers(0, n, 20)
    np.testing.assert_array_equal(order(at), rows[at])
    for first in range(0, n, size * window):
        assert len({*rows[first : first + size * window] // size}) <= window


def test_blockwise_shuffles_blocks_and_rows_anew_by_key():
    order = blockwise(100, 4)
    one, other = (order(jax.random.key(s), 10_000)(np.arange(10_000)) for s in (0, 1))
    assert np.mean(one == other) < 0.01
    first = one[:400]
    assert len({*first // 100}) == 4
    assert np.mean(np.diff(first // 100) == 0) < 0.4  # a quarter, where blocks are mixed
    assert sorted({*(first // 100)}) != [0, 1, 2, 3]
