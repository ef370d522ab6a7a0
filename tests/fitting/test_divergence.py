"""What is not finite is named with its update, leaf and rows, and may be stopped at or skipped."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import batches, optim
from tests.laws.problem import KEY, MOMENTUM, N, data, leaves
from tests.tolerances import REORDERED_F32

PARAMS = jaxgd.Linear(jnp.full(5, 0.1), jnp.asarray(0.1))
BAD_ROW = 13


def of_row(params, example):
    """A loss whose gradient alone, in b, is not finite at a row that says so by its label."""
    x, y = example
    z = x @ params.w + params.b
    bad = y > 1
    root = jnp.sqrt(jnp.where(bad, jax.lax.stop_gradient(params.b) - params.b, 1.0))
    return jnp.square(z - jnp.where(bad, 0.0, y)) + root


def lost(params, example):
    """A loss that is itself NaN there."""
    return jnp.where(example[1] > 1, jnp.nan, of_row(params, (example[0], example[1] * 0.5)))


def marked():
    x, y = data()
    return x, y.at[BAD_ROW].set(2.0)


def fitted(loss=of_row, **options):
    options = {"optimizer": MOMENTUM, "epochs": 3, "key": KEY, "batch_size": 4} | options
    return unchecked(jaxgd.fit)(loss, PARAMS, options.pop("table", marked()), **options)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 8)


def place():
    """Where the bad row comes up in the first epoch, and the rows of that batch."""
    order = np.asarray(jaxgd.shuffle(jax.random.fold_in(KEY, 0), N))
    update = int(np.flatnonzero(order == BAD_ROW)[0]) // 4
    return update, order[4 * update : 4 * update + 4]


@pytest.mark.parametrize(
    ("loss", "what", "leaf"),
    [
        (of_row, "the gradient must stay finite; that of params.b was not at", ".b"),
        (lost, "the loss must stay finite; it was nan", None),
    ],
)
def test_epoch_update_leaf_and_rows_are_named(loss, what, leaf):
    update, rows = place()
    with pytest.raises(jaxgd.Diverged) as caught:
        fitted(loss)
    error = caught.value
    assert str(error).startswith(what)
    assert (
        f"epoch 0, update {update} (both counted from 0), whose batch is rows {rows[0]}, "
        in str(error)
    )
    assert str(error).endswith("Use a smaller learning rate, or scale the features.")
    assert error.position == (0, update)
    if leaf:
        assert error.leaf == leaf
    np.testing.assert_array_equal(error.rows, rows)
    assert error.fit.position.update <= update
    assert all(np.isfinite(leaf).all() for leaf in leaves(error.fit.state))


def test_stop_warns_and_returns_the_run_before(tmp_path):
    with pytest.raises(jaxgd.Diverged) as caught:
        fitted()
    with pytest.warns(UserWarning, match="stopped: the gradient must stay finite"):
        run = fitted(on_divergence="stop", checkpoint=tmp_path)
    assert run.position == caught.value.fit.position
    for ours, theirs in zip(leaves(run.state), leaves(caught.value.fit.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("loss", [of_row, lost])
def test_skip_is_the_run_without_the_batches_concerned(loss):
    run = fitted(loss, on_divergence="skip")
    assert run.position == (3, 0)
    state = jaxgd.init_state(PARAMS, MOMENTUM)
    update = jax.jit(jaxgd.step(loss, MOMENTUM))
    for epoch in range(3):
        order = np.asarray(jaxgd.shuffle(jax.random.fold_in(KEY, epoch), N))
        for rows in (order[i : i + 4] for i in range(0, N, 4)):
            if BAD_ROW not in rows:
                x, y = marked()
                state, _ = update(state, (x[rows], y[rows]))
    for ours, theirs in zip(leaves(run.params), leaves(state.params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=REORDERED_F32)
    assert run.state.opt_state.skipped == 3
    assert np.isnan(run.history.loss).sum() == (3 if loss is lost else 0)
    assert np.isfinite(run.history.epoch_loss).all()


def test_skip_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path):
    def first_epoch(now):
        return now.epoch == 1

    fitted(on_divergence="skip", checkpoint=tmp_path, progress=first_epoch)
    again, whole = (
        fitted(on_divergence="skip", **options)
        for options in ({"checkpoint": tmp_path, "resume": True}, {})
    )
    for ours, theirs in zip(leaves(again.state), leaves(whole.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_where_nothing_can_be_kept_skip_gives_up():
    with pytest.raises(jaxgd.Diverged, match="no update of a segment could be kept: the loss"):
        fitted(lambda params, example: of_row(params, example) * jnp.inf, on_divergence="skip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_divergence": "ignore"}, 'must be "raise", "stop" or "skip"; got \'ignore\''),
        (
            {"on_divergence": "skip", "epoch": jaxgd.sgd(of_row, MOMENTUM), "batch_size": 1},
            "updates are skipped in the optimizer",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fitted(**options)


def overflowing(params, example):
    """A finite gradient whose square is not."""
    return 1e20 * params.b * example[1]


@pytest.mark.optax_promotion
def test_skip_nonfinite_is_apply_if_finite_and_more():
    steps = jnp.asarray([1.0, jnp.nan, 2.0, jnp.inf, 3.0])

    def run(optimizer):
        def one(state, grad):
            updates, new = optimizer.update({"w": grad}, state[1], state[0])
            return (optax.apply_updates(state[0], updates), new), state[0]["w"]

        params = {"w": jnp.asarray(0.5)}
        return jax.lax.scan(one, (params, optimizer.init(params)), steps)[0]

    ours, theirs = (
        run(optim.skip_nonfinite(optax.adam(0.1))),
        run(optax.apply_if_finite(optax.adam(0.1), 9)),
    )
    np.testing.assert_array_equal(ours[0]["w"], theirs[0]["w"])
    assert ours[1].skipped == theirs[1].total_notfinite == 2
    guarded = optim.skip_nonfinite(optax.MultiSteps(optax.adam(0.1), 1))
    update = jax.jit(jaxgd.step(overflowing, guarded))
    state, _ = update(jaxgd.init_state(PARAMS, guarded), data())
    assert state.opt_state.skipped == 1
    assert all(np.isfinite(leaf).all() for leaf in leaves(state))
    assert state.params.b == PARAMS.b


def test_a_state_that_begins_at_infinity_is_not_taken_for_lost():
    def update(grads, best, params=None, *, value, **_):
        return grads, jnp.minimum(best, value)

    waiting = optax.GradientTransformationExtraArgs(lambda params: jnp.asarray(jnp.inf), update)
    guarded = optim.skip_nonfinite(waiting)
    state, value = jaxgd.step(of_row, guarded)(jaxgd.init_state(PARAMS, guarded), data())
    assert state.opt_state == (0, value)
