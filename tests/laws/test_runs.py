"""What every run keeps: its counts, its resumption, its order, its one compilation."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from tests.laws.problem import EPOCHS, KEY, MOMENTUM, SGD, UPDATES, B, N, data, leaves, loss, start

every_algorithm = pytest.mark.parametrize("name", EPOCHS)


def run_of(name, epochs, optimizer=MOMENTUM, **options):
    return jaxgd.train(EPOCHS[name](loss, optimizer), epochs, **options)


@every_algorithm
def test_updates_per_epoch(name):
    _, losses = jax.jit(run_of(name, 3))(start(MOMENTUM), data(), KEY)
    assert losses.shape == (3, UPDATES[name])


@every_algorithm
def test_resumed_equals_uninterrupted_bit_for_bit(name):
    whole = jax.jit(run_of(name, 10))(start(MOMENTUM), data(), KEY)
    state, first = jax.jit(run_of(name, 4))(start(MOMENTUM), data(), KEY)
    state, second = jax.jit(run_of(name, 6))(state, data(), KEY, 4)
    for ours, theirs in zip(leaves(state), leaves(whole[0]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.vstack([first, second]), whole[1])


@every_algorithm
def test_a_run_is_its_updates_one_by_one(name):
    """Spelled out in Python: every batch a real batch, the last one smaller."""
    size = {"gd": N, "sgd": 1, "minibatch": B}[name]
    update = jax.jit(jaxgd.step(loss, MOMENTUM))
    x, y = data()
    state, losses = start(MOMENTUM), []
    for e in range(2):
        order = np.asarray(jaxgd.shuffle(jax.random.fold_in(KEY, e), N))
        for first in range(0, N, size):
            rows = order[first : first + size]
            state, value = update(state, (x[rows], y[rows]))
            losses.append(value)
    result, values = jax.jit(run_of(name, 2))(start(MOMENTUM), data(), KEY)
    for ours, theirs in zip(leaves(result.params), leaves(state.params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(values.ravel(), losses, rtol=1e-5)


@every_algorithm
def test_second_call_with_new_values_compiles_nothing(name):
    traces = []

    def counted(params, example):
        traces.append(1)
        return loss(params, example)

    run = jax.jit(jaxgd.train(EPOCHS[name](counted, MOMENTUM), 3))
    state, _ = run(start(MOMENTUM), data(), KEY)
    traced = len(traces)
    assert traced > 0
    run(state, data(seed=1), jax.random.key(7))
    run(start(MOMENTUM, scale=3.0), data(seed=2), jax.random.key(8))
    assert len(traces) == traced
    assert run._cache_size() == 1


@every_algorithm
def test_inputs_are_left_alone_and_calls_repeat(name):
    run, before = jax.jit(run_of(name, 3)), start(MOMENTUM)
    copy = leaves(before)
    first, second = run(before, data(), KEY), run(before, data(), KEY)
    for a, b in zip(leaves(first), leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(leaves(before), copy, strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_epoch_and_key_has_its_own_order():
    _, losses = jax.jit(run_of("sgd", 3, optax.sgd(0.0)))(start(optax.sgd(0.0)), data(), KEY)
    assert len({tuple(epoch) for epoch in np.asarray(losses)}) == 3
    other = jax.jit(run_of("sgd", 3, optax.sgd(0.0)))(
        start(optax.sgd(0.0)), data(), jax.random.key(9)
    )[1]
    assert not np.array_equal(losses, other)
    np.testing.assert_array_equal(np.sort(losses, axis=1), np.sort(other, axis=1))


def test_unshuffled_epochs_take_the_rows_as_they_lie():
    still = optax.sgd(0.0)
    _, losses = jax.jit(run_of("sgd", 2, still, order=None))(start(still), data(), KEY)
    expected = jax.vmap(loss, (None, 0))(start(still).params, data())
    np.testing.assert_allclose(losses, np.stack([expected, expected]), rtol=1e-6)


def test_gd_neither_gathers_nor_sorts_nor_shuffles():
    run = jax.jit(run_of("gd", 3))
    text = run.lower(start(MOMENTUM), data(), KEY).compile().as_text()
    for word in (" gather(", " sort(", " shift-right-logical("):
        assert word not in text
    shuffled = jax.jit(run_of("sgd", 3)).lower(start(MOMENTUM), data(), KEY).compile().as_text()
    assert " shift-right-logical(" in shuffled


@pytest.mark.parametrize("name", ["sgd", "minibatch"])
def test_rows_are_gathered_as_they_are_needed(name):
    """The epoch's data are not copied into a shuffled whole: a tenth of them at most.

    Beside them stands one logit a row of single rows, until the losses are made of them.
    """
    n = 2**19
    logits = n * 4 if name == "sgd" else 0
    epoch, order = EPOCHS[name](loss, SGD), jnp.arange(n)
    memory = jax.jit(epoch).lower(start(SGD), data(n), order).compile().memory_analysis()
    assert memory.temp_size_in_bytes - logits < n * 5 * 4 / 10


@pytest.mark.parametrize("name", ["sgd", "minibatch"])
def test_order_may_come_from_numpy(name):
    epoch = EPOCHS[name](loss, SGD)
    order = np.random.default_rng(0).permutation(N)
    _, losses = epoch(start(SGD), data(), order)
    _, jitted = jax.jit(epoch)(start(SGD), data(), jnp.asarray(order))
    np.testing.assert_allclose(losses, jitted, rtol=1e-6)


BAD_ORDERS = {
    "of two epochs": (np.zeros((2, N), int), r"one-dimensional, of integers; got int32\[2, 25\]"),
    "of floats": (np.arange(N) * 1.0, r"one-dimensional, of integers; got float32\[25\]"),
    "past the end": (np.arange(N) + 1, r"must be in \[0, n\); got 25 with n=25"),
    "before the start": (np.arange(N) - 1, r"must be in \[0, n\); got -1 with n=25"),
}


@pytest.mark.parametrize("order", BAD_ORDERS)
@pytest.mark.parametrize("name", ["sgd", "minibatch", "blocked"])
def test_an_order_that_holds_no_row_numbers(name, order):
    blocked = jaxgd.blocked_sgd(jaxgd.binary_cross_entropy_with_logits, 0.1)
    epoch = blocked if name == "blocked" else EPOCHS[name](loss, SGD)
    rows, message = BAD_ORDERS[order]
    with pytest.raises(ValueError, match=message):
        unchecked(epoch)(start(SGD), data(), rows)


@pytest.mark.parametrize("batch_size", [0, -1, N + 1])
def test_bad_batch_size(batch_size):
    with pytest.raises(ValueError, match=r"batch_size must be in \[1, n\]; got batch_size="):
        jaxgd.minibatch(loss, SGD, batch_size)(start(SGD), data(), jnp.arange(N))


@pytest.mark.parametrize("batch_size", [2.5, "8", None])
def test_batch_size_of_another_type(batch_size):
    with pytest.raises(TypeError, match="batch_size must be an integer"):
        unchecked(jaxgd.visit)(jaxgd.step(loss, SGD), batch_size)


@pytest.mark.parametrize(("epochs", "error"), [(0, ValueError), (-3, ValueError), (1.5, TypeError)])
def test_bad_epochs(epochs, error):
    with pytest.raises(
        error, match=f"epochs must be an integer of at least 1; got epochs={epochs}"
    ):
        unchecked(jaxgd.train)(jaxgd.gd(loss, SGD), epochs)
