"""The lesson's five numbers from JAX, from PyTorch twice, and from the loss's finite difference."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import jaxgd
from torch_ref import notebook

NUMBERS = {"z": 0.3829, "a": 0.5946, "loss": 0.5199, "grad_w": -0.4987, "grad_b": -0.4054}


def loss(params, example):
    x, y = example
    return jaxgd.binary_cross_entropy(jaxgd.logistic(params, x), y)


def ours(dtype):
    params = jaxgd.Linear(jnp.asarray([0.23], dtype), jnp.asarray(0.1, dtype))
    x, y = jnp.asarray([1.23], dtype), jnp.asarray(1, dtype)
    value, grad = jax.value_and_grad(loss)(params, (x, y))
    z, a = jaxgd.linear(params, x), jaxgd.logistic(params, x)
    return dict(zip(NUMBERS, (z, a, value, grad.w[0], grad.b), strict=True))


def test_both_sides_print_the_lesson(dtype):
    told = notebook.lesson(getattr(torch, dtype.name))._asdict()
    for name, number in NUMBERS.items():
        assert f"{ours(dtype)[name]:.4f}" == f"{told[name]:.4f}" == f"{number:.4f}"


def test_both_sides_agree_to_rounding(dtype):
    told = notebook.lesson(getattr(torch, dtype.name))._asdict()
    for name, number in ours(dtype).items():
        np.testing.assert_allclose(number, told[name], rtol=4 * jnp.finfo(dtype).eps)


def test_backward_equals_autograd_grad():
    told = notebook.lesson()
    assert notebook.backward_gradients() == (told.grad_w, told.grad_b)


@pytest.mark.usefixtures("x64")
def test_finite_difference_of_the_loss():
    def value(w, b):
        a = 1 / (1 + np.exp(-(1.23 * w + b)))
        return -np.log(a)

    h = 1e-6
    grad_w = (value(0.23 + h, 0.1) - value(0.23 - h, 0.1)) / (2 * h)
    grad_b = (value(0.23, 0.1 + h) - value(0.23, 0.1 - h)) / (2 * h)
    numbers = [value(0.23, 0.1), grad_w, grad_b]
    np.testing.assert_allclose(numbers, [0.5199, -0.4987, -0.4054], rtol=0, atol=5e-5)
    told = ours("float64")
    np.testing.assert_allclose([told["grad_w"], told["grad_b"]], [grad_w, grad_b], atol=1e-9)


def test_the_lesson_as_one_step_of_descent():
    optimizer = optax.sgd(1.0)
    params = jaxgd.Linear(jnp.asarray([0.23]), jnp.asarray(0.1))
    update = jaxgd.step(loss, optimizer)
    state, value = update(
        jaxgd.init_state(params, optimizer), (jnp.asarray([[1.23]]), jnp.asarray([1.0]))
    )
    assert f"{value:.4f}" == "0.5199"
    assert f"{state.params.w[0] - 0.23:.4f}" == "0.4987"
    assert f"{state.params.b - 0.1:.4f}" == "0.4054"


def test_main_prints_the_numbers(capsys):
    notebook.main()
    printed = capsys.readouterr().out
    for number in NUMBERS.values():
        assert f"{number:.4f}" in printed
