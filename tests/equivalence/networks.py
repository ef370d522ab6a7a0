"""Small networks under Adam .03, torch's and their ports to JAX, which `prove` is tried on.

Ten inputs, two hidden layers of 16, batches of 8 of 32 rows, 40 updates: kinks and a high learning
rate, which free-running comparisons in float32 accuse now and then.
"""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxgd.equivalence import Proof, Recipe, Update, prove

LR, BETAS, EPS, UPDATES = 0.03, (0.9, 0.999), 1e-8, 40
RECIPE = Recipe("adam", lr=LR)
SIZES = (10, 16, 16, 1)

TORCH = {"relu": torch.relu, "tanh": torch.tanh, "leaky": torch.nn.functional.leaky_relu}
JAX = {"relu": jax.nn.relu, "tanh": jnp.tanh, "leaky": lambda x: jax.nn.leaky_relu(x, 0.01)}


class Problem(NamedTuple):
    start: dict[str, np.ndarray]
    batches: list[tuple[np.ndarray, np.ndarray]]


def problem(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    x, weights = rng.normal(size=(32, SIZES[0])), rng.normal(size=SIZES[0])
    y = np.sin(x @ weights)[:, None]
    start = {}
    for i, (d, k) in enumerate(pairwise(SIZES)):
        start[f"{i}.weight"] = rng.uniform(-1, 1, (d, k)) / np.sqrt(d)
        start[f"{i}.bias"] = rng.uniform(-1, 1, k) / np.sqrt(d)
    rows = [rows for _ in range(UPDATES // 4) for rows in np.split(rng.permutation(32), 4)]
    batches = [(x[r].astype(dtype), y[r].astype(dtype)) for r in rows]
    return Problem({path: leaf.astype(dtype) for path, leaf in start.items()}, batches)


def torch_pass(activation, eps=1e-5):
    """The reference's pass: (params, batch) -> Update, its parameters afterwards left out."""
    f = TORCH[activation]

    def run(params, batch):
        p = {name: torch.tensor(np.asarray(v), requires_grad=True) for name, v in params.items()}
        x, y = map(torch.tensor, batch)
        hidden = f(x @ p["0.weight"] + p["0.bias"])
        outputs = f(hidden @ p["1.weight"] + p["1.bias"]) @ p["2.weight"] + p["2.bias"]
        loss = ((outputs - y) ** 2).mean()
        gradient = torch.autograd.grad(loss, list(p.values()))
        return Update(
            params, dict(zip(p, gradient, strict=True)), None, batch, outputs.detach(), loss.item()
        )

    return run


@cache
def torch_training(activation, seed, dtype=np.float32):
    """The reference, recorded as it goes freely under torch.optim.Adam."""
    params = {name: torch.tensor(value) for name, value in problem(seed, dtype).start.items()}
    optimizer, recording = torch.optim.Adam(params.values(), lr=LR), []
    for batch in problem(seed, dtype).batches:
        before = {name: tensor.numpy().copy() for name, tensor in params.items()}
        update = torch_pass(activation)(before, batch)
        for name, tensor in params.items():
            tensor.grad = update.gradient[name]
        optimizer.step()
        updated = {name: tensor.numpy().copy() for name, tensor in params.items()}
        recording.append(update._replace(updated=updated))
    return recording


@cache
def jax_pass(activation):
    f = JAX[activation]

    def objective(params, x, y, scale):
        hidden = f(x @ params["0.weight"] + params["0.bias"][None])
        hidden = f(hidden @ params["1.weight"] + params["1.bias"][None])
        outputs = hidden @ params["2.weight"] + params["2.bias"][None]
        return scale * jnp.mean((outputs - y) ** 2), outputs

    return jax.jit(jax.value_and_grad(objective, has_aux=True))


@jax.jit
def adam(params, mean, square, gradient, rate, b2, eps, t):
    """torch's Adam, whose corrections are computed in the host's float64."""
    mean = jax.tree.map(lambda m, g: m + (g - m) * (1 - jnp.asarray(0.9, m.dtype)), mean, gradient)
    square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, square, gradient)
    corrected = (1 - jnp.asarray(0.9, b2.dtype) ** t), jnp.sqrt(1 - b2**t)

    def moved(p, m, v):
        return p - rate / corrected[0] * m / (jnp.sqrt(v) / corrected[1] + eps)

    return jax.tree.map(moved, params, mean, square), mean, square


def jax_step(
    activation,
    dtype=np.float32,
    *,
    rate=LR,
    beta2=0.999,
    eps=EPS,
    scale=1.0,
    wrong_row_at=None,
):
    """The port's step; what is planted is an argument."""
    state, count = None, 0

    def step(params, batch):
        nonlocal state, count
        count += 1
        x, y = batch
        if count == wrong_row_at:
            x = np.concatenate([x[:-1], x[:1]])
        zeros = {name: np.zeros_like(value) for name, value in params.items()}
        mean, square = (zeros, zeros) if state is None else state
        (loss, outputs), gradient = jax_pass(activation)(params, x, y, dtype(scale))
        numbers = dtype(rate), dtype(beta2), dtype(eps), dtype(count)
        updated, *state = adam(params, mean, square, gradient, *numbers)
        return Update(params, gradient, updated, None, outputs, loss)

    return step


def proof(activation, seed, dtype=np.float32, recipe=RECIPE, **planted) -> Proof:
    """What `prove` says of the port of one small network."""
    with jax.enable_x64(dtype is np.float64):
        return prove(
            jax_step(activation, dtype, **planted),
            torch_training(activation, seed, dtype),
            torch_pass(activation),
            recipe,
            start=problem(seed, dtype).start,
        )
