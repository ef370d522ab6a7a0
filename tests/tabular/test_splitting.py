"""Rows held out: a partition that the key decides, by class, by groups or by time."""

import jax
import numpy as np
import pytest

from jaxgd.tabular.splitting import split

KEY = jax.random.key(0)
N = 50


def is_partition(train, held):
    return np.array_equal(np.sort(np.concatenate([train, held])), np.arange(len(train) + len(held)))


def test_a_rare_class_is_held_out_in_its_part():
    classes = np.array([0] * 35 + [1] * 10 + [2] * 5)
    for seed in range(4):
        train, held = split(jax.random.key(seed), N, 0.2, classes=classes)
        assert is_partition(train, held)
        assert np.bincount(classes[held]).tolist() == [7, 2, 1]
    again, _ = split(jax.random.key(seed), N, 0.2, classes=classes)
    np.testing.assert_array_equal(again, train)


def test_parts_that_are_not_whole_are_rounded_to_the_sum():
    classes = np.array([0] * 31 + [1] * 12 + [2] * 7)
    _, held = split(KEY, N, 0.3, classes=classes)
    assert np.bincount(classes[held]).tolist() == [9, 4, 2]  # of 9.3, 3.6 and 2.1


def test_a_class_of_one_row_is_trained_on():
    classes = np.array([1] + [0] * (N - 1))
    assert all(0 in split(jax.random.key(i), N, 0.3, classes=classes)[0] for i in range(4))


def test_frequent_classes_leave_the_draw_as_it_is():
    n = 200
    plain = split(KEY, n, 0.2)[1]
    by_class = split(KEY, n, 0.2, classes=np.arange(n) % 2)[1]
    np.testing.assert_array_equal(by_class, plain)


def test_groups_stay_together():
    groups = np.arange(N) % 7
    for seed in range(4):
        train, held = split(jax.random.key(seed), N, 0.3, groups=groups)
        assert is_partition(train, held)
        assert not set(groups[train]) & set(groups[held])
        assert 15 - 8 < len(held) <= 15
    with pytest.raises(ValueError, match="at least one group; got one"):
        split(KEY, N, 0.3, groups=np.zeros(N, int))


def test_a_large_group_is_never_all_that_is_held_out():
    groups = np.repeat([0, 1, 2], [N - 12, 7, 5])
    for seed in range(4):
        _, held = split(jax.random.key(seed), N, 0.3, groups=groups)
        assert set(groups[held]) == {1, 2}
        _, held = split(jax.random.key(seed), N, 0.05, groups=groups)
        assert set(groups[held]) == {2}  # the smallest, where none is small enough


def test_the_latest_rows_are_held_out():
    times = np.random.default_rng(0).permutation(N)
    train, held = split(KEY, N, 0.2, times=times)
    assert is_partition(train, held)
    assert sorted(times[held]) == list(range(40, 50))


def test_rows_of_one_time_are_on_one_side():
    times = np.repeat([3, 1, 4, 2], [16, 18, 4, N - 38])
    for held_out, latest in ((0.05, {4}), (0.2, {4}), (0.3, {3, 4}), (0.9, {2, 3, 4})):
        train, held = split(KEY, N, held_out, times=times)
        assert is_partition(train, held)
        assert set(times[held]) == latest
        assert not set(times[train]) & latest
    with pytest.raises(ValueError, match="at least one time; all rows are of one"):
        split(KEY, N, 0.3, times=np.zeros(N))
