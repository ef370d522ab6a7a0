"""The lesson's claims: mini-batch gradients are unbiased, and their variance falls as 1/b."""

from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_breast_cancer

import jaxgd
from tests.laws.problem import D, data, loss, start

pytestmark = pytest.mark.usefixtures("quick_compile")


def batch_gradients(rows, table):
    """The gradient that a batch of each given rows would descend along: [batches, d + 1]."""
    update = jaxgd.step(loss, optax.sgd(1.0))
    state = start(optax.sgd(1.0), scale=0.3)

    def gradient(rows):
        moved = update(state, jax.tree.map(lambda a: a[rows], table))[0].params
        return jnp.append(state.params.w - moved.w, state.params.b - moved.b)

    return np.asarray(jax.jit(jax.vmap(gradient))(jnp.asarray(rows)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("b", [1, 2, 3, 5, 6])
def test_gradients_of_all_batches_average_to_the_full_gradient(b):
    """Exactly, over every one of the C(6, b) batches an epoch may draw; variance as theory has it.

    Without replacement the variance is σ²/b · (n - b)/(n - 1): it falls as 1/b and, for b = n,
    to zero.
    """
    n, table = 6, data(6, jnp.float64)
    full = batch_gradients([list(range(n))], table)[0]
    one = batch_gradients([[i] for i in range(n)], table)
    batches = batch_gradients(list(combinations(range(n), b)), table)
    np.testing.assert_allclose(batches.mean(0), full, rtol=1e-12)
    np.testing.assert_allclose(
        batches.var(0), one.var(0) / b * (n - b) / (n - 1), rtol=1e-11, atol=1e-28
    )


@pytest.mark.usefixtures("x64")
def test_variance_is_exactly_one_over_b_with_replacement():
    n, table = 4, data(4, jnp.float64)
    one = batch_gradients([[i] for i in range(n)], table)
    for b in (2, 3, 4):
        every = batch_gradients(list(product(range(n), repeat=b)), table)
        np.testing.assert_allclose(every.var(0), one.var(0) / b, rtol=1e-11)
    assert one.var(0).shape == (D + 1,)
    assert (one.var(0) > 0).all()


def test_minibatch_needs_fewer_epochs_than_gd_on_real_data():
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    table = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    optimizer = optax.sgd(0.1)
    state = jaxgd.init_state(jaxgd.init_linear(30), optimizer)
    epochs_to_reach = {}
    for name, epoch in {
        "gd": jaxgd.gd(loss, optimizer),
        "minibatch": jaxgd.minibatch(loss, optimizer, 32),
    }.items():
        _, losses = jax.jit(jaxgd.train(epoch, 60))(state, table, jax.random.key(0))
        epochs_to_reach[name] = int(np.argmax(np.asarray(losses).mean(1) < 0.15))
    assert 0 < epochs_to_reach["minibatch"] < 5
    assert epochs_to_reach["gd"] > 5 * epochs_to_reach["minibatch"]
