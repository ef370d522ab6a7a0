"""Each line of the list of bad inputs, given to fit: one sentence that names what was given.

Numbers are those of the list. What a label may be, only a loss knows: a label of 2 for a binary
cross entropy (10) is not refused by fit; the command makes its labels itself.
"""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import optim

RNG = np.random.default_rng(0)
X = RNG.normal(size=(25, 5)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.float32)
CLASSES = (np.arange(25) % 3).astype(np.int32)
BINARY = jaxgd.supervised(
    unchecked(jaxgd.linear), unchecked(jaxgd.binary_cross_entropy_with_logits)
)
MANY = jaxgd.supervised(unchecked(jaxgd.linear), unchecked(jaxgd.cross_entropy))


def fitted(data=(X, Y), loss=BINARY, params=None, **options):
    options = {"optimizer": "sgd", "epochs": 1, "batch_size": 8, "key": jax.random.key(0)} | options
    params = unchecked(jaxgd.init_linear)(5) if params is None else params
    return unchecked(jaxgd.fit)(loss, params, data, **options)


def with_value(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


def of_classes(labels):
    return fitted((X, labels), MANY, unchecked(jaxgd.init_linear)(5, 3))


BAD = {
    "1 NaN": (lambda: fitted((with_value(X, (3, 1), np.nan), Y)), r"data\[0\], first in row 3"),
    "2 inf": (lambda: fitted((with_value(X, (3, 1), np.inf), Y)), r"data\[0\], first in row 3"),
    "3 NaN label": (lambda: fitted((X, with_value(Y, 2, np.nan))), r"data\[1\], first in row 2"),
    "4 no rows": (lambda: fitted((X[:0], Y[:0])), "at least one example"),
    "5 no features": (lambda: fitted((X[:, :0], Y)), "examples must not be empty"),
    "6 one-dimensional": (lambda: fitted((X[:, 0], Y)), r"must return a scalar .*got \(5,\)"),
    "7 three-dimensional": (
        lambda: fitted((X[:, :, None], Y)),
        r"(?s)in the loss of one example \('float32\[5, 1\]', .* with params.w float32\[5\]",
    ),
    "8 lengths": (lambda: fitted((X, Y[:-1])), "the same number of examples"),
    "9 labels (n, 1)": (lambda: fitted((X, Y[:, None])), r"Reduce it, or give labels the shape"),
    "12 values as classes": (
        lambda: of_classes(CLASSES + np.float32(0.5)),
        r"(?s)numpy.integer'>, got float32.*in the loss of one example",
    ),
    "13 class k": (
        lambda: of_classes(with_value(CLASSES, 4, 3)),
        r"nan at epoch 0, update 0 .* 4\. Look at these rows, their labels too",
    ),
    "14 class -1": (
        lambda: of_classes(with_value(CLASSES, 4, -1)),
        r"nan at epoch 0, update 0 .* 4\. Look at these rows, their labels too",
    ),
    "15 complex": (lambda: fitted((X + 1j, Y)), "data must be real"),
    "16 strings": (lambda: fitted((X, Y.astype(str))), "data must be numbers"),
    "17 integer logits": (
        lambda: fitted(
            loss=lambda p, e: unchecked(jaxgd.binary_cross_entropy_with_logits)(3, e[1])
        ),
        "logit must be floating point; got int32",
    ),
    "18 integer params": (
        lambda: fitted(params=jaxgd.Linear(jnp.zeros(5, int), jnp.zeros(()))),
        "floating point; got params.w of int32",
    ),
    "22 a rate of -1": (lambda: optim.sgd(lr=-1.0), "lr must be finite and at least 0; got lr=-1"),
    "24 NaN": (lambda: optim.sgd(lr=float("nan")), "got lr=nan"),
    "24 inf": (lambda: optim.sgd(lr=float("inf")), "got lr=inf"),
    "24 NaN of optax": (
        lambda: fitted(optimizer=optax.sgd(np.nan)),
        "params.w was not after epoch",
    ),
    "25 a string": (lambda: unchecked(optim.sgd)(lr="0.1"), "lr must be a number .* got a str"),
    "26 momentum": (lambda: optim.sgd(momentum=-0.5), "got momentum=-0.5"),
    "27 nesterov": (lambda: optim.sgd(nesterov=True), "nesterov must have a momentum"),
    "28 batch of 0": (lambda: fitted(batch_size=0), "got batch_size=0 with n=25"),
    "28 batch of -1": (lambda: fitted(batch_size=-1), "got batch_size=-1 with n=25"),
    "28 batch of 2.5": (lambda: fitted(batch_size=2.5), "batch_size must be an integer"),
    "29 batch > n": (lambda: fitted(batch_size=26), "got batch_size=26 with n=25"),
    "30 epochs of 0": (lambda: fitted(epochs=0), "got epochs=0"),
    "30 epochs of 1.5": (lambda: fitted(epochs=1.5), "got epochs=1.5"),
    "31 the nearest": (lambda: fitted(optimizer="addam"), r"got 'addam'\. Use 'adam'\?"),
    "31 none is near": (lambda: fitted(optimizer="xyzzy"), r"got 'xyzzy'\.$"),
    "32 a seed": (lambda: fitted(key=1.5), r"got 1.5\. Use jax.random.key\(0\)"),
    "33 no validation": (lambda: fitted(validation=(X[:0], Y[:0])), "at least one example"),
    "39 a carry": (lambda: fitted(optimizer=drifting()), "an update must keep shapes and dtypes"),
    "40 a width": (
        lambda: fitted(params=unchecked(jaxgd.init_linear)(4)),
        r"(?s)\(5,\) and \(4,\).*in the loss of one example .* with params.w float32\[4\]",
    ),
    "a vector loss": (lambda: fitted(loss=lambda p, e: e[0]), r"must return a scalar"),
    "a file for a directory": (lambda: fitted(checkpoint=__file__), "File exists"),
    "no such place": (lambda: fitted(checkpoint="/proc/x"), "No such file or directory: '/proc/x'"),
}


def drifting():
    def update(grads, state, params=None):
        return grads, state.astype(jnp.bfloat16)

    return optax.GradientTransformation(lambda params: jnp.zeros(()), update)


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_in_a_sentence(name):
    do, message = BAD[name]
    with pytest.raises((ValueError, TypeError, FloatingPointError, OSError), match=message) as told:
        do()
    assert not isinstance(told.value, UnicodeError)


def test_19_float64_that_is_rounded_is_told_once_and_at_the_callers_line():
    with pytest.warns(UserWarning, match=r"data\[0\] of float64 is rounded to float32") as told:
        fitted((X + 1e-9 * RNG.normal(size=X.shape), Y.astype(np.float64)))  # Y loses nothing
    assert len(told) == 1
    assert told[0].filename == __file__


def test_20_a_certain_error_costs_200_by_its_logit():
    assert jaxgd.binary_cross_entropy_with_logits(-200.0, 1.0) == 200
    assert jaxgd.binary_cross_entropy(0.0, 1.0) == 100


def test_23_a_rate_of_0_changes_nothing():
    run = fitted(optimizer=optim.sgd(lr=0.0))
    assert not np.asarray(run.params.w).any()
