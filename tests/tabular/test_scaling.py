"""Rows are standardised in pieces, to the bits of all of them at once."""

import numpy as np
import pytest

from jaxgd.tabular.scaling import PIECE, standardizer, standardizer_of_rows
from jaxgd.tabular.schema import in_default_float, scaled


@pytest.mark.parametrize("d", [1, 2, 10, 33])
@pytest.mark.parametrize("n", [3, PIECE, 2 * PIECE + 7])
def test_a_piece_at_a_time_the_bits_are_the_same(n, d):
    rng = np.random.default_rng(d)
    x = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-200, 200, d)
    x[:, 0] += 1e3 * np.abs(x[:, 0]).max()
    rows = np.sort(rng.permutation(n)[: -(-4 * n // 5)])
    whole, pieces = standardizer(x[rows]), standardizer_of_rows(x, rows)
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one, other)
    for some in (rows, slice(None)):
        at_once = in_default_float(whole.apply(x[some]))
        np.testing.assert_array_equal(scaled(x, whole, some), at_once)


def test_constant_columns_stay_finite_in_pieces():
    x = np.column_stack([np.full(2 * PIECE, 0.1), np.zeros(2 * PIECE)])
    rows = np.arange(len(x))
    for one, other in zip(standardizer(x), standardizer_of_rows(x, rows), strict=True):
        np.testing.assert_array_equal(one, other)
