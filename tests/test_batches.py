"""Batches of rows: the right ones, in order, however many are gathered at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import batches
from jaxgd.batches import even_size, scan_batches

# Rows, batch size, batches of 12 bytes a row gathered at once: groups that come out even (8 batches
# by 4), that leave batches over (23 by 7), that hold them all, that hold one; a last batch that is
# full or is not.
CASES = [(24, 3, 4), (70, 3, 7), (69, 3, 7), (22, 3, 100), (25, 3, 0), (29, 1, 7), (7, 7, 1)]


def visited(n, b, rows):
    """What each batch holds and how many batches came before it, by `scan_batches`."""

    def update(count, batch):
        x, y = batch
        assert x.shape == (y.size, 2)
        return count + 1, jnp.stack([y, x[:, 0], x[:, 1], jnp.full(y.shape, count)], axis=1)

    y = jnp.arange(n, dtype=jnp.float32)
    count, out = jax.jit(lambda data, rows: scan_batches(update, 0.0, data, rows, b))(
        (jnp.stack([2 * y, 3 * y], axis=1), y), rows
    )
    return count, np.concatenate([np.asarray(part).reshape(-1, 4) for part in out])


@pytest.mark.parametrize(("n", "b", "ahead"), CASES)
def test_every_batch_holds_its_rows_in_order(monkeypatch, n, b, ahead):
    monkeypatch.setattr(batches, "GATHER_BYTES", ahead * b * 12)
    rows = np.random.default_rng(0).permutation(n)
    count, out = visited(n, b, jnp.asarray(rows))
    assert count == -(-n // b)
    np.testing.assert_array_equal(out[:, :3], rows[:, None] * np.array([1, 2, 3]))
    np.testing.assert_array_equal(out[:, 3], np.arange(n) // b)


def test_rows_past_the_ends_are_clamped():
    _, out = visited(4, 2, jnp.asarray([-5, 3, 9, 0]))
    np.testing.assert_array_equal(out[:, 0], [0, 3, 3, 0])


def test_pieces_come_out_even_where_they_can():
    assert even_size(24, most=10) == 8
    assert even_size(23, most=10) == 10, "a prime: one piece is odd"
    assert even_size(5, most=10) == 5
    assert even_size(5, most=0) == 1
    assert even_size(7, most=3) == 3, "pieces of 1 are not worth it"
    assert even_size(8, most=3) == 2
