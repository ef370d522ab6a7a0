"""fit is train with a history, and refuses bad input before it compiles anything."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import batches
from jaxgd.fitting import Diverged, Progressed, Stop, fit
from tests.laws.problem import EPOCHS, KEY, MOMENTUM, UPDATES, B, N, data, leaves, loss

PARAMS = jaxgd.Linear(jnp.full(5, 0.1), jnp.asarray(0.1))
SIZES = {"gd": None, "sgd": 1, "minibatch": B}


def fitted(table=None, params=PARAMS, loss=loss, **options):
    options = {"optimizer": MOMENTUM, "epochs": 4, "key": KEY} | options
    return unchecked(fit)(loss, params, data() if table is None else table, **options)


@pytest.mark.parametrize("name", EPOCHS)
def test_fit_is_train(name):
    result = fitted(batch_size=SIZES[name])
    run = jax.jit(jaxgd.train(EPOCHS[name](loss, MOMENTUM), 4))
    state, losses = run(jaxgd.init_state(PARAMS, MOMENTUM), data(), KEY)
    assert result.history.loss.shape == (4, UPDATES[name])
    np.testing.assert_allclose(result.history.loss, losses, rtol=1e-5)
    for ours, theirs in zip(leaves(result.state), leaves(state), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert result.params is result.state.params


def test_unshuffled():
    result = fitted(batch_size=1, shuffle=False, epochs=1, optimizer=optax.sgd(0.0))
    expected = jax.vmap(loss, (None, 0))(PARAMS, data())
    np.testing.assert_allclose(result.history.loss[0], expected, rtol=1e-6)


def test_epoch_loss_weighs_a_ragged_batch_by_its_size():
    history = fitted(batch_size=B).history
    sizes = [B, B, B, N - 3 * B]
    np.testing.assert_allclose(history.epoch_loss, history.loss @ sizes / N, rtol=1e-6)


def test_validation_loss_is_that_of_the_params_after_each_epoch():
    held_out = data(7, seed=1)
    result = fitted(validation=held_out)
    assert result.history.validation_loss.shape == (4,)
    expected = jnp.mean(jax.vmap(loss, (None, 0))(result.params, held_out))
    np.testing.assert_allclose(result.history.validation_loss[-1], expected, rtol=1e-5)
    assert fitted().history.validation_loss is None


def test_history_tells_seconds_and_dtype(dtype):
    params = jax.tree.map(lambda p: p.astype(dtype), PARAMS)
    history = fitted(data(dtype=dtype), params).history
    assert history.compile_seconds > 0
    assert history.run_seconds > 0
    assert history.dtype == dtype.name


def compilations(caplog):
    told = [record.getMessage() for record in caplog.records]
    return [line for line in told if "XLA compilation of jit(" in line]


@pytest.mark.parametrize("batch_size", [None, B])
def test_compiles_one_segment_and_a_second_identical_fit_nothing(caplog, batch_size):
    def own(params, example):
        return loss(params, example)

    options = {"loss": own, "batch_size": batch_size, "validation": data(7)}
    with jax.log_compiles(), caplog.at_level("WARNING"):
        first = fitted(epochs=30, **options)
        assert len([line for line in compilations(caplog) if "jit(epoch)" in line]) == 1
        caplog.clear()
        second = fitted(epochs=30, **options)
    assert compilations(caplog) == []
    for ours, theirs in zip(leaves(first.state), leaves(second.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_progress_callback_and_line(capsys):
    told = []
    params, state, history, _ = fitted(validation=data(7), progress=told.append)
    assert [t.epoch for t in told] == [1, 2, 3, 4]
    last = history.epoch_loss[-1], history.validation_loss[-1]
    assert told[-1] == Progressed(4, 4, *last, update=0, state=state)
    assert told[-1].state.params is params
    fitted(progress=True)
    shown = capsys.readouterr().err
    assert "epoch 4/4  loss" in shown
    assert shown.endswith("\n")


def test_divergence_names_epoch_and_update_and_keeps_the_last_finite_state():
    def squared(params, example):
        return jaxgd.squared_error(jaxgd.linear(params, example[0]), example[1])

    steep = optax.sgd(30.0)
    with pytest.raises(Diverged, match=r"at epoch \d+, update 0 .*smaller learning rate") as caught:
        fitted(loss=squared, optimizer=steep, epochs=100)
    kept = caught.value.fit
    assert all(np.isfinite(leaf).all() for leaf in leaves(kept.state))
    assert len(kept.history.loss) == kept.position.epoch > 0
    assert np.isfinite(kept.history.loss).all()


X, Y = (np.asarray(a) for a in data())


def with_value(array, index, value):
    array = array.copy()
    array[index] = value
    return array


BAD_DATA = {
    "integers too large": (
        (X, np.full(N, 2**40 + 5)),
        ValueError,
        r"integers must fit into int32; got data\[1\] of int64",
    ),
    "NaN": (
        (with_value(X, (3, 1), np.nan), Y),
        ValueError,
        r"NaN or inf in 1 rows of data\[0\], first in row 3",
    ),
    "inf": ((with_value(X, (0, 0), np.inf), Y), ValueError, r"first in row 0"),
    "NaN label": ((X, with_value(Y, 2, np.nan)), ValueError, r"data\[1\], first in row 2"),
    "no rows": ((X[:0], Y[:0]), ValueError, "at least one example"),
    "no features": ((X[:, :0], Y), ValueError, "examples must not be empty"),
    "lengths differ": ((X, Y[:-1]), ValueError, "the same number of examples"),
    "complex": ((X.astype(np.complex64), Y), TypeError, "data must be real"),
    "text": ((X, np.array(["a"] * N)), TypeError, "data must be numbers"),
    "objects": ((X, np.array([None] * N)), TypeError, "data must be numbers"),
    "no arrays": ((), ValueError, "at least one array"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_refused(name):
    table, error, message = BAD_DATA[name]
    with pytest.raises(error, match=message):
        fitted(table)


def two_losses(params, example):
    return jnp.stack([loss(params, example)] * 2)


def counts(params, example):
    return jnp.int32(1)


def drifting():
    def update(grads, state, params=None):
        return grads, state.astype(jnp.bfloat16)

    return optax.GradientTransformation(lambda params: jnp.zeros(()), update)


BAD_SETTINGS = {
    "batch of 0": ({"batch_size": 0}, ValueError, r"in \[1, n\]; got batch_size=0 with n=25"),
    "batch > n": (
        {"batch_size": 26},
        ValueError,
        r"got batch_size=26 with n=25. Full gradient descent is gd",
    ),
    "batch of 2.5": ({"batch_size": 2.5}, TypeError, "batch_size must be an integer"),
    "epochs of 0": ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1"),
    "epochs of 1.5": ({"epochs": 1.5}, TypeError, "epochs must be an integer of at least 1"),
    "several keys": (
        {"key": jax.random.split(jax.random.key(0), 3)},
        TypeError,
        "key must be one JAX random key",
    ),
    "an epoch of another size": (
        {"epoch": jaxgd.sgd(loss, MOMENTUM)},
        ValueError,
        r"got losses of shape \(25,\) for 25 rows in batches of 25, which are 1 updates",
    ),
    "a bare seed": (
        {"key": 0},
        TypeError,
        r"key must be one JAX random key; got 0. Use jax.random.key",
    ),
    "integer params": (
        {"params": jaxgd.Linear(jnp.zeros(5, int), jnp.zeros(()))},
        TypeError,
        "floating point; got params.w of int32",
    ),
    "NaN params": (
        {"params": jaxgd.Linear(jnp.full(5, jnp.nan), jnp.zeros(()))},
        ValueError,
        "finite; got params.w",
    ),
    "vector loss": (
        {"loss": two_losses},
        ValueError,
        r"must return a scalar for one example; got \(2,\)",
    ),
    "integer loss": ({"loss": counts}, TypeError, "the loss must be floating point; got int32"),
    "a drifting state": ({"optimizer": drifting()}, TypeError, "optimizer state went from float32"),
    "other validation": (
        {"validation": (X[:, :3], Y)},
        ValueError,
        "validation must look like data",
    ),
    "empty validation": ({"validation": (X[:0], Y[:0])}, ValueError, "at least one example"),
    "NaN validation": ({"validation": (X, Y * np.nan)}, ValueError, r"of validation\[1\]"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_are_refused_before_compiling(name, caplog):
    options, error, message = BAD_SETTINGS[name]
    with (
        jax.log_compiles(),
        caplog.at_level("WARNING"),
        pytest.raises(error, match=message),
    ):
        fitted(**options)
    told = [record.getMessage() for record in caplog.records]
    assert not [line for line in told if "XLA compilation of jit(epoch)" in line]


def test_labels_of_shape_n_1_are_refused():
    """Optax would broadcast them to an n × n loss in silence."""

    def untyped(params, example):
        x, y = example
        return jnp.square(x @ params.w + params.b - y)

    with pytest.raises(ValueError, match=r"must return a scalar .*got \(1,\) .*the shape \(n,\)"):
        fitted((X, Y[:, None]), loss=untyped)


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_an_optimizer_by_name_is_torchs_with_its_defaults(name):
    named = fitted(optimizer=name).params
    for ours, theirs in zip(
        leaves(named), leaves(fitted(optimizer=jaxgd.optim.by_name(name)()).params), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_an_unknown_optimizer_is_offered_the_nearest():
    with pytest.raises(ValueError, match=r"got 'addam'\. Use 'adam'\?"):
        fitted(optimizer="addam")


def test_float64_data_without_x64_train_in_the_precision_that_is_recorded():
    result = fitted((X.astype(np.float64), Y.astype(np.float64)))
    assert result.history.dtype == "float32"
    assert result.params.w.dtype == jnp.float32


def test_an_epoch_of_ones_own_takes_the_place_of_minibatch():
    rate = 0.1
    blocked = jaxgd.blocked_sgd(jaxgd.binary_cross_entropy_with_logits, rate, block_size=4)
    ours = fitted(epoch=blocked, batch_size=1, optimizer=optax.sgd(rate))
    plain = fitted(batch_size=1, optimizer=optax.sgd(rate))
    np.testing.assert_allclose(ours.history.loss, plain.history.loss, rtol=1e-4, atol=1e-6)
    for a, b in zip(leaves(ours.params), leaves(plain.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize("name", EPOCHS)
def test_going_on_from_a_state_equals_never_having_stopped_bit_for_bit(name):
    whole = fitted(batch_size=SIZES[name], epochs=10)
    first = fitted(batch_size=SIZES[name], epochs=4)
    second = fitted(params=first.state, start=first.position, batch_size=SIZES[name], epochs=6)
    for ours, theirs in zip(leaves(second.state), leaves(whole.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(
        np.vstack([first.history.loss, second.history.loss]), whole.history.loss
    )


def test_a_last_update_that_leaves_infinite_params_is_a_divergence():
    """Its loss, taken before the update, is finite."""
    with pytest.raises(Diverged, match=r"parameters must stay finite; .* after epoch 0") as caught:
        fitted(loss=lambda *a: 1e3 * loss(*a), optimizer=optax.sgd(3e38), epochs=1)
    assert all(np.isfinite(leaf).all() for leaf in leaves(caught.value.fit.state))


def test_a_callback_may_stop_a_fit_and_nothing_is_lost(monkeypatch):
    """By returning True or by raising Stop, in mid-epoch too; going on ends in the same bits."""
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 8)  # two full batches of 4 a segment
    whole = fitted(batch_size=4, epochs=3)

    def returns(now):
        return (now.epoch, now.update) == (1, 2)

    def raises(now):
        if returns(now):
            raise Stop

    for callback in (returns, raises):
        first = fitted(batch_size=4, epochs=3, progress=callback)
        assert first.position == (1, 2)
        assert first.history.loss.shape == (2, 7)
        np.testing.assert_array_equal(np.isnan(first.history.loss[1]), [False] * 2 + [True] * 5)
        second = fitted(params=first.state, start=first.position, batch_size=4, epochs=2)
        assert second.position == whole.position == (3, 0)
        joined = [run.history.loss[~np.isnan(run.history.loss)] for run in (first, second)]
        np.testing.assert_array_equal(np.concatenate(joined), whole.history.loss.ravel())
        for ours, theirs in zip(leaves(second.state), leaves(whole.state), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_start_that_is_no_border_of_the_plan_is_refused(monkeypatch):
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 8)
    with pytest.raises(ValueError, match=r"an update of \[0, 2, 4\]; got .*update=3"):
        fitted(batch_size=4, start=(1, 3))


def test_progress_carries_the_state_after_each_segment(monkeypatch):
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 8)
    told = []
    fitted(batch_size=4, epochs=1, validation=data(7), progress=told.append)
    assert [(now.epoch, now.update) for now in told] == [(0, 2), (0, 4), (1, 0)]
    assert [now.validation_loss is None for now in told] == [True, True, False]
    assert not np.array_equal(told[0].state.params.w, told[1].state.params.w)


def test_rows_as_they_lie_need_no_key():
    ours = fitted(batch_size=B, shuffle=False, key=None)
    theirs = fitted(batch_size=B, shuffle=False)
    np.testing.assert_array_equal(ours.history.loss, theirs.history.loss)
    fitted(batch_size=None, key=None)
    with pytest.raises(TypeError, match="key must be one JAX random key; got None"):
        fitted(batch_size=B, key=None)


def test_keys_are_data():
    def drawn(params, key):
        x = jax.random.normal(key, (5,))
        return jnp.square(x @ params.w + params.b - x.sum())

    keys = jax.random.split(KEY, 200)
    history = fitted(keys, loss=drawn, batch_size=8, optimizer=optax.sgd(0.05), epochs=10).history
    assert history.epoch_loss[-1] < 0.01 * history.epoch_loss[0]


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_fit_inside_a_transformation_names_train(transform):
    def traced(scale):
        return fitted(params=jaxgd.Linear(jnp.full(5, 0.1) * scale, jnp.asarray(0.1))).params.b

    with pytest.raises(TypeError, match=r"fit runs on the host .* Use train there"):
        transform(traced)(jnp.ones(3) if transform is jax.vmap else 1.0)


def test_an_update_that_returns_only_the_state_has_no_losses_to_record():
    with pytest.raises(TypeError, match=r"must return \(state, losses\[updates\]\); got a State"):
        fitted(epoch=lambda state, data, order=None: state, batch_size=1)


def test_a_loss_that_has_become_another_is_compiled_anew():
    """It reads a global, as in a notebook: the program that was kept is not its own."""
    weight = [0.0]

    def penalised(params, example):
        return loss(params, example) + weight[0] * jnp.sum(jnp.square(params.w))

    def anew(params, example):
        return penalised(params, example)

    before = fitted(loss=penalised)
    weight[0] = 1.0
    after, fresh = fitted(loss=penalised), fitted(loss=anew)
    assert not np.array_equal(after.params.w, before.params.w)
    np.testing.assert_array_equal(after.params.w, fresh.params.w)


@pytest.mark.parametrize("true", [True, np.bool_(True), jnp.asarray(True)], ids=type)
def test_a_callback_may_return_anything_true(true):
    assert fitted(progress=lambda now: true).position == (1, 0)


@jax.tree_util.register_pytree_node_class
class Own:
    """A container that knows no equality."""

    def __init__(self, w):
        self.w = w

    def tree_flatten(self):
        return (self.w,), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


def test_containers_of_ones_own_are_taken():
    def own(params, example):
        return jnp.square(example.w @ params.w)

    run = fitted(Own(data()[0]), Own(jnp.ones(5)), own, validation=Own(data()[0]))
    assert run.history.validation_loss[-1] < run.history.validation_loss[0]


@pytest.mark.optax_promotion
@pytest.mark.parametrize("opaque", [False, True])
def test_sharpness_aware_minimization_fits(opaque):
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(0.05))
    sam = optax.contrib.sam(optax.sgd(0.1), ascent, opaque_mode=opaque)
    history = fitted(optimizer=sam, batch_size=B, epochs=10).history
    assert history.epoch_loss[-1] < history.epoch_loss[0]


@pytest.mark.parametrize("start", [0.5, "a", (1, 2.0), (1, 2, 3)])
def test_a_start_that_is_no_position_is_refused(start):
    with pytest.raises(TypeError, match="start must be an epoch or a Position of two integers"):
        fitted(start=start)
