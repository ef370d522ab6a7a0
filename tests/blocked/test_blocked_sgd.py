"""blocked_sgd is per-example SGD: the same params, losses and state as one row at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import SGDClassifier, SGDRegressor

from jaxgd import (
    Linear,
    State,
    batches,
    init_linear,
    init_state,
    linear,
    sgd,
    shuffle,
    supervised,
    train,
)
from jaxgd import binary_cross_entropy_with_logits as logistic_loss
from jaxgd.blocked import blocked_sgd
from jaxgd.blocked.gram_block import _standstill
from jaxgd.linear_row import dot_in_lanes
from tests.tolerances import BLOCKED_F32, HALF_PRECISION_TO_SGD, PARITY_F64


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


def one_by_one(link, rate, l2=0.0):
    return sgd(
        supervised(linear, link), optax.chain(optax.add_decayed_weights(l2), optax.sgd(rate))
    )


def fresh(params):
    """A state for both: plain SGD with decay keeps nothing."""
    return init_state(params, optax.chain(optax.add_decayed_weights(0.0), optax.sgd(0.1)))


def assert_equal_descents(ours, theirs, tolerance):
    """Params, moves of params and losses, each relative to its scale."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.halved
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("block_size", [1, 8, 203], ids="block{}".format)
def test_equals_sgd(link, block_size):
    params, data = problem()
    l2 = 0.02
    epoch, reference = (
        blocked_sgd(link, 0.1, l2=l2, block_size=block_size),
        one_by_one(link, 0.1, l2),
    )
    state = fresh(params)
    order = shuffle(jax.random.key(3), 203)
    (ours, losses), (theirs, expected) = epoch(state, data, order), reference(state, data, order)
    moved = jax.tree.map(jnp.subtract, ours.params, params)
    assert_equal_descents(
        (ours.params, moved, losses),
        (theirs.params, jax.tree.map(jnp.subtract, theirs.params, params), expected),
        PARITY_F64,
    )


@pytest.mark.halved
@pytest.mark.parametrize("d", [1, 30, 49, 103, 300, 1100])
def test_features_are_all_used_whatever_their_number(dtype, d):
    params, data = problem(n=64, d=d, dtype=dtype)
    state = fresh(params)
    ours = jax.jit(blocked_sgd(logistic_loss, 0.02))(state, data)
    theirs = jax.jit(one_by_one(logistic_loss, 0.02))(state, data)
    tolerance = PARITY_F64 if dtype == jnp.float64 else BLOCKED_F32
    assert_equal_descents((ours[0].params, ours[1]), (theirs[0].params, theirs[1]), tolerance)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("rows", [1, 7, 27, 29, 203])
def test_rows_gathered_ahead_are_those_of_the_order(monkeypatch, rows):
    """203 = 7 · 29 rows: groups that come out even, and one that does not."""
    params, data = problem()
    monkeypatch.setattr(batches, "ROW_GATHER_BYTES", rows * 6 * 8)
    order = shuffle(jax.random.key(3), 203)
    ours = jax.jit(blocked_sgd(logistic_loss, 0.1, block_size=1))(fresh(params), data, order)
    theirs = one_by_one(logistic_loss, 0.1)(fresh(params), data, order)
    assert_equal_descents((ours[0].params, ours[1]), (theirs[0].params, theirs[1]), PARITY_F64)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_products_of_half_precision_are_not_rounded(dtype):
    """(1 + ε)² - (1 + ε)(1 + 2ε) = -ε - ε²; rounded to half precision, each product loses ε²."""
    eps = float(jnp.finfo(dtype).eps)
    a, b = jnp.array([1 + eps, 1 + eps], dtype), jnp.array([1 + eps, -1 - 2 * eps], dtype)
    for dot in (dot_in_lanes, jax.jit(dot_in_lanes)):
        assert float(dot(a, b)) == -eps - eps**2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_loses_about_as_much_as_in_sgd(dtype):
    params, data = problem(n=64, d=60, dtype=np.float32)
    half = jax.tree.map(lambda a: a.astype(dtype), (params, data))
    exact, _ = jax.jit(one_by_one(logistic_loss, 0.1))(fresh(params), data)

    def error(epoch):
        state, _ = jax.jit(epoch)(fresh(half[0]), half[1])
        assert state.params.w.dtype == dtype
        return np.abs(state.params.w.astype(np.float32) - exact.params.w).max()

    ours = error(blocked_sgd(logistic_loss, 0.1, block_size=1))
    assert 0 < ours < HALF_PRECISION_TO_SGD * error(one_by_one(logistic_loss, 0.1))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("block_size", [1, 16])
