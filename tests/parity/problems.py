"""The two trainings that parity is measured on, each once in JAX and once in PyTorch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

import jaxgd

FEATURES, HIDDEN = 5, 4


class Problem(NamedTuple):
    """A loss and params for jaxgd, and how to build the same module for torch."""

    loss: object
    params: object
    module: object  # (params) -> torch.nn.Module with the same numbers
    names: tuple  # torch's parameter names, in the order of the leaves of params


def rows(n, dtype, seed=0):
    """Well-scaled but uneven features, and labels that no model fits perfectly."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, FEATURES)) * [1.0, 0.3, 2.0, 1.0, 0.1] + [0.0, 1.0, 0.0, -2.0, 0.0]
    y = (x @ [1.0, -2.0, 0.5, 0.3, 3.0] + rng.normal(size=n) > 0).astype(float)
    return x.astype(dtype), y.astype(dtype)


class LinearModule(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x).squeeze(-1)


class MLPModule(torch.nn.Sequential):
    def forward(self, x):
        return super().forward(x).squeeze(-1)


def as_torch(array):
    return torch.tensor(np.asarray(array))


def fill(linear, params):
    """Copy Linear(w, b) into a torch.nn.Linear, whose weight is [out, in]."""
    w = as_torch(params.w).reshape(linear.in_features, linear.out_features)
    linear.to(w.dtype)
    with torch.no_grad():
        linear.weight.copy_(w.T)
        linear.bias.copy_(as_torch(params.b).reshape(-1))
    return linear


def logistic(dtype):
    params = jaxgd.init_linear(FEATURES, key=jax.random.key(1), dtype=dtype)

    loss = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)
    return Problem(loss, params, lambda p: fill(LinearModule(FEATURES, 1), p), ("weight", "bias"))


def mlp(dtype):
    params = jaxgd.init_mlp(jax.random.key(2), (FEATURES, HIDDEN, 1), dtype=dtype)

    def loss(params, example):
        x, y = example
        return jaxgd.binary_cross_entropy_with_logits(jaxgd.mlp(params, x)[0], y)

    def module(params):
        first, second = torch.nn.Linear(FEATURES, HIDDEN), torch.nn.Linear(HIDDEN, 1)
        return MLPModule(fill(first, params[0]), torch.nn.Tanh(), fill(second, params[1]))

    return Problem(loss, params, module, ("0.weight", "0.bias", "2.weight", "2.bias"))


PROBLEMS = {"logistic": logistic, "mlp": mlp}


def flat(params):
    """All parameters of a pytree in one row, as `flat_torch` lays them out."""
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(params)])


def flat_torch(named, names):
    """All parameters of a module in one row; weights transposed to jaxgd's [in, out]."""
    return np.concatenate([named[name].numpy().T.ravel() for name in names])
