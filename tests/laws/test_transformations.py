"""A run is one pure function: vmap is a loop, grad is its slope, sharded is whole."""

from functools import partial
from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxgd
from jaxgd.chunks import rows_in_cache
from tests.laws.problem import EPOCHS, KEY, SGD, data, leaves, loss, start
from tests.tolerances import CHUNKED_F32, FINITE_DIFFERENCE, REORDERED_F32, ROUNDED_F16

pytestmark = pytest.mark.usefixtures("quick_compile")

every_algorithm = pytest.mark.parametrize("name", EPOCHS)


def losses_at(name, learning_rate, key, scale, table, epochs=5):
    """All losses of a run whose learning rate is made inside the program."""
    optimizer = optax.sgd(learning_rate)
    run = jaxgd.train(EPOCHS[name](loss, optimizer), epochs)
    return run(start(optimizer, scale), table, key)[1]


def assert_close(ours, theirs, limit=REORDERED_F32):
    scale = np.abs(theirs).max()
    assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() <= limit * scale


@every_algorithm
@pytest.mark.parametrize("over", ["learning rate", "key", "params"])
def test_vmap_equals_a_loop(name, over):
    rates, keys, scales = jnp.asarray([0.01, 0.1, 1.0]), jax.random.split(KEY, 3), jnp.arange(3.0)
    points, axes = {
        "learning rate": ([(r, KEY, 0.1) for r in rates], (0, None, None)),
        "key": ([(0.1, k, 0.1) for k in keys], (None, 0, None)),
        "params": ([(0.1, KEY, s) for s in scales], (None, None, 0)),
    }[over]
    stacked = [
        jnp.stack(column) if axis == 0 else column[0]
        for column, axis in zip(zip(*points, strict=True), axes, strict=True)
    ]
    one = jax.jit(partial(losses_at, name, table=data()))
    together = jax.vmap(one, in_axes=axes)(*stacked)
    alone = np.stack([one(*point) for point in points])
    if (name, over) != ("gd", "key"):  # full-batch descent has no order
        assert not np.allclose(alone[0], alone[1], rtol=1e-2)
    assert_close(together, alone)


@every_algorithm
@pytest.mark.usefixtures("x64")
def test_gradient_through_a_run_is_the_finite_difference(name):
    table = data(dtype=jnp.float64)

    @jax.jit
    def final(learning_rate, scale):
        return jnp.mean(losses_at(name, learning_rate, KEY, scale, table)[-1])

    point, h = (jnp.asarray(0.1), jnp.asarray(0.1)), 1e-5
    for i, slope in enumerate(jax.jit(jax.grad(final, argnums=(0, 1)))(*point)):
        up, down = ([p + s * h * (i == j) for j, p in enumerate(point)] for s in (1, -1))
        expected = (final(*up) - final(*down)) / (2 * h)
        assert abs(expected) > 1e-3
        assert_close(slope, expected, FINITE_DIFFERENCE)


@every_algorithm
def test_sharded_rows_equal_one_device(name):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    table = data(n=24)
    run = jax.jit(jaxgd.train(EPOCHS[name](loss, SGD), 5))
    alone_state, alone = run(start(SGD), table, KEY)
    sharded_table = jax.device_put(table, NamedSharding(mesh, P("data")))
    replicated = jax.device_put((start(SGD), KEY), NamedSharding(mesh, P()))
    sharded_state, sharded = run(replicated[0], sharded_table, replicated[1])
    assert len(sharded_table[0].sharding.device_set) == 8
    assert_close(sharded, alone)
    for a, b in zip(leaves(sharded_state.params), leaves(alone_state.params), strict=True):
        assert_close(a, b)


def test_chunks_change_nothing_but_rounding():
    whole = jax.jit(jaxgd.gd(loss, SGD))(start(SGD), data())
    for chunk in (1, 7, 24, 25, 1000):
        parts = jax.jit(jaxgd.gd(loss, SGD, chunk=chunk))(start(SGD), data())
        for a, b in zip(leaves(parts), leaves(whole), strict=True):
            assert_close(a, b)


def test_gd_works_in_chunks_by_default_where_the_data_exceed_the_cache(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    big = data(n=1_000_003)
    assert 1 < rows_in_cache(big) < 1_000_003
    parts = jax.jit(jaxgd.gd(loss, SGD))(start(SGD), big)
    whole = jax.jit(jaxgd.gd(loss, SGD, chunk=1_000_003))(start(SGD), big)
    for a, b in zip(leaves(parts), leaves(whole), strict=True):
        assert_close(a, b, CHUNKED_F32)


def test_chunks_of_half_precision_are_added_up_in_float32():
    """70,000 losses overflow float16 when they are added up in it."""
    half = jax.tree.map(lambda a: a.astype(jnp.float16), data(n=70_000))
    state = start(SGD)._replace(params=jaxgd.Linear(jnp.zeros(5, jnp.float16), jnp.float16(0)))
    new, losses = jax.jit(jaxgd.gd(loss, SGD, chunk=1000))(state, half)
    exact = jax.jit(jaxgd.gd(loss, SGD))(
        start(SGD)._replace(params=jaxgd.Linear(jnp.zeros(5), jnp.zeros(()))),
        jax.tree.map(lambda a: a.astype(jnp.float32), half),
    )
    assert new.params.w.dtype == losses.dtype == jnp.float16
    for a, b in zip((*new.params, losses), (*exact[0].params, exact[1]), strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), b, atol=ROUNDED_F16)


@pytest.mark.parametrize(("chunk", "error"), [(0, ValueError), (-5, ValueError), (2.5, TypeError)])
def test_bad_chunk(chunk, error):
    with pytest.raises(error, match="chunk must be an integer of at least 1; got chunk="):
        unchecked(jaxgd.gd)(loss, SGD, chunk=chunk)
