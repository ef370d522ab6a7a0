"""blocked_sgd is per-example SGD: the same params, losses and state as one row at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from sklearn.linear_model import SGDClassifier, SGDRegressor

from jaxgd import Linear, State, init, init_linear, linear, sgd, shuffle, train
from jaxgd import binary_cross_entropy_with_logits as logistic_loss
from jaxgd.blocked import _standstill, blocked_sgd
from tests.tolerances import BLOCKED_F32, PARITY_F64


def half_square(logit, label):
    return jnp.square(logit - label) / 2


def huber(logit, label):
    return optax.losses.huber_loss(logit, label, delta=0.3)


def smooth_hinge(logit, label):
    """Zero past the margin, quadratic up to it, linear beyond."""
    gap = jnp.maximum(0.0, 1.0 - (2.0 * label - 1.0) * logit)
    return jnp.where(gap < 1.0, jnp.square(gap) / 2, gap - 0.5)


LINKS = {"logistic": logistic_loss, "square": half_square, "huber": huber, "hinge": smooth_hinge}


def problem(n=203, d=5, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.geomspace(0.3, 2.0, d)
    y = (x @ rng.normal(size=d) + rng.normal(size=n) > 0).astype(dtype)
    params = Linear(jnp.asarray(rng.normal(size=d), dtype), jnp.asarray(0.4, dtype))
    return params, (jnp.asarray(x, dtype), jnp.asarray(y))


def one_by_one(link, rate, l2):
    def loss(params, example):
        x, y = example
        return link(linear(params, x), y)

    return sgd(loss, optax.chain(optax.add_decayed_weights(l2), optax.sgd(rate)))


def assert_equal_descents(ours, theirs, tolerance):
    """Params, moves of params and losses, each relative to its scale."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("l2", [0.0, 0.02])
@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("block_size", [1, 8, 29, 203], ids="block{}".format)
def test_equals_sgd(link, l2, block_size):
    params, data = problem()
    epoch, reference = blocked_sgd(link, 0.1, l2=l2, block_size=block_size), one_by_one(link, 0.1, l2)
    state = init(params, optax.sgd(0.1))
    order = shuffle(jax.random.key(3), 203)
    (ours, losses), (theirs, expected) = epoch(state, data, order), reference(state, data, order)
    moved = jax.tree.map(jnp.subtract, ours.params, params)
    assert_equal_descents(
        (ours.params, moved, losses),
        (theirs.params, jax.tree.map(jnp.subtract, theirs.params, params), expected),
        PARITY_F64,
    )
    assert int(ours.epoch) == 1


@pytest.mark.parametrize("d", [1, 12, 30, 103, 300])
@pytest.mark.parametrize("block_size", [None, 1])
def test_features_are_all_used_whatever_their_number(dtype, d, block_size):
    params, data = problem(n=64, d=d, dtype=dtype)
    state = init(params, optax.sgd(0.02))
    ours = jax.jit(blocked_sgd(logistic_loss, 0.02, block_size=block_size))(state, data)
    theirs = jax.jit(one_by_one(logistic_loss, 0.02, 0.0))(state, data)
    tolerance = PARITY_F64 if dtype == jnp.float64 else BLOCKED_F32
    assert_equal_descents((ours[0].params, ours[1]), (theirs[0].params, theirs[1]), tolerance)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("block_size", [1, 16])
def test_equals_torch_with_weight_decay(block_size):
    params, (x, y) = problem()
    w, b = (torch.tensor(np.asarray(leaf), requires_grad=True) for leaf in params)
    optimizer = torch.optim.SGD([w, b], lr=0.1, weight_decay=0.05)
    expected = []
    for row, label in zip(torch.tensor(np.asarray(x)), torch.tensor(np.asarray(y)), strict=True):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(row @ w + b, label)
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    epoch = blocked_sgd(logistic_loss, 0.1, l2=0.05, block_size=block_size)
    state, losses = jax.jit(epoch)(init(params, optax.identity()), (x, y))
    theirs = (w.detach().numpy(), b.detach().numpy(), np.array(expected))
    assert_equal_descents((*state.params, losses), theirs, PARITY_F64)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("block_size", [1, 16])
@pytest.mark.parametrize("alpha", [0.0, 0.01])
@pytest.mark.parametrize(
    ("link", "estimator"),
    [
        (logistic_loss, partial(SGDClassifier, loss="log_loss")),
        (half_square, partial(SGDRegressor, loss="squared_error")),
        (huber, partial(SGDRegressor, loss="huber", epsilon=0.3)),
    ],
    ids=["logistic", "square", "huber"],
)
def test_equals_scikit_learn(link, estimator, alpha, block_size):
    """Its intercept does not decay: with decay the bias is one more weight, of a column of ones."""
    params, (x, y) = problem(d=12)
    fit_intercept = alpha == 0
    if not fit_intercept:
        x = jnp.concatenate([x, jnp.ones((len(x), 1))], axis=1)
    theirs = estimator(
        penalty="l2",
        alpha=alpha,
        learning_rate="constant",
        eta0=0.1,
        max_iter=3,
        tol=None,
        shuffle=False,
        fit_intercept=fit_intercept,
    ).fit(np.asarray(x), np.asarray(y))

    def shifted(logit, label):
        """Without an intercept of its own: what the bias adds is a constant of no consequence."""
        return link(logit, label)

    start = Linear(jnp.zeros(x.shape[1]), jnp.zeros(()))
    if fit_intercept:
        epoch = blocked_sgd(shifted, 0.1, l2=alpha, block_size=block_size)
        state, _ = train(epoch, 3, shuffle=False)(init(start, optax.identity()), (x, y), jax.random.key(0))
        np.testing.assert_allclose(state.params.b, theirs.intercept_.item(), rtol=PARITY_F64)
        ours = state.params.w
    np.testing.assert_allclose(
        ours, theirs.coef_.ravel(), rtol=0, atol=PARITY_F64 * np.abs(theirs.coef_).max()
    )
