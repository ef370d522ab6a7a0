"""XLA on a CPU may copy a part of an array over another part of it from the wrong end.

openxla/xla issue 49176, in jax 0.10.2 and 0.12.0: in one fusion with a reshape, a slice of an array
that is put in another place of the same array is read after it has been overwritten. Every place in
jaxgd that moves rows within an array is held here against NumPy, in a loop and reshaped: L-BFGS's
history, and outs that are parts of a state. (A line search writes one end of a bracket over the
other, which cannot overlap.)
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd.optim.lbfgs_rule import _remember

HISTORY, N, STEPS = 3, 4, 7


def moved(x):
    """All rows but the first are those before them."""
    base = x + 1
    return base.at[1:].set(base[:-1]).reshape(1, *base.shape)


def test_the_comparison_sees_the_fault_where_xla_has_it():
    x = np.arange(4, dtype=np.int32).reshape(4, 1, 1)
    found = np.asarray(jax.jit(moved)(x)).ravel()
    if (found == [1, 1, 2, 3]).all():
        pytest.skip("this XLA is mended: the issue is closed for it")
    np.testing.assert_array_equal(found, [1, 1, 1, 1])


@pytest.fixture
def lbfgs():
    return jaxgd.optim.lbfgs(history_size=HISTORY).init(jnp.zeros(N))


def test_a_history_moves_up_by_a_row(lbfgs):
    grads = np.cumsum(np.arange(1.0, 1 + STEPS * N, dtype=np.float32).reshape(STEPS, N), axis=0)

    def one(state, grad):
        state = _remember(state._replace(d=jnp.ones(N), t=jnp.ones(())), grad)
        reshaped = state.old_dirs.reshape(1, N, HISTORY), state.ro.reshape(1, HISTORY, 1)
        return state._replace(prev_flat_grad=grad), reshaped

    state, (rows, ro) = jax.jit(lambda state: jax.lax.scan(one, state, grads))(lbfgs)
    changes = np.diff(grads, axis=0, prepend=np.zeros((1, N), np.float32))
    np.testing.assert_array_equal(state.old_dirs, changes[-HISTORY:])
    for i in range(HISTORY, STEPS + 1):
        np.testing.assert_array_equal(rows[i - 1].reshape(HISTORY, N), changes[i - HISTORY : i])
        expected = 1 / changes[i - HISTORY : i].sum(axis=1)
        np.testing.assert_allclose(ro[i - 1].ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize("b", [1, 2, 3])
def test_outs_that_are_parts_of_a_state(b):
    """A window over the rows visited, in the state and, reshaped, in the outs."""
    rows = np.arange(11, dtype=np.float32)

    def update(window, batch):
        window = jnp.concatenate([window[1:], batch[-1:]])
        return window, (window.reshape(1, -1), window[:-1], window[1:].reshape(-1, 1))

    epoch = jax.jit(jaxgd.visit(update, b))
    window, (whole, first, last) = epoch(jnp.zeros(4), rows, np.arange(11))
    seen = np.concatenate([np.zeros(4), rows[[*range(b - 1, 11, b)] + [10] * (11 % b > 0)]])
    expected = np.lib.stride_tricks.sliding_window_view(seen, 4)[1:]
    np.testing.assert_array_equal(window, expected[-1])
    np.testing.assert_array_equal(whole[:, 0], expected)
    np.testing.assert_array_equal(first, expected[:, :-1])
    np.testing.assert_array_equal(last[:, :, 0], expected[:, 1:])
