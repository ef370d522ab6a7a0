"""Randomness: a key by row, whatever the batches; a key by update, wherever an epoch is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxgd
from tests.laws.problem import KEY, N, data, leaves

EPOCHS = 3


def masks(batch_size, *, order=jaxgd.shuffle, table=None, start=0, epochs=EPOCHS):
    """The random mask that each row got in each epoch [epochs, n, 4], by an update that tells."""

    def update(seen, batch):
        ((_, row), key) = batch
        mask = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (4,)))(key)
        return seen.at[row].set(mask), None

    def epoch(seen, data, rows):
        seen, _ = jaxgd.visit(update, batch_size)(seen, data, rows)
        return seen, seen

    table = (data()[0], jnp.arange(N)) if table is None else table
    run = jax.jit(jaxgd.train(epoch, epochs, order=order, row_keys=True))
    return np.asarray(run(jnp.zeros((N, 4), bool), table, KEY, start)[1])


def test_a_rows_mask_depends_on_key_epoch_and_row_alone():
    expected = masks(1)
    assert expected.any()
    assert not (expected[0] == expected[1]).all(), "each epoch draws anew"
    assert len({row.tobytes() for row in expected.reshape(N, -1)}) > N // 2, "each row its own"
    for b in (2, 8, N):
        np.testing.assert_array_equal(masks(b), expected)
    np.testing.assert_array_equal(masks(8, order=None), expected)
    np.testing.assert_array_equal(
        masks(8, order=lambda key, n: jaxgd.shuffle(key, n)[::-1]), expected
    )
    np.testing.assert_array_equal(masks(8, start=1, epochs=2), expected[1:])


def test_a_rows_mask_is_the_same_on_eight_devices():
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))
    whole = (jnp.zeros((24, 3)), jnp.arange(24))
    spread = jax.device_put(whole, NamedSharding(mesh, P("rows")))
    np.testing.assert_array_equal(masks(8, table=spread), masks(3, table=whole))


def test_row_keys_are_those_of_the_documented_formula():
    rows = jnp.array([3, 0])
    child = jax.random.fold_in(KEY, 2**32 - 1)
    expected = jnp.stack([jax.random.fold_in(child, 3), jax.random.fold_in(child, 0)])
    assert (jaxgd.row_keys(KEY, rows) == expected).all()


def noisy(params, example):
    (x, y), key = example
    keep = jax.random.bernoulli(key, 0.8, x.shape)
    return jaxgd.binary_cross_entropy_with_logits(jaxgd.linear(params, jnp.where(keep, x, 0)), y)


@pytest.mark.parametrize("batch_size", [None, 8])
def test_fit_gives_rows_the_keys_that_train_gives_them(batch_size):
    optimizer = optax.sgd(0.1)
    fitted = jaxgd.fit(
        noisy,
        jaxgd.init_linear(5),
        data(),
        optimizer=optimizer,
        epochs=EPOCHS,
        batch_size=batch_size,
        key=KEY,
        row_keys=True,
    )
    descent = (
        jaxgd.minibatch(noisy, optimizer, batch_size) if batch_size else jaxgd.gd(noisy, optimizer)
    )
    run = jax.jit(jaxgd.train(descent, EPOCHS, row_keys=True))
    _, losses = run(jaxgd.init_state(jaxgd.init_linear(5), optimizer), data(), KEY)
    np.testing.assert_allclose(fitted.history.loss, losses, rtol=1e-5)


def test_the_walking_key_is_the_same_wherever_an_epoch_is_cut():
    def update(total, batch, key):
        drawn = jax.random.normal(key)
        return total + drawn, drawn

    epoch = jax.jit(jaxgd.visit(jaxgd.keyed(update), 4))
    x, start = jnp.zeros((22, 1)), (jnp.zeros(()), KEY)
    order = np.arange(22)
    whole, drawn = epoch(start, x, order)
    assert len(set(drawn.tolist())) == 6
    for cut in (4, 8, 20):
        half, first = epoch(start, x, order[:cut])
        end, second = epoch(half, x, order[cut:])
        np.testing.assert_array_equal(np.concatenate([first, second]), drawn)
        for ours, theirs in zip(leaves(end[:1]), leaves(whole[:1]), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        assert end[1] == whole[1]
