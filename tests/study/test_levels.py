"""A loop in levels: the same numbers, and few states kept for its derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd.study import scan_in_levels
from jaxgd.study.levels import piece_length
from tests import tolerances

pytestmark = pytest.mark.usefixtures("quick_compile")

WIDE = 64


def step(state, j):
    state = jnp.sin(1.1 * state + jnp.cos(j * 1.0))
    return state, state.sum()


def end(start, length, levels):
    return scan_in_levels(step, start, length, levels, lambda js: js.astype(jnp.float32))


@pytest.mark.parametrize(("length", "levels"), [(1, 2), (7, 2), (12, 2), (31, 2), (31, 3)])
def test_levels_change_no_number_and_no_derivative(length, levels):
    start = jnp.linspace(-1, 1, 4)

    def both(start, levels):
        (state, outs), back = jax.vjp(lambda s: end(s, length, levels), start)
        return state, outs, back((jnp.ones_like(state), jnp.arange(length, dtype=outs.dtype)))[0]

    plain, levelled = (jax.jit(both, static_argnums=1)(start, c) for c in (1, levels))
    for a, b in zip(plain, levelled, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerances.RECOMPUTED_F32, atol=1e-6)
    assert levelled[1].shape == (length,)


def held(length, levels):
    slope = jax.jit(jax.grad(lambda s: end(s, length, levels)[0].sum()))
    analysis = slope.lower(jnp.ones(WIDE)).compile().memory_analysis()
    return analysis.temp_size_in_bytes / (4 * WIDE)


def test_a_derivative_keeps_c_roots_of_the_number_of_states():
    """In states of 64 numbers: what one level keeps of a step is one or two of them."""
    length = 4096
    one, two, three = (held(length, c) for c in (1, 2, 3))
    assert length <= one <= 3 * length
    assert two <= 3 * 2 * length ** (1 / 2)
    assert three <= 3 * 3 * length ** (1 / 3)
    assert held(4 * length, 2) < 2.5 * two  # twice as many states for four times the steps


def test_pieces_are_even_where_a_number_near_divides():
    for length in range(3, 200):
        for levels in (2, 3, 4):
            size, root = piece_length(length, levels), length ** (1 - 1 / levels)
            assert root - 1 <= size <= max(2, 1.5 * (root + 1))
    assert piece_length(100, 2) == 10
    assert piece_length(300, 2) == 20
    assert piece_length(10400, 2) == 104
    assert piece_length(101, 2) == 11
