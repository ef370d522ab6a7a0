"""Losses whose row gradients are the rows themselves, so that their distribution is known."""

import jax
import jax.numpy as jnp
import numpy as np

PARAMS = {"b": np.zeros(()), "w": np.zeros(6)}


def loss(params, row):
    """Linear: its gradient is the row, whatever the params."""
    return params["b"] * row["b"] + jnp.vdot(params["w"], row["w"])


def params():
    return jax.tree.map(jnp.asarray, jax.tree.map(lambda a: a.astype(float_()), PARAMS))


def float_():
    return jnp.zeros(()).dtype


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return {"b": jnp.asarray(rng.normal(1, 2, n), float_()),
            "w": jnp.asarray(rng.normal(0.5, 1, (n, 6)), float_())}  # fmt: skip


def matrix(data):
    """The row gradients side by side, in float64."""
    return np.column_stack([np.asarray(data["b"], np.float64), np.asarray(data["w"], np.float64)])
