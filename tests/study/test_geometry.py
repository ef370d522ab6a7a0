"""Noise scales of optimizers that are not Euclidean: Adam's norm, signs, matrices."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd.study import dual_noise_scale, gradient_noise, preconditioner
from tests import tolerances
from tests.laws import problem
from tests.study import gradients

pytestmark = pytest.mark.usefixtures("quick_compile")


def test_a_preconditioner_is_another_unit_for_each_parameter(x64):
    """In φ = √P θ plain descent is along P⁻¹ in θ."""
    data, params = problem.data(), problem.start(problem.SGD).params
    scale = jax.tree.map(lambda a: 1.0 + jnp.arange(a.size, dtype=a.dtype).reshape(a.shape), params)
    there = jax.tree.map(lambda a, p: a * jnp.sqrt(p), params, scale)

    def loss(phi, example):
        return problem.loss(jax.tree.map(lambda a, p: a / jnp.sqrt(p), phi, scale), example)

    ours, plain = jax.jit(
        lambda: (
            gradient_noise(problem.loss, params, data, preconditioner=scale),
            gradient_noise(loss, there, data),
        )
    )()
    for a, b in zip(problem.leaves(ours), problem.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerances.PARITY_F64)


@pytest.mark.optax_promotion
@pytest.mark.parametrize(
    ("optimizer", "name", "root"),
    [
        (jaxgd.optim.adam(amsgrad=True), "max_exp_avg_sq", True),
        (jaxgd.optim.adamax(), "exp_inf", False),
        (jaxgd.optim.adagrad(), "sum", True),
        (jaxgd.optim.rmsprop(), "square_avg", True),
        (optax.adam(1e-3), "nu", True),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_state_tells_its_preconditioner(optimizer, name, root):
    params = {"w": jnp.ones(3)}
    state = optimizer.update({"w": jnp.asarray([1.0, 4.0, 9.0])}, optimizer.init(params), params)[1]
    found = preconditioner(state)["w"]
    np.testing.assert_allclose(found / found[0], [1, 4, 9], rtol=tolerances.ROUNDED_F32)
    moment = optax.tree.get(state, name)["w"]
    np.testing.assert_allclose(found, jnp.sqrt(moment) if root else moment, rtol=1e-5)


def test_a_state_without_moments_is_refused():
    with pytest.raises(ValueError, match=r"must hold one tree of second moments; got none\. Pass"):
        preconditioner(problem.start(problem.MOMENTUM).opt_state)


@pytest.mark.optax_promotion
@pytest.mark.parametrize(
    "optimizer", [optax.amsgrad(1e-3), jaxgd.optim.rmsprop(centered=True), jaxgd.optim.adadelta()]
)
def test_a_state_that_divides_otherwise_is_refused(optimizer):
    with pytest.raises(ValueError, match="divides by the root of its second moments; got one with"):
        preconditioner(optimizer.init({"w": jnp.ones(3)}))


def of_matrices(rows):
    """The dual noise of a loss whose row gradients are these matrices."""
    measure = partial(dual_noise_scale, lambda p, row: jnp.sum(p * row), chunk=7)
    return lambda norm: jax.jit(partial(measure, norm=norm))(jnp.zeros(rows.shape[1:]), rows)


def test_dual_norms_of_what_can_be_told_by_hand(x64):
    rng = np.random.default_rng(0)
    rows = jnp.asarray(rng.normal(1.0, 2.0, (20, 4)))
    mean, deviation = np.asarray(rows).mean(0), np.asarray(rows).std(0, ddof=1)
    of_signs = of_matrices(rows[:, None])("sign")
    want = (deviation.sum() / abs(mean).sum()) ** 2
    np.testing.assert_allclose(of_signs.noise_scale, want, rtol=tolerances.PARITY_F64)
    as_row = of_matrices(rows[:, :, None])("spectral")  # of one column: the Euclidean norm
    want = np.sum(deviation**2) / np.sum(mean**2)
    np.testing.assert_allclose(as_row.noise_scale, want, rtol=tolerances.PARITY_F64)
    diagonal = of_matrices(jax.vmap(jnp.diag)(rows))
    for one, other in zip(diagonal("spectral"), diagonal("sign"), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerances.PARITY_F64)


def test_signs_of_noise_alone_saturate_where_the_docstring_says():
    rows = jax.random.normal(jax.random.key(0), (100, 2000, 1))
    scale = float(of_matrices(rows)("sign").noise_scale)
    assert math.isclose(scale, math.pi * 100 / 2, rel_tol=0.1)


def test_vectors_have_no_spectral_norm():
    with pytest.raises(ValueError, match="params must be matrices in the spectral norm; got shape"):
        dual_noise_scale(gradients.loss, gradients.params(), gradients.rows(8), norm="spectral")
