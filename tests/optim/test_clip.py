"""Clipping against torch.nn.utils, below, at and far above the threshold."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgd.optim import clip_grad_norm, clip_grad_value
from tests import tolerances

pytestmark = pytest.mark.usefixtures("quick_compile")

SHAPES = {"matrix": (5, 4), "vector": (7,), "scalar": ()}


def gradients(scale):
    rng = np.random.default_rng(0)
    return {name: scale * rng.normal(size=shape) for name, shape in SHAPES.items()}


def clipped_by_torch(function, grads, dtype, *args):
    params = [torch.nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in SHAPES.values()]
    for param, grad in zip(params, grads.values(), strict=True):
        param.grad = torch.tensor(grad, dtype=dtype)
    function(params, *args)
    return {name: param.grad.numpy() for name, param in zip(SHAPES, params, strict=True)}


@functools.cache
def compiled(build, *args):
    """The clip as a program of the gradients: one for all of their scales."""
    transform = build(*args)
    return jax.jit(lambda g: transform.update(g, transform.init(g))[0])


def assert_same(build, function, grads, dtype, *args):
    ours = compiled(build, *args)(jax.tree.map(lambda g: jnp.asarray(g, dtype), grads))
    expected = clipped_by_torch(function, grads, getattr(torch, dtype.name), *args)
    bound = {"float64": tolerances.CLIP_F64, "float32": tolerances.CLIP_F32}[dtype.name]
    for name in SHAPES:
        assert ours[name].dtype == dtype
        np.testing.assert_allclose(ours[name], expected[name], rtol=bound, atol=0)


@pytest.mark.parametrize("norm_type", [1, 2, 3, 0.5, 7.3, math.inf])
@pytest.mark.parametrize("scale", [1e-7, 0.01, 1.0, 1e4])
def test_clip_grad_norm(norm_type, scale, dtype):
    grads = gradients(scale)
    function = torch.nn.utils.clip_grad_norm_
    for max_norm in (0.0, 1e-6, 1.0, math.inf):
        args = max_norm, float(norm_type)
        assert_same(clip_grad_norm, function, grads, dtype, *args)


@pytest.mark.parametrize("clip_value", [0.0, 0.3, 10.0, math.inf])
def test_clip_grad_value(clip_value, dtype):
    function = torch.nn.utils.clip_grad_value_
    assert_same(clip_grad_value, function, gradients(1.0), dtype, clip_value)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite(bad, dtype):
    grads = gradients(1.0) | {"scalar": np.array(bad)}
    assert_same(clip_grad_norm, torch.nn.utils.clip_grad_norm_, grads, dtype, 1.0)
    assert_same(clip_grad_value, torch.nn.utils.clip_grad_value_, grads, dtype, 0.5)


@pytest.mark.usefixtures("x64")
def test_drawn_norms():
    @settings(deadline=None, max_examples=12)
    @given(
        max_norm=st.floats(0, 100),
        norm_type=st.floats(0.3, 20) | st.just(math.inf),
        scale=st.floats(1e-9, 1e3),
    )
    def compare(max_norm, norm_type, scale):
        args = max_norm, norm_type
        expected = clipped_by_torch(
            torch.nn.utils.clip_grad_norm_, gradients(scale), torch.float64, *args
        )
        transform = clip_grad_norm(*args)
        ours, _ = transform.update(jax.tree.map(jnp.asarray, gradients(scale)), optax.EmptyState())
        for name in SHAPES:
            np.testing.assert_allclose(ours[name], expected[name], rtol=tolerances.CLIP_F64)

    compare()


@pytest.mark.usefixtures("x64")
def test_a_canary_of_the_missing_1e_6():
    """optax's clip differs by 1e-6 / norm: the gate must see it."""
    with pytest.raises(AssertionError):
        assert_same(
            optax.clip_by_global_norm,
            torch.nn.utils.clip_grad_norm_,
            gradients(1.0),
            jnp.dtype("float64"),
            1.0,
        )


def test_leaves_of_two_precisions():
    with jax.enable_x64(True):
        grads = {"a": jnp.array([3.0], jnp.float32), "b": jnp.array([4.0], jnp.float64)}
        ours, _ = clip_grad_norm(1.0).update(grads, optax.EmptyState())
    assert (ours["a"].dtype, ours["b"].dtype) == (jnp.float32, jnp.float64)
    np.testing.assert_allclose(ours["b"], 4 / (5 + 1e-6), rtol=1e-15)


def test_a_group_without_leaves():
    for transform in (clip_grad_norm(1.0), clip_grad_value(1.0)):
        assert transform.update({}, transform.init({}))[0] == {}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: clip_grad_norm(-1.0), "max_norm must be at least 0.*Leave the clip out"),
        (lambda: clip_grad_norm(1.0, 0.0), "norm_type must be positive; got norm_type=0"),
        (lambda: clip_grad_value(-1.0), "clip_value must be at least 0; got clip_value=-1"),
    ],
)
def test_bad_options(build, message):
    with pytest.raises(ValueError, match=message):
        build()
