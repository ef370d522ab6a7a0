"""fit at a learning rate by name: a number, or the one that is found, said and kept."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from tests.laws.problem import KEY, B, N, data, leaves, loss

PARAMS = jaxgd.Linear(jnp.full(5, 0.1), jnp.asarray(0.1))


def fitted(params=PARAMS, loss=loss, **options):
    options = {"optimizer": optax.sgd, "epochs": 4, "key": KEY, "batch_size": B} | options
    return jaxgd.fit(loss, params, data(), **options)


def assert_same(ours, theirs):
    for a, b in zip(leaves(ours.state), leaves(theirs.state), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours.history.loss, theirs.history.loss)


def test_a_number_is_the_optimizer_at_that_rate():
    ours = fitted(learning_rate=0.1)
    assert_same(ours, fitted(optimizer=optax.sgd(0.1)))
    assert ours.history.learning_rate == 0.1
    assert fitted(optimizer=optax.sgd(0.1)).history.learning_rate is None


def test_a_name_and_an_epoch_are_functions_of_it():
    by_name = fitted(optimizer="adam", learning_rate=0.1)
    assert_same(by_name, fitted(optimizer=jaxgd.optim.adam(0.1)))
    link = jaxgd.binary_cross_entropy_with_logits
    options = {"batch_size": 1, "epochs": 1}
    ours = fitted(epoch=lambda rate: jaxgd.blocked_sgd(link, rate), learning_rate=0.1, **options)
    theirs = fitted(epoch=jaxgd.blocked_sgd(link, 0.1), optimizer=optax.sgd(0.1), **options)
    assert_same(ours, theirs)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A fit whose rate was found, stopped after an epoch, and where its checkpoint is."""
    place = tmp_path_factory.mktemp("run")
    return place, fitted(
        learning_rate="auto", checkpoint=place, progress=lambda now: now.epoch == 1
    )


def test_auto_is_the_rate_that_the_range_finds_in_runs_no_longer_than_the_fit(stopped):
    updates = 4 * -(-N // B)
    found = jaxgd.study.learning_rate_range(
        loss, PARAMS, data(), optimizer=optax.sgd, batch_size=B, key=KEY, updates=updates
    )
    assert stopped[1].history.learning_rate == found.rate


def test_a_run_that_resumes_keeps_its_rate_without_a_search(stopped, monkeypatch):
    def no_search(*args, **options):
        raise AssertionError("the rate was found before")

    monkeypatch.setattr(jaxgd.study, "learning_rate_range", no_search)
    place, first = stopped
    with pytest.raises(ValueError, match=r"learning_rate was [\d.]+, is 0\.01"):
        fitted(learning_rate=0.01, checkpoint=place, resume=True)
    resumed = fitted(learning_rate="auto", checkpoint=place, resume=True)
    assert resumed.history.learning_rate == first.history.learning_rate
    assert_same(resumed, fitted(learning_rate=first.history.learning_rate))


def test_it_is_said_and_rows_may_have_keys(capsys):
    def noisy(params, example):
        (x, y), key = example
        word = jax.random.key_data(key)[-1].astype(x.dtype)
        return loss(params, (x * (1 + word * 2.0**-34), y))

    found = fitted(loss=noisy, row_keys=True, learning_rate="auto", progress=True, shuffle=False)
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith(f"learning rate {found.history.learning_rate:.3g}, the best of ")


def test_where_no_rate_lowers_the_loss_it_asks_for_a_number():
    def least(params, example):
        return jnp.sum(params.w**2) + params.b**2 + 0 * example[1]

    zeros = jaxgd.init_linear(5)
    with pytest.raises(ValueError, match=r"no learning rate lowers the loss 0: .* Give a number\."):
        fitted(zeros, least, learning_rate="auto", batch_size=None, epochs=2)


def test_full_batches_along_explicit_axes_are_refused():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    table = jax.device_put(data(32), jax.NamedSharding(mesh, jax.P("data")))
    with pytest.raises(ValueError, match=r"along Auto axes, .* got Explicit ones"):
        jaxgd.fit(loss, PARAMS, table, optimizer=optax.sgd, learning_rate="auto", epochs=1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"learning_rate": 0.0}, r"learning_rate must be \"auto\", or finite and .* got .*=0\.0"),
        ({"learning_rate": "fast"}, r"learning_rate must be \"auto\", or finite and .*='fast'"),
        (
            {"learning_rate": 0.1, "optimizer": optax.sgd(0.1)},
            r"the optimizer must be a function of it, or a name; got a GradientTransf",
        ),
        ({}, r"optimizer must be one of optax's, or a name; got a function"),
        (
            {"learning_rate": "auto", "params": jaxgd.init_state(PARAMS, optax.sgd(0.1))},
            r"begins a training; got a State .* Give the rate that it had",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(options, told):
    options = {"epochs": 1, "key": KEY, "optimizer": optax.sgd, "params": PARAMS, **options}
    with pytest.raises((TypeError, ValueError), match=told):
        unchecked(jaxgd.fit)(loss, options.pop("params"), data(), **options)
