"""Single rows of a linear predictor are visited to the same effect as those of any loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import Linear, init_linear, init_state, linear, minibatch, optim, sgd, supervised
from jaxgd.linear_row import fast_in_lanes, takes_rows
from tests.laws.problem import SGD
from tests.tolerances import PARITY_F64

pytestmark = pytest.mark.usefixtures("quick_compile")

N, D = 41, 53


def poisson(logit, label):
    return jnp.exp(logit) - label * logit


LOSSES = {
    "logistic": (jaxgd.binary_cross_entropy_with_logits, None),
    "squared": (jaxgd.squared_error, None),
    "Poisson": (poisson, None),
    "multinomial": (jaxgd.cross_entropy, 3),
}
OPTIMIZERS = {
    "Nesterov": optim.sgd(0.1, momentum=0.9, nesterov=True),
    "AdamW": optim.adamw(0.01),
    "averaged": optim.asgd(0.1, t0=3),
    "a value's": optax.chain(optim.sgd(0.1), optax.contrib.reduce_on_plateau(patience=2)),
}


def problem(outputs=None):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) / np.sqrt(D)
    labels = np.arange(N) % 3 if outputs else (x @ rng.normal(size=D) > 0).astype(float)
    return jnp.asarray(x), jnp.asarray(labels)


def both(loss, optimizer, params, data, order):
    """The epoch that knows its loss, and the one that does not; states and losses."""
    if not fast_in_lanes(*params.w.shape):
        pytest.skip("rows of several outputs are taken in lanes from jax 0.12 on")
    assert takes_rows(loss, params, data, None if order is None else jnp.asarray(order))
    hidden = sgd(lambda params, example: loss(params, example), optimizer)
    state = init_state(params, optimizer)
    known = sgd(loss, optimizer)
    return jax.jit(known)(state, data, order), jax.jit(hidden)(state, data, order)


def assert_same(ours, theirs, tolerance=PARITY_F64):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.optax_promotion
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_with_any_optimizer(optimizer):
    loss = supervised(linear, jaxgd.binary_cross_entropy_with_logits)
    order = np.random.default_rng(1).permutation(N)
    assert_same(*both(loss, optimizer, init_linear(D, key=jax.random.key(0)), problem(), order))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", LOSSES)
def test_with_any_loss_of_logits(name):
    link, outputs = LOSSES[name]
    params = init_linear(D, outputs, key=jax.random.key(0))
    assert_same(*both(supervised(linear, link), SGD, params, problem(outputs), None))


@pytest.mark.usefixtures("x64")
def test_without_a_bias():
    loss = supervised(linear, jaxgd.binary_cross_entropy_with_logits)
    params = Linear(init_linear(D, key=jax.random.key(0)).w, None)
    assert_same(*both(loss, SGD, params, problem(), None))


@pytest.mark.usefixtures("x64")
def test_others_than_rows_of_numbers_are_visited_as_before():
    """Rows of another dtype than the params' go the way of any loss, to its bits."""
    x, y = problem()
    loss = supervised(linear, jaxgd.binary_cross_entropy_with_logits)
    by_batch = minibatch(lambda params, example: loss(params, example), SGD, 1)

    def epoch(data):
        state = init_state(init_linear(D), SGD)
        return jax.jit(sgd(loss, SGD))(state, data), jax.jit(by_batch)(state, data)

    ours, theirs = epoch((x, y))
    assert_same(ours, theirs)
    single = x.astype(jnp.float32)
    with jax.numpy_dtype_promotion("standard"):
        ours, theirs = epoch((single, y))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("order", [None, np.arange(N)[::-1].copy()], ids=["lying", "reversed"])
def test_labels_may_be_any_tree(order):
    x, y = problem()

    def weighted(logit, label):
        return label["w"] * jaxgd.binary_cross_entropy_with_logits(logit, label["y"])

    data = (x, {"w": jnp.linspace(0.5, 2, N), "y": y})
    assert_same(*both(supervised(linear, weighted), SGD, init_linear(D), data, order))
    nothing = supervised(linear, lambda logit, label: (logit - 1) ** 2)
    assert_same(*both(nothing, SGD, init_linear(D), (x, None), order))


@pytest.mark.usefixtures("x64")
def test_derivatives_of_every_order_are_those_of_any_loss():
    loss = supervised(linear, jaxgd.binary_cross_entropy_with_logits)
    data = problem()

    def total(loss, rate):
        optimizer = optax.sgd(rate)
        state, losses = sgd(loss, optimizer)(init_state(init_linear(D), optimizer), data)
        return jnp.sum(losses) + jnp.sum(state.params.w)

    def hidden(params, example):
        return loss(params, example)

    for derivative in (jax.grad, jax.jacfwd, jax.hessian, lambda fn: jax.grad(jax.grad(fn))):
        ours = jax.jit(derivative(lambda rate: total(loss, rate)))(0.3)
        theirs = jax.jit(derivative(lambda rate: total(hidden, rate)))(0.3)
        np.testing.assert_allclose(ours, theirs, rtol=PARITY_F64)


def test_refuses_in_the_words_of_any_loss():
    params, data = init_linear(D), jax.tree.map(jnp.float32, problem())
    loss = supervised(linear, jaxgd.binary_cross_entropy_with_logits)
    with pytest.raises(TypeError, match=r"must be a State\(params, opt_state\)"):
        sgd(loss, SGD)(params, data)
    per_output = supervised(linear, lambda logits, label: (logits - label) ** 2)
    with pytest.raises(ValueError, match="must return a scalar for one example"):
        sgd(per_output, SGD)(init_state(init_linear(D, 1), SGD), data)
