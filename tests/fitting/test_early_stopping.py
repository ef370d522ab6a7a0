"""Early stopping decides alike in fit and in a compiled run, and survives being interrupted."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd.stopping import check_patience, nothing_yet, watch
from tests.laws.problem import KEY, data, leaves, loss
from tests.tolerances import REORDERED_F32

PARAMS = jaxgd.Linear(jnp.zeros(5), jnp.zeros(()))
X, Y = data(25)
NOISY = X, (jax.random.uniform(KEY, Y.shape) < 0.5).astype(Y.dtype)
HELD_OUT = data(12, seed=1)
OPTIMIZER = optax.sgd(0.5)
PATIENCE = jaxgd.Patience(3, 1e-3)
EVALUATE = jaxgd.mean(loss)


def fitted(**options):
    options = {"epochs": 60, "patience": PATIENCE} | options
    return jaxgd.fit(
        loss, PARAMS, NOISY, optimizer=OPTIMIZER, batch_size=8, key=KEY, validation=HELD_OUT,
        **options,
    )  # fmt: skip


def compiled(patience=PATIENCE, epochs=60):
    epoch = jaxgd.minibatch(loss, OPTIMIZER, 8)
    return jax.jit(jaxgd.train_until(epoch, epochs, EVALUATE, patience))


def test_fit_stops_where_a_compiled_run_does():
    ours = fitted()
    state = jaxgd.init_state(PARAMS, OPTIMIZER)
    theirs = compiled()(state, NOISY, HELD_OUT, KEY)
    done = int(theirs.epochs)
    assert 3 < done < 60
    assert ours.position == (done, 0)
    assert ours.history.stopped_early
    np.testing.assert_allclose(ours.history.loss, theirs.outs[:done], rtol=REORDERED_F32)
    np.testing.assert_allclose(
        ours.history.validation_loss, theirs.values[:done], rtol=REORDERED_F32
    )
    assert np.isnan(theirs.outs[done:]).all()
    best = int(np.argmin(ours.history.validation_loss))
    assert best == done - 1 - PATIENCE.epochs
    for a, b in zip(leaves(ours.params), leaves(theirs.best.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=REORDERED_F32, atol=REORDERED_F32)
    np.testing.assert_allclose(
        EVALUATE(ours.params, HELD_OUT), ours.history.validation_loss[best], rtol=REORDERED_F32
    )
    plain = fitted(patience=None, epochs=best + 1)
    for a, b in zip(leaves(ours.params), leaves(plain.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_lane_of_a_vmap_stops_by_itself():
    run = compiled(epochs=20)
    keys = jax.random.split(KEY, 3)
    state = jaxgd.init_state(PARAMS, OPTIMIZER)
    lanes = jax.vmap(run, (None, None, None, 0))(state, NOISY, HELD_OUT, keys)
    assert len(set(lanes.epochs.tolist())) > 1
    for lane, key in enumerate(keys):
        alone = run(state, NOISY, HELD_OUT, key)
        assert alone.epochs == lanes.epochs[lane]
        np.testing.assert_allclose(
            alone.best.params.w, lanes.best.params.w[lane], rtol=REORDERED_F32, atol=REORDERED_F32
        )


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_interrupted_and_gone_on_with_it_ends_in_the_same_bits(tmp_path, stop):
    """Before the best epoch and after it: the best, and how long was waited, are kept."""
    fitted(checkpoint=tmp_path, progress=lambda now: now.epoch == stop)
    again, whole = fitted(checkpoint=tmp_path, resume=True), fitted()
    for ours, theirs in zip(leaves(again[:2]), leaves(whole[:2]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(again.history.validation_loss, whole.history.validation_loss)
    assert again.position == whole.position
    done = fitted(checkpoint=tmp_path, resume=True)
    assert (done.position, done.history.stopped_early) == (whole.position, True)


def test_a_nan_is_never_lower_and_a_small_change_does_not_count():
    best, waited = nothing_yet(PARAMS), []
    for value in (jnp.nan, 1.0, 0.95, jnp.nan, 0.8):
        best = watch(best, PARAMS, jnp.float32(value), jaxgd.Patience(9, 0.1))
        waited.append(int(best.waited))
    assert waited == [1, 0, 1, 2, 0]
    assert best.loss == jnp.float32(0.8)


def test_outs_and_order_may_be_of_any_kind():
    def count(state, batch):
        return state._replace(params=state.params + 1), {"rows": jnp.int32(len(batch[1]))}

    epoch = jaxgd.visit(count, 5)
    run = jaxgd.train_until(epoch, 4, lambda params, _: params, 2, order=None)
    stopped = run(jaxgd.State(jnp.zeros(()), ()), NOISY, None)
    assert stopped.epochs == 3
    np.testing.assert_array_equal(stopped.outs["rows"], [[5] * 5] * 3 + [[0] * 5])


@pytest.mark.parametrize(
    ("patience", "error", "message"),
    [
        (0, ValueError, "patience must be an integer of at least 1; got patience=0"),
        (1.5, TypeError, "patience must be an integer of at least 1"),
        ((2, -0.1), ValueError, "min_change must be a number of at least 0"),
        ((2, "a"), ValueError, "min_change must be a number of at least 0"),
    ],
)
def test_a_patience_that_is_none_is_refused(patience, error, message):
    with pytest.raises(error, match=message):
        unchecked(check_patience)(patience)


def test_patience_needs_rows_to_validate_on():
    with pytest.raises(ValueError, match="patience waits for a validation loss; got no validation"):
        jaxgd.fit(loss, PARAMS, NOISY, optimizer=OPTIMIZER, epochs=2, key=KEY, patience=2)


@pytest.mark.usefixtures("x64")
def test_a_fall_that_only_float64_sees_is_a_fall():
    """fit waits in the validation loss's own dtype, as a compiled run does."""

    def barely(p, row):
        return 1 + 1e-9 * (p - row) ** 2

    params, rows, patience = jnp.asarray(0.0), jnp.ones(4), jaxgd.Patience(2, 0.0)
    optimizer = optax.sgd(1e7)
    ours = jaxgd.fit(
        barely, params, rows, optimizer=optimizer, epochs=10, validation=rows, patience=patience
    )
    run = jaxgd.train_until(
        jaxgd.gd(barely, optimizer), 10, jaxgd.mean(barely), patience, order=None
    )
    theirs = run(jaxgd.init_state(params, optimizer), rows, rows)
    assert ours.position == (10, 0) == (int(theirs.epochs), 0)
    np.testing.assert_allclose(ours.params, theirs.best.params, rtol=1e-12)
