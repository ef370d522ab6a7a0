"""Visit walks any update over any order: its length says how often, the data's says nothing."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from tests.laws.problem import KEY, MOMENTUM, SGD, B, N, data, leaves, loss, start
from tests.laws.problem import start as initial

ROWS = jnp.arange(N)


def telling(state, batch):
    """An update that counts itself and tells the sum of its rows and how many they are."""
    return state + 1, {"sum": batch.sum(), "rows": batch.size}


ORDERS = {
    "none": [],
    "a subset": [3, 1, 4],
    "one batch": list(range(B)),
    "bootstrap, twice as long": np.random.default_rng(0).integers(0, N, 2 * N),
    "every row": np.random.default_rng(1).permutation(N),
}


@pytest.mark.parametrize("b", [1, B, N])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_an_orders_length_says_how_many_updates_there_are(order, b):
    order = np.asarray(order, np.int32)
    count, outs = jax.jit(jaxgd.visit(telling, b))(0, ROWS, order)
    batches = [order[i : i + b] for i in range(0, len(order), b)]
    assert count == len(batches)
    np.testing.assert_array_equal(outs["rows"], [len(batch) for batch in batches])
    np.testing.assert_array_equal(outs["sum"], [batch.sum() for batch in batches])


@pytest.mark.parametrize("b", [1, 5, B, N])
def test_rows_as_they_lie_are_those_of_the_straight_order(b):
    epoch = jax.jit(jaxgd.visit(telling, b))
    for ours, theirs in zip(leaves(epoch(0, ROWS)), leaves(epoch(0, ROWS, ROWS)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_rows_as_they_lie_are_not_copied():
    n = 65536
    epoch = jaxgd.minibatch(loss, SGD, B)
    memory = jax.jit(epoch).lower(start(SGD), data(n + 3)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < n * 5 * 4 / 10
    assert " gather(" not in jax.jit(epoch).lower(start(SGD), data(n)).compile().as_text()


@pytest.mark.parametrize("b", [1, B])
def test_rows_past_the_ends_are_clamped_where_the_order_is_traced(b):
    epoch = jax.jit(jaxgd.visit(lambda state, batch: (state, batch.sum()), b))
    np.testing.assert_array_equal(
        epoch((), ROWS, np.array([-7, N + 9] * b))[1],
        epoch((), ROWS, np.array([0, N - 1] * b))[1],
    )


def test_any_update_any_state_any_outs():
    """Two players that take turns, and a key among the outs."""

    def update(state, batch):
        ours, theirs = state
        ours, l1 = jaxgd.step(loss, SGD)(ours, batch)
        theirs, l2 = jaxgd.step(loss, MOMENTUM)(theirs, batch)
        return (ours, theirs), (l1, l2, jax.random.fold_in(KEY, batch[1].size))

    run = jax.jit(jaxgd.train(jaxgd.visit(update, B), 3))
    (ours, theirs), (l1, l2, keys) = run((start(SGD), start(MOMENTUM)), data(), KEY)
    assert l1.shape == l2.shape == keys.shape == (3, 4)
    for optimizer, state, losses in ((SGD, ours, l1), (MOMENTUM, theirs, l2)):
        alone = jax.jit(jaxgd.train(jaxgd.minibatch(loss, optimizer, B), 3))
        expected, expected_losses = alone(start(optimizer), data(), KEY)
        np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
        for a, b in zip(leaves(state), leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_aux_travels_with_the_loss():
    def objective(params, batch):
        x, y = batch
        logits = jax.vmap(jaxgd.linear, (None, 0))(params, x)
        losses = jax.vmap(jaxgd.binary_cross_entropy_with_logits)(logits, y)
        return losses.mean(), jnp.mean((logits > 0) == (y > 0))

    update = jaxgd.descend(objective, MOMENTUM, has_aux=True)
    _, (losses, accuracy) = jax.jit(jaxgd.visit(update, B))(start(MOMENTUM), data())
    plain = jax.jit(jaxgd.minibatch(loss, MOMENTUM, B))(start(MOMENTUM), data())[1]
    np.testing.assert_allclose(losses, plain, rtol=1e-6)
    counts = accuracy * jnp.array([8.0, 8.0, 8.0, 1.0])  # of rows, the short batch's single one too
    np.testing.assert_array_equal(counts % 1, 0)
    first = objective(start(MOMENTUM).params, jax.tree.map(lambda a: a[:B], data()))[1]
    assert accuracy[0] == first < 1


def test_a_run_without_data_is_given_its_keys():
    """What the order returns is handed to the epoch as it is."""

    def epoch(state, data, key):
        drawn = jax.random.normal(key)
        return state + drawn, drawn

    run = jax.jit(jaxgd.train(epoch, 4, order=lambda key, n: key))
    total, drawn = run(0.0, None, KEY)
    expected = [jax.random.normal(jax.random.fold_in(KEY, e)) for e in range(4)]
    np.testing.assert_allclose(drawn, expected)
    np.testing.assert_allclose(total, sum(expected), rtol=1e-6)


def test_rows_as_they_lie_need_no_key():
    run = jaxgd.train(jaxgd.minibatch(loss, SGD, B), 2, order=None)
    assert jax.jit(run)(start(SGD), data())[1].shape == (2, 4)


def test_the_first_epoch_may_be_traced():
    run = jaxgd.train(jaxgd.sgd(loss, optax.sgd(0.0)), 1)
    starts = jnp.arange(3)
    together = jax.vmap(lambda e: run(start(SGD), data(), KEY, e)[1][0])(starts)
    alone = jax.jit(jaxgd.train(jaxgd.sgd(loss, optax.sgd(0.0)), 3))(start(SGD), data(), KEY)[1]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


@pytest.mark.parametrize("j", [0, 1, 2, 3])
def test_a_position_in_mid_epoch_is_epoch_and_update(j):
    """Stopped after update j of epoch 1 of 3: the rest of its order, then the epochs from 2 on."""
    epoch = jaxgd.minibatch(loss, MOMENTUM, B)
    whole, losses = jax.jit(jaxgd.train(epoch, 3))(start(MOMENTUM), data(), KEY)
    state, first = jax.jit(jaxgd.train(epoch, 1))(start(MOMENTUM), data(), KEY)
    order = np.asarray(jaxgd.shuffle(jax.random.fold_in(KEY, 1), N))
    state, before = jax.jit(epoch)(state, data(), order[: j * B])
    state, after = jax.jit(epoch)(state, data(), order[j * B :])
    state, last = jax.jit(jaxgd.train(epoch, 1))(state, data(), KEY, 2)
    resumed = np.concatenate([first[0], before, after, last[0]])
    np.testing.assert_allclose(resumed, losses.ravel(), rtol=1e-6)
    for a, b in zip(leaves(state), leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_weak_state_compiles_once():
    run = jax.jit(jaxgd.train(jaxgd.minibatch(loss, MOMENTUM, B), 2))
    weak = jax.tree.map(lambda a: a * 1.0, start(MOMENTUM))
    weak = weak._replace(params=weak.params._replace(b=jnp.asarray(0.1)))
    assert weak.params.b.weak_type
    state, _ = run(jaxgd.strong(weak), data(), KEY)
    run(state, data(), KEY)
    assert run._cache_size() == 1
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(run(weak, data(), KEY)[0]))


def test_strong_keeps_what_an_array_is():
    kept = jaxgd.strong({"key": KEY, "count": 3, "flag": True, "half": jnp.float16(1)})
    assert kept["key"].dtype == KEY.dtype
    assert [kept[name].dtype for name in ("count", "flag", "half")] == ["int32", "bool", "float16"]


@pytest.mark.parametrize("start", [1.5, jaxgd.Position(3, 0), np.arange(2)])
def test_a_start_that_is_no_epoch_is_refused(start):
    run = unchecked(jaxgd.train(jaxgd.minibatch(loss, SGD, B), 1))
    with pytest.raises(ValueError, match="start must be the number of an epoch"):
        run(initial(SGD), data(), KEY, start)


def test_a_run_without_the_key_it_needs_is_told():
    with pytest.raises(TypeError, match="a run needs a key for its orders"):
        jaxgd.train(jaxgd.minibatch(loss, SGD, B), 1)(initial(SGD), data())
