"""Models of one example against torch.nn, shapes and initial draws included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jaxgd
from tests.parity.problems import FEATURES, PROBLEMS, as_torch, rows

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.mark.parametrize("model", PROBLEMS)
def test_apply_equals_torch(model, dtype):
    problem = PROBLEMS[model](dtype)
    x, _ = rows(7, dtype)
    apply = {"logistic": jaxgd.linear, "mlp": lambda p, x: jaxgd.mlp(p, x)[0]}[model]
    ours = jax.vmap(apply, (None, 0))(problem.params, jnp.asarray(x))
    theirs = problem.module(problem.params)(as_torch(x)).detach()
    np.testing.assert_allclose(ours, theirs, rtol=20 * jnp.finfo(dtype).eps, atol=1e-6)


def test_logistic_is_the_sigmoid_of_linear():
    params = jaxgd.init_linear(3, key=jax.random.key(0))
    x = jnp.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(
        jaxgd.logistic(params, x), 1 / (1 + np.exp(-jaxgd.linear(params, x))), rtol=1e-6
    )


def test_linear_with_several_outputs():
    params = jaxgd.init_linear(3, 2, key=jax.random.key(0))
    assert (params.w.shape, params.b.shape) == ((3, 2), (2,))
    x = jnp.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(jaxgd.linear(params, x), x @ params.w + params.b, rtol=1e-6)


def test_init_without_a_key_is_zero_and_with_one_is_torchs_uniform(dtype):
    zero = jaxgd.init_linear(4, dtype=dtype)
    assert zero.w.dtype == zero.b.dtype == dtype
    assert not zero.w.any()
    ours = np.asarray(jaxgd.init_linear(400, 50, key=jax.random.key(0), dtype=dtype).w)
    theirs = torch.nn.Linear(400, 50).weight.detach().numpy()
    assert np.abs(ours).max() <= 400**-0.5
    np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.03)


def test_mlp_has_torchs_shapes_and_any_activation():
    params = jaxgd.init_mlp(jax.random.key(0), (FEATURES, 8, 3))
    assert [layer.w.shape for layer in params] == [(FEATURES, 8), (8, 3)]
    x = jnp.ones(FEATURES)
    first = jax.nn.relu(x @ params[0].w + params[0].b)
    np.testing.assert_allclose(
        jaxgd.mlp(params, x, jax.nn.relu), first @ params[1].w + params[1].b, rtol=1e-5, atol=1e-6
    )


def test_an_mlp_needs_two_widths():
    with pytest.raises(ValueError, match=r"an input and an output width; got \(3,\)"):
        jaxgd.init_mlp(jax.random.key(0), (3,))