def test_equals_torch_with_weight_decay(block_size):
    torch = pytest.importorskip("torch")
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
    state, losses = jax.jit(epoch)(fresh(params), (x, y))
    theirs = (w.detach().numpy(), b.detach().numpy(), np.array(expected))
    assert_equal_descents((*state.params, losses), theirs, PARITY_F64)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("block_size", [1, 16])
@pytest.mark.parametrize(
    ("link", "estimator"),
    [
        (logistic_loss, partial(SGDClassifier, loss="log_loss")),
        (half_square, partial(SGDRegressor, loss="squared_error")),
        (huber, partial(SGDRegressor, loss="huber", epsilon=0.3)),
    ],
    ids=["logistic", "square", "huber"],
)
def test_equals_scikit_learn(link, estimator, block_size):
    """Its intercept would not decay, so the bias is the weight of a column of ones there."""
    _, (x, y) = problem(d=12)
    theirs = estimator(
        penalty="l2",
        alpha=0.01,
        learning_rate="constant",
        eta0=0.1,
        max_iter=3,
        tol=None,
        shuffle=False,
        fit_intercept=False,
    ).fit(np.column_stack([x, np.ones(len(x))]), np.asarray(y))
    run = train(blocked_sgd(link, 0.1, l2=0.01, block_size=block_size), 3, order=None)
    state, _ = jax.jit(run)(
        init_state(init_linear(12), optax.identity()), (x, y), jax.random.key(0)
    )
    assert_equal_descents(np.append(*state.params), theirs.coef_.ravel(), PARITY_F64)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("rate", [30.0, 1e4])
def test_a_huge_learning_rate_is_iterated_to_the_end(rate):
    params, data = problem(n=64)
    state = fresh(params)
    ours, losses = jax.jit(blocked_sgd(logistic_loss, rate, block_size=64))(state, data)
    theirs, expected = jax.jit(one_by_one(logistic_loss, rate))(state, data)
    assert_equal_descents((ours.params, losses), (theirs.params, expected), PARITY_F64)


@pytest.mark.parametrize(("d", "block_size"), [(5, 32), (5, 1), (59, 1)])
def test_divergence_stays_in_the_rows_it_began_in(dtype, d, block_size):
    """Squared loss at a learning rate of 1e8: every row multiplies the logits, up to infinity."""
    params, data = problem(n=64, d=d, dtype=dtype)
    state = fresh(params)
    ours, losses = jax.jit(blocked_sgd(half_square, 1e8, block_size=block_size))(state, data)
    theirs, expected = jax.jit(one_by_one(half_square, 1e8))(state, data)
    settled = np.isfinite(expected)
    assert 2 <= settled.sum() < 60
    np.testing.assert_array_equal(np.isfinite(losses), settled)
    np.testing.assert_allclose(losses[settled], expected[settled], rtol=BLOCKED_F32)
    assert not np.isfinite(ours.params.w).any()
    assert not np.isfinite(theirs.params.w).any()


def test_no_pass_more_than_rows_and_few_as_a_rule():
    def chain(z):
        """Every row hangs on the one before: the slowest to settle."""
        return jnp.concatenate([jnp.ones(1), z[:-1] + 1])

    z, passes = _standstill(chain, jnp.zeros(32))
    np.testing.assert_array_equal(chain(z), z)
    assert int(passes) == 32
    _, passes = _standstill(lambda z: z, jnp.full(32, jnp.nan))
    assert int(passes) == 32
    _, passes = _standstill(lambda z: jnp.ones(32), jnp.zeros(32))
    assert int(passes) == 2


