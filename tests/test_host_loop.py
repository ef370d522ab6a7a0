"""Walk is visit from the host: the same epoch, for convolutions on a CPU and for iterators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd.fitting import method
from jaxgd.fitting.checks import check_loss
from jaxgd.fitting.program import has_convolution
from tests.laws.problem import KEY, MOMENTUM, B, N, data, leaves, loss, start
from tests.laws.test_visits import ORDERS, ROWS, telling


@pytest.mark.parametrize("order", [None, *ORDERS.values()], ids=["as they lie", *ORDERS])
def test_walk_visits_what_visit_visits(order):
    order = None if order is None else np.asarray(order, np.int32)
    walked = jaxgd.walk(telling, B)(0, ROWS, order)
    visited = jaxgd.visit(telling, B)(0, ROWS, order)
    for ours, theirs in zip(leaves(walked), leaves(visited), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.shape == theirs.shape


def test_walk_descends_as_visit_does():
    update, order = jaxgd.step(loss, MOMENTUM), jaxgd.shuffle(KEY, N)
    ours = jaxgd.walk(update, B)(start(MOMENTUM), data(), order)
    theirs = jax.jit(jaxgd.visit(update, B))(start(MOMENTUM), data(), order)
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_batches_may_come_from_an_iterator():
    x, y = data()
    batches = ((x[i : i + B], y[i : i + B]) for i in range(0, N, B))
    update = jaxgd.step(loss, MOMENTUM)
    ours = jaxgd.walk(update)(start(MOMENTUM), batches)
    theirs = jaxgd.walk(update, B)(start(MOMENTUM), data())
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_walk_compiles_the_update_once_for_full_batches_and_once_for_the_short_one():
    traced = []

    def update(state, batch):
        traced.append(len(batch))
        return telling(state, batch)

    epoch = jaxgd.walk(update, B)
    for order in (None, ROWS, ROWS[::-1]):
        epoch(0, ROWS, order)
    assert sorted(traced) == [N % B, B]


def test_outs_may_be_keys():
    def update(state, batch):
        return state, jax.random.fold_in(KEY, batch.sum())

    _, keys = jaxgd.walk(update, B)((), ROWS)
    assert (keys == jaxgd.visit(update, B)((), ROWS)[1]).all()


def test_walk_cannot_be_traced():
    with pytest.raises(TypeError, match=r"walk runs on the host .* Use visit there"):
        jax.jit(jaxgd.walk(telling, B))(0, ROWS)


def test_an_iterator_without_batches_is_told():
    with pytest.raises(ValueError, match="at least one batch; got none"):
        jaxgd.walk(telling)(0, iter(()))


def convolved(params, example):
    x, y = example
    h = jax.lax.conv(x.reshape(1, 1, 1, -1), params[None, None, None, :3], (1, 1), "SAME")
    return jaxgd.binary_cross_entropy_with_logits(jnp.sum(jax.jit(jnp.tanh)(h)), y)


@pytest.mark.parametrize(("of", "expected"), [(convolved, True), (loss, False)])
def test_a_convolution_is_found_in_what_a_loss_traces_to(of, expected):
    params = jnp.ones(5) if expected else start(MOMENTUM).params
    assert has_convolution(check_loss(of, params, data())) is expected
    wrapped = jax.checkpoint(jax.jit(of))
    assert has_convolution(check_loss(wrapped, params, data())) is expected


def loops_run(monkeypatch, batch_size):
    """Whether a fit of a convolution put it into a compiled loop."""
    compiled = []
    program_of = method.program_of
    monkeypatch.setattr(method, "program_of", lambda *a: compiled.append(a[-2]) or program_of(*a))
    jaxgd.fit(
        convolved,
        jnp.ones(5) / 3,
        data(),
        optimizer="sgd",
        epochs=2,
        batch_size=batch_size,
        key=KEY,
    )
    return compiled


@pytest.mark.parametrize("batch_size", [None, B])
def test_fit_walks_a_convolution_from_the_host_on_a_cpu(monkeypatch, batch_size):
    assert loops_run(monkeypatch, batch_size) == [True]
