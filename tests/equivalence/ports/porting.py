"""One training of a model in torch.nn, and of its port, a JAX function of torch's own names."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.func import functional_call

from jaxgd.equivalence import Proof, Recipe, Update, prove

UPDATES = 12


@dataclass(frozen=True)
class Port:
    """A model twice.

    module: makes torch's. apply: (params, buffers, inputs, **faults) -> outputs, buffers after.
    data: generator -> one batch (inputs, targets). faults: what a port gets wrong, by name: options
    of `apply`, `loss` and the optimizer; the cause that a proof should tell, None for "unknown".
    """

    name: str
    module: Callable[[], torch.nn.Module]
    apply: Callable[..., tuple[jax.Array, dict]]
    data: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
    classes: bool = False  # cross entropy of integer targets, or the mean square
    optimizer: str = "adam"
    lr: float = 1e-3
    faults: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def recipe(self) -> Recipe:
        if self.optimizer == "sgd":
            return Recipe("sgd", lr=self.lr, momentum=0.9)
        return Recipe("adam", lr=self.lr)


def cast(dtype, array):
    return array.astype(dtype) if array.dtype.kind == "f" else array


@lru_cache(maxsize=2)
def batches(port, seed, dtype):
    rng = np.random.default_rng(seed)
    return [tuple(cast(dtype, a) for a in port.data(rng)) for _ in range(UPDATES)]


@lru_cache(maxsize=2)
def torch_module(port, seed, dtype):
    torch.manual_seed(seed)
    return port.module().to(torch.from_numpy(np.zeros(0, dtype)).dtype).train()


def torch_loss(port, outputs, targets):
    if port.classes:
        return torch.nn.functional.cross_entropy(outputs, targets)
    return torch.nn.functional.mse_loss(outputs, targets)


def torch_pass(port, seed, dtype):
    """The reference's pass: (params, batch[, buffers]) -> Update."""
    module = torch_module(port, seed, dtype)

    def run(params, batch, buffers=None):
        p = {name: torch.tensor(v, requires_grad=True) for name, v in params.items()}
        after = {name: torch.tensor(v) for name, v in (buffers or {}).items()}
        inputs, targets = map(torch.tensor, batch)
        outputs = functional_call(module, {**p, **after}, (inputs,))
        loss = torch_loss(port, outputs, targets)
        gradient = torch.autograd.grad(loss, list(p.values()))
        return Update(
            params,
            {name: g.numpy() for name, g in zip(p, gradient, strict=True)},
            None,
            batch,
            outputs.detach().numpy(),
            loss.item(),
            buffers=buffers,
            updated_buffers={name: v.numpy() for name, v in after.items()} or None,
        )

    return run


@lru_cache(maxsize=2)
def torch_training(port, seed, dtype):
    """The reference, recorded as it goes freely."""
    module, compute = torch_module(port, seed, dtype), torch_pass(port, seed, dtype)
    parameters = {name: p.detach().clone() for name, p in module.named_parameters()}
    buffers = {name: b.numpy().copy() for name, b in module.named_buffers()} or None
    kind = {
        "adam": torch.optim.Adam,
        "sgd": partial(torch.optim.SGD, momentum=0.9),
    }[port.optimizer]
    optimizer, recording = kind(parameters.values(), lr=port.lr), []
    for batch in batches(port, seed, dtype):
        before = {name: p.numpy().copy() for name, p in parameters.items()}
        update = compute(before, batch, buffers)
        for name, p in parameters.items():
            p.grad = torch.tensor(update.gradient[name])
        optimizer.step()
        updated = {name: p.numpy().copy() for name, p in parameters.items()}
        recording.append(update._replace(updated=updated))
        buffers = update.updated_buffers
    return recording


@cache
def jax_pass(port, faults=()):
    options = dict(faults)
    smoothing, reduce = options.pop("smoothing", 0.0), options.pop("reduce", jnp.mean)

    def objective(params, buffers, inputs, targets):
        outputs, after = port.apply(params, buffers, inputs, **options)
        if port.classes:
            logits = jax.nn.log_softmax(outputs, axis=-1)
            wanted = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
            loss = -reduce((1 - smoothing) * wanted + smoothing * logits.mean(axis=-1))
        else:
            loss = reduce(((outputs - targets) ** 2).reshape(len(outputs), -1).mean(axis=1))
        return loss, (outputs, after)

    return jax.jit(jax.value_and_grad(objective, has_aux=True))


_OF_THE_OPTIMIZER = {"rate": 1.0, "beta2": 0.999, "adam_eps": 1e-8, "nesterov": False, "decay": 0.0}


def jax_step(port, dtype, **faults):
    """The port's step, an optimizer of its own in float64 behind float32's gradients."""
    own = {name: faults.pop(name, default) for name, default in _OF_THE_OPTIMIZER.items()}
    compute = jax_pass(port, tuple(sorted(faults.items())))
    state: dict[str, Any] = {}

    def step(params, batch, buffers=None):
        (loss, (outputs, after)), gradient = compute(params, buffers or {}, *batch)
        gradient = {name: np.asarray(g) for name, g in gradient.items()}
        updated = {
            name: (p + _moved(port, state.setdefault(name, [0, 0.0, 0.0]), gradient[name], p, own))
            for name, p in params.items()
        }
        updated = {name: p.astype(dtype) for name, p in updated.items()}
        return Update(params, gradient, updated, None, outputs, loss, updated_buffers=after or None)

    return step


def _moved(port, state, g, p, own):
    """What the optimizer adds to one leaf, computed in float64."""
    g, (t, m, v) = g.astype(np.float64) + own["decay"] * p, state
    rate = port.lr * own["rate"]
    if port.optimizer == "sgd":
        m = 0.9 * m + g
        state[:] = [t + 1, m, v]
        return -rate * (g + 0.9 * m if own["nesterov"] else m)
    m, v = 0.9 * m + 0.1 * g, own["beta2"] * v + (1 - own["beta2"]) * g * g
    state[:] = [t + 1, m, v]
    corrected = np.sqrt(v / (1 - own["beta2"] ** (t + 1)))
    return -rate * (m / (1 - 0.9 ** (t + 1))) / (corrected + own["adam_eps"])


def proof(port, seed=0, dtype=np.float32, *, start=None, **faults) -> Proof:
    """What `prove` says of the port."""
    expected = torch_training(port, seed, dtype)
    with (
        jax.enable_x64(dtype is np.float64),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        return prove(
            jax_step(port, dtype, **faults),
            expected,
            torch_pass(port, seed, dtype),
            port.recipe,
            start=expected[0].params if start is None else start(expected[0].params),
            start_buffers=expected[0].buffers,
        )
