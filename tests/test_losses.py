"""Losses equal torch's in value, gradient and second derivative, at the extremes too."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxgd
from tests.tolerances import LOSS

pytestmark = pytest.mark.usefixtures("quick_compile")

PROBABILITIES = [0.0, 1e-45, 1e-30, 1e-12, 1e-7, 0.1, 0.5, 0.9, 1 - 1e-7, 1.0]
LOGITS = [-1e4, -200.0, -88.0, -17.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 17.0, 88.0, 200.0, 1e4]
LABELS = [0.0, 0.3, 1.0]

PAIRS = {
    "probability": (
        jaxgd.binary_cross_entropy,
        torch.nn.functional.binary_cross_entropy,
        PROBABILITIES,
    ),
    "logit": (
        jaxgd.binary_cross_entropy_with_logits,
        torch.nn.functional.binary_cross_entropy_with_logits,
        LOGITS,
    ),
    "squared error": (jaxgd.squared_error, torch.nn.functional.mse_loss, LOGITS),
}


def torch_side(function, inputs, labels, dtype):
    """Value and both gradients of every (input, label) pair."""
    p = torch.tensor(inputs, dtype=dtype, requires_grad=True)
    y = torch.tensor(labels, dtype=dtype, requires_grad=True)
    values = torch.stack([function(p[i], y[i]) for i in range(len(inputs))])
    grads = torch.autograd.grad(values.sum(), (p, y))
    return [t.detach().numpy() for t in (values, *grads)]


def jax_side(function, inputs, labels, dtype):
    one = jax.vmap(jax.value_and_grad(function, argnums=(0, 1)))
    value, grads = one(jnp.asarray(inputs, dtype), jnp.asarray(labels, dtype))
    return [np.asarray(t) for t in (value, *grads)]


@pytest.mark.parametrize("name", PAIRS)
def test_value_and_gradients_equal_torch(name, dtype):
    ours, theirs, points = PAIRS[name]
    inputs, labels = np.repeat(points, len(LABELS)), np.tile(LABELS, len(points))
    expected = torch_side(theirs, inputs, labels, getattr(torch, dtype.name))
    if name == "probability":  # torch's slope of the label is not clamped; ours is, and says so
        expected[2] = np.clip(expected[2], -100, 100)
    for got, want in zip(jax_side(ours, inputs, labels, dtype), expected, strict=True):
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, want, rtol=LOSS[dtype.name], atol=LOSS[dtype.name])


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e4, 1e4, width=32), st.floats(0, 1, width=32))
def test_with_logits_equals_torch_anywhere(z, y):
    expected = torch_side(PAIRS["logit"][1], [z], [y], torch.float32)
    for got, want in zip(with_logits_f32([z], [y]), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=LOSS["float32"] * max(1, abs(z)))


with_logits = jax.jit(
    jax.vmap(jax.value_and_grad(jaxgd.binary_cross_entropy_with_logits, argnums=(0, 1)))
)


def with_logits_f32(z, y):
    value, grads = with_logits(jnp.asarray(z, jnp.float32), jnp.asarray(y, jnp.float32))
    return [value, *grads]


@pytest.mark.usefixtures("x64")
def test_second_derivatives_equal_torch():
    for name in ("probability", "logit"):
        ours, theirs, points = PAIRS[name]
        inside = [v for v in points if 1e-7 < abs(v) < 0.99 or 1 <= abs(v) < 20]
        inside = [v for v in inside if name == "logit" or v < 0.95]
        second = jax.vmap(jax.grad(jax.grad(ours)), (0, None))
        found = second(jnp.asarray(inside), jnp.asarray(0.3))
        for value, got in zip(inside, found, strict=True):
            p = torch.tensor(value, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(
                theirs(p, torch.tensor(0.3, dtype=torch.float64)), p, create_graph=True
            )
            (want,) = torch.autograd.grad(slope, p)
            np.testing.assert_allclose(got, want.item(), rtol=1e-9)


def test_logit_loss_does_not_clamp_and_probability_loss_does():
    assert jaxgd.binary_cross_entropy_with_logits(-200.0, 1.0) == 200.0
    assert jaxgd.binary_cross_entropy(0.0, 1.0) == 100.0


def test_integer_and_bool_labels_are_labels():
    for label in (1, True, np.int8(1), jnp.asarray(True)):
        assert jaxgd.binary_cross_entropy_with_logits(0.5, label) == (
            jaxgd.binary_cross_entropy_with_logits(0.5, 1.0)
        )


def test_shapes_are_not_broadcast():
    """A model of one output against labels of three would train on nonsense in silence."""
    with pytest.raises(ValueError, match=r"must have one shape; got \(\) and \(3,\)"):
        unchecked(jaxgd.squared_error)(jnp.float32(0), jnp.zeros(3))


@pytest.mark.parametrize(
    "function",
    [jaxgd.binary_cross_entropy, jaxgd.binary_cross_entropy_with_logits, jaxgd.squared_error],
)
def test_an_integer_prediction_is_refused(function):
    with pytest.raises(TypeError, match="must be floating point; got int32"):
        unchecked(function)(jnp.int32(2), jnp.float32(0.3))


@pytest.mark.parametrize("label", range(4))
def test_cross_entropy_equals_torch_and_optax(label):
    logits = np.array([0.1, -3.0, 40.0, 2.0], np.float32)
    got, slope = jax.value_and_grad(jaxgd.cross_entropy)(jnp.asarray(logits), label)
    z = torch.tensor(logits, requires_grad=True)
    want = torch.nn.functional.cross_entropy(z, torch.tensor(label))
    want.backward()
    np.testing.assert_allclose(got, want.item(), rtol=LOSS["float32"])
    np.testing.assert_allclose(slope, z.grad, rtol=1e-5, atol=LOSS["float32"])
    reference = optax.losses.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), label)
    np.testing.assert_allclose(got, reference, rtol=LOSS["float32"])


@pytest.mark.parametrize("label", [-1, 3, -100])
def test_a_class_that_does_not_exist_costs_nan(label):
    assert np.isnan(jaxgd.cross_entropy(jnp.zeros(3), label))