def test_state_and_order_are_those_of_sgd():
    params, data = problem(n=50, dtype=np.float32)
    state = State((params.w, params.b), {"anything": jnp.arange(3)})
    epoch = jax.jit(blocked_sgd(logistic_loss, 0.1, block_size=16))
    after, losses = epoch(state, data)
    assert losses.shape == (50,)
    assert type(after.params) is tuple
    np.testing.assert_array_equal(after.opt_state["anything"], jnp.arange(3))
    as_they_lie, _ = epoch(state, data, np.arange(50))
    np.testing.assert_array_equal(after.params[0], as_they_lie.params[0])
    _, reversed_losses = epoch(state, data, np.arange(50)[::-1])
    assert not np.allclose(losses, reversed_losses[::-1])


@pytest.mark.parametrize("block_size", [1, 8])
def test_a_sweep_of_learning_rates_is_one_program(block_size):
    params, data = problem(n=50, dtype=np.float32)
    state = fresh(params)

    def losses(rate):
        return blocked_sgd(logistic_loss, rate, block_size=block_size)(state, data)[1]

    rates = jnp.array([0.01, 0.1, 1.0])
    together = jax.jit(jax.vmap(losses))(rates)
    alone = jnp.stack([jax.jit(losses)(rate) for rate in rates])
    np.testing.assert_allclose(together, alone, rtol=BLOCKED_F32, atol=BLOCKED_F32)


def test_refuses_what_it_cannot_do():
    params, (x, y) = problem(n=6, d=3, dtype=np.float32)
    epoch = blocked_sgd(logistic_loss, 0.1)

    def state(params):
        return fresh(params)

    with pytest.raises(TypeError, match="got a schedule"):
        blocked_sgd(logistic_loss, optax.constant_schedule(0.1))
    with pytest.raises(ValueError, match="integer of at least 1; got block_size=0"):
        blocked_sgd(logistic_loss, 0.1, block_size=0)
    with pytest.raises(ValueError, match=r"takes data \(x \[n, d\] of a float dtype, y \[n\]\)"):
        epoch(state(params), x)
    with pytest.raises(ValueError, match=r"got \(.*int32\[6,3\].*Use sgd for other data"):
        epoch(state(params), (x.astype(jnp.int32), y))
    with pytest.raises(ValueError, match=r"params \(w \[d\], b \[\]\) .* x of float32\[6,3\]"):
        epoch(state(Linear(params.w[:2], params.b)), (x, y))
    with pytest.raises(ValueError, match="Use sgd for other models"):
        epoch(state({"w": params.w, "b": params.b}), (x, y))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("block_size", [1, 8, 23])
def test_both_modes_of_differentiation_equal_sgds(block_size):
    """With respect to the rate, the start and the rows, through a ragged last block."""
    params, (x, y) = problem(n=23, d=4)

    def last_loss(epoch_of, rate, w, x):
        state = fresh(params._replace(w=w))
        after, losses = epoch_of(rate)(state, (x, y))
        return losses[-1] + jnp.sum(after.params.w**2)

    arguments = (jnp.asarray(0.3), params.w, x)
    ours = partial(last_loss, lambda rate: blocked_sgd(logistic_loss, rate, block_size=block_size))
    theirs = partial(last_loss, lambda rate: one_by_one(logistic_loss, rate, 0.0))
    expected = jax.jit(jax.grad(theirs, argnums=(0, 1, 2)))(*arguments)
    for a, b in zip(jax.jit(jax.grad(ours, argnums=(0, 1, 2)))(*arguments), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    tangents = jax.tree.map(jnp.ones_like, arguments)
    _, slope = jax.jit(lambda a, t: jax.jvp(ours, a, t))(arguments, tangents)
    np.testing.assert_allclose(slope, sum(jnp.sum(g) for g in expected), rtol=1e-9)
