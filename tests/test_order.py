"""The order is a bijection for every n, has random access, and is as uniform as it claims."""

import math
from functools import partial
from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxgd.permutation
from jaxgd.order import shuffle

# Seeds are fixed, so these tests are deterministic: a p-value below this is a defect, not bad luck.
P_MIN = 1e-4


def is_permutation(order, n):
    return np.array_equal(np.sort(np.asarray(order)), np.arange(n))


def orders(n, count, seed=0):
    """`count` orders of n rows, one a key: [count, n]."""
    keys = jax.random.split(jax.random.key(seed), count)
    return np.asarray(jax.jit(jax.vmap(lambda key: shuffle(key, n)))(keys))


def test_bijective_for_every_n_that_is_ranked():
    rank = jax.jit(jaxgd.permutation._rank)
    for n in range(1, jaxgd.permutation._RANKED + 1):
        words = np.random.default_rng(n).integers(
            0, max(2, n // 2), n, dtype=np.uint32
        )  # with ties
        expected = np.argsort(np.argsort(words, kind="stable"))
        # The padding words are larger than all others, so one compilation serves every n.
        padded = np.append(words, np.full(jaxgd.permutation._RANKED - n, 2**32 - 1, np.uint32))
        got = np.asarray(rank(padded, np.arange(jaxgd.permutation._RANKED, dtype=np.int32)))
        np.testing.assert_array_equal(got[:n], expected)


def test_bijective_for_every_n_that_is_enciphered():
    walk = jax.jit(jaxgd.permutation._walk, static_argnames="overflow")
    positions = np.arange(2048, dtype=np.uint32)
    for n in range(jaxgd.permutation._RANKED + 1, 2001):
        a, b = jaxgd.permutation._factors(n)
        keys = np.random.default_rng(n).integers(
            0, 2**32, jaxgd.permutation._ROUNDS, dtype=np.uint32
        )
        cipher = jaxgd.permutation.Cipher(keys, np.uint32(n), np.uint32(a), np.uint32(b))
        rows = np.asarray(walk(cipher, positions, overflow=a * b - n))
        assert is_permutation(rows[:n], n), n


@pytest.mark.parametrize(
    "n", [1, 2, 3, 7, 64, 255, 256, 257, 569, 2000, 60_000, 65_536, 999_983, 10**6, 10**7]
)
def test_bijective_end_to_end(n):
    order = jax.jit(lambda key: shuffle(key, n))(jax.random.key(n))
    assert order.dtype == jnp.int32
    assert is_permutation(order, n)


@pytest.mark.halved
@pytest.mark.parametrize("n", [5, 256, 257, 1009, 10**6])
def test_any_position_on_its_own(n):
    key = jax.random.key(1)
    every = np.asarray(shuffle(key, n))
    positions = np.random.default_rng(0).integers(0, n, (3, 5))
    np.testing.assert_array_equal(shuffle(key, n, positions), every[positions])
    assert shuffle(key, n, 2) == every[2]


@settings(max_examples=8, deadline=None)  # each n compiles anew
@given(st.integers(257, 2**31 - 1), st.integers(0, 2**32 - 1))
def test_positions_of_huge_n_stay_below_n_and_apart(n, seed):
    positions = np.unique(np.random.default_rng(seed).integers(0, n, 50, dtype=np.int32))
    rows = np.asarray(shuffle(jax.random.key(seed), n, positions))
    assert rows.min() >= 0
    assert rows.max() < n
    assert len(np.unique(rows)) == len(positions)


def test_factors_cover_n_and_waste_little():
    for n in [*range(257, 5000), 999_983, 2**31 - 1]:
        a, b = jaxgd.permutation._factors(n)
        assert n <= a * b < n + math.isqrt(n)
        assert max(a, b) <= 2.5 * min(a, b)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_small_n_reaches_every_order_equally_often(n):
    codes = orders(n, 24_000) @ (n ** np.arange(n))
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == math.factorial(n)
    assert stats.chisquare(counts).pvalue > P_MIN


def position_by_value_pvalue(sample):
    count, n = sample.shape
    cells = np.zeros((n, n))
    np.add.at(cells, (np.arange(n)[None, :].repeat(count, 0), sample), 1)
    statistic = ((cells - count / n) ** 2 / (count / n)).sum()
    return stats.chi2.sf(statistic, (n - 1) ** 2)


def pair_pvalue(sample):
    """Is the step from the first position's row to any other's uniform over 1 … n-1 (mod n)?

    The least of the n - 1 p-values, times their number.
    """
    n = sample.shape[1]
    steps = (sample[:, 1:] - sample[:, :1]) % n
    counts = np.stack([np.bincount(column, minlength=n)[1:] for column in steps.T])
    return min(1, stats.chisquare(counts, axis=1).pvalue.min() * (n - 1))


def neighbour_pvalue(sample):
    """Are the rows at neighbouring positions uncorrelated, but for not being the same row?"""
    n = sample.shape[1]
    correlation = np.corrcoef(sample[:, :-1].ravel(), sample[:, 1:].ravel())[0, 1]
    excess = correlation + 1 / (n - 1)
    return 2 * stats.norm.sf(abs(excess) * np.sqrt(sample[:, 1:].size))


def key_pvalue(sample):
    """Are the orders of consecutive keys uncorrelated?"""
    return stats.pearsonr(sample[:-1].ravel(), sample[1:].ravel()).pvalue


STATISTICS = [position_by_value_pvalue, pair_pvalue, neighbour_pvalue, key_pvalue]


@pytest.mark.halved
@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("n", [12, 256, 257, 300, 1009])
def test_uniform(n, statistic):
    assert statistic(orders(n, 4000)) > P_MIN


def test_epoch_keys_are_unrelated():
    key = jax.random.key(5)
    fold = jax.jit(jax.vmap(lambda e: shuffle(jax.random.fold_in(key, e), 500)))
    sample = np.asarray(fold(jnp.arange(2000)))
    assert key_pvalue(sample) > P_MIN
    assert position_by_value_pvalue(sample) > P_MIN


def weak_orders(monkeypatch, name, value):
    monkeypatch.setattr(jaxgd.permutation, name, value)
    return orders(300, 4000)


def test_statistics_catch_two_rounds(monkeypatch):
    sample = weak_orders(monkeypatch, "_ROUNDS", 2)
    assert min(statistic(sample) for statistic in STATISTICS) < P_MIN


def test_statistics_catch_a_linear_round(monkeypatch):
    sample = weak_orders(monkeypatch, "_word", lambda key, half: (key >> 1) + half)
    assert min(statistic(sample) for statistic in STATISTICS) < P_MIN


def sorts(permute):
    return permute.lower(jax.random.key(0)).compile().as_text().count(" sort(")


@pytest.mark.parametrize("n", [100, 10**6, 1_000_002])
def test_needs_no_sort(n):
    assert sorts(jax.jit(partial(shuffle, n=n))) == 0
    assert sorts(jax.jit(lambda key: jax.random.permutation(key, n))) > 0


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (2**31, ValueError), (True, ValueError), (2.0, TypeError)],
)
def test_bad_n(n, error):
    with pytest.raises(error, match=rf"n must be .*; got n={n}"):
        unchecked(shuffle)(jax.random.key(0), n)


def test_n_may_be_a_numpy_integer():
    key = jax.random.key(0)
    np.testing.assert_array_equal(unchecked(shuffle)(key, np.int64(10)), shuffle(key, 10))
