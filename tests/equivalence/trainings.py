"""One small training, written twice: with torch.nn and torch.optim, and with JAX and optax.

Both record every update. What a test plants is an argument, so that the two sides of a pair differ
in nothing else.
"""

from collections import OrderedDict
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from jaxgd.equivalence import Update

ROWS, FEATURES, HIDDEN, OUTPUTS = 40, 5, 6, 2
BATCH, EPOCHS = 16, 10  # batches of 16, 16 and 8 rows, thirty updates


class Data(NamedTuple):
    x: np.ndarray
    y: np.ndarray


def data(dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES))
    y = np.sin(x @ rng.normal(size=(FEATURES, OUTPUTS))) + 0.1 * rng.normal(size=(ROWS, OUTPUTS))
    return Data(x.astype(dtype), y.astype(dtype))


def start(dtype):
    rng = np.random.default_rng(1)
    shapes = {
        "hidden.weight": (HIDDEN, FEATURES),
        "hidden.bias": (HIDDEN,),
        "output.weight": (OUTPUTS, HIDDEN),
        "output.bias": (OUTPUTS,),
    }
    return {name: rng.uniform(-0.4, 0.4, shape).astype(dtype) for name, shape in shapes.items()}


def epoch_orders(epochs=EPOCHS, seed=2):
    rng = np.random.default_rng(seed)
    return [rng.permutation(ROWS) for _ in range(epochs)]


def batches(orders=None, drop_last=False):
    """The row numbers of each batch of a run."""
    for order in epoch_orders() if orders is None else orders:
        for first in range(0, ROWS, BATCH):
            rows = order[first : first + BATCH]
            if len(rows) == BATCH or not drop_last:
                yield rows


def torch_mean(outputs, y):
    return torch.nn.functional.mse_loss(outputs, y)


def torch_training(
    dtype,
    optimizer,
    *,
    rows=None,
    lr=None,
    loss=torch_mean,
    max_norm=None,
    zero_grad=True,
    activation=torch.nn.Tanh,
    x=None,
    init=None,
    between=lambda update, optimizer: None,
    clip=None,
    after=None,
    micro_batches=1,
    given=None,
):
    """The recorded training; `optimizer` makes a torch.optim.Optimizer from the parameters.

    lr: one for each update, as a scheduler would set it. between: called before each update.
    clip: changes the parameters' gradients in place. after: changes the steps, once they are made.
    micro_batches: so many, whose gradients are recorded as parts. given: what is made of them for
        the optimizer, in the place of their mean.
    """
    examples = data(dtype)
    inputs = torch.tensor(examples.x if x is None else x)
    targets = torch.tensor(examples.y)
    model = torch.nn.Sequential(
        OrderedDict(
            hidden=torch.nn.Linear(FEATURES, HIDDEN),
            activation=activation(),
            output=torch.nn.Linear(HIDDEN, OUTPUTS),
        )
    ).to(inputs.dtype)
    values = start(dtype) if init is None else init
    model.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    torch_optimizer = optimizer(model.parameters())
    recording = []
    for update, batch in enumerate(batches() if rows is None else rows):
        between(update, torch_optimizer)
        if lr is not None:
            torch_optimizer.param_groups[0]["lr"] = lr[update]
        if zero_grad:
            torch_optimizer.zero_grad()
        before = _copies(model.named_parameters())
        x_batch, y_batch = inputs[batch.tolist()], targets[batch.tolist()]
        outputs = model(x_batch)
        value = loss(outputs, y_batch)
        value.backward()
        gradient = _copies((name, p.grad) for name, p in model.named_parameters())
        parts = None
        if micro_batches > 1:
            parts = _of_micro_batches(model, loss, x_batch, y_batch, micro_batches)
            made = {n: sum(part[n] for part in parts) / micro_batches for n in gradient}
            gradient = made
            for name, p in model.named_parameters():
                p.grad = (made if given is None else given(parts))[name].clone()
        if clip is not None:
            clip([*model.parameters()])
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        torch_optimizer.step()
        if after is not None:
            after([*model.parameters()], [*before.values()])
        recording.append(
            Update(
                before,
                gradient,
                _copies(model.named_parameters()),
                batch=(x_batch, y_batch),
                outputs=outputs.detach(),
                loss=value.item(),
                parts=parts,
            )
        )
    return recording


def _of_micro_batches(model, loss, x, y, count):
    """The gradients of equal parts of a batch."""
    parts = []
    for rows in np.split(np.arange(len(x)), count):
        grads = torch.autograd.grad(loss(model(x[rows]), y[rows]), [*model.parameters()])
        parts.append(dict(zip([n for n, _ in model.named_parameters()], grads, strict=True)))
    return parts


def _copies(named):
    return {name: tensor.detach().clone() for name, tensor in named}


def forward(params, x, activation=jnp.tanh):
    hidden = activation(x @ params["hidden.weight"].T + params["hidden.bias"][None])
    return hidden @ params["output.weight"].T + params["output.bias"][None]


def mean(outputs, y):
    return jnp.mean((outputs - y) ** 2)


@cache
def gradient_of(loss=mean, activation=jnp.tanh):
    """(params, x, y) -> ((loss, outputs), gradient), compiled."""

    def objective(params, x, y):
        outputs = forward(params, x, activation)
        return loss(outputs, y), outputs

    return jax.jit(jax.value_and_grad(objective, has_aux=True))


def jax_training(
    dtype, optimizer, *, rows=None, gradient=None, jit=jax.jit, place=lambda batch: batch, init=None
):
    """The recorded training; `optimizer` is an optax transformation.

    gradient: computes what `gradient_of` does, in another way. place: puts a batch on devices.
    """
    with jax.enable_x64(dtype == np.float64), jax.numpy_dtype_promotion("standard"):
        examples = data(dtype)
        params = jax.tree.map(jnp.asarray, start(dtype) if init is None else init)
        opt_state = optimizer.init(params)
        compute = gradient_of() if gradient is None else gradient

        @jit
        def apply(params, opt_state, grad):
            updates, opt_state = optimizer.update(grad, opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        recording = []
        for batch in batches() if rows is None else rows:
            x, y = place((examples.x[batch], examples.y[batch]))
            (value, outputs), grad = compute(params, x, y)
            updated, opt_state = apply(params, opt_state, grad)
            recording.append(Update(params, grad, updated, (x, y), outputs, value))
            params = updated
        return recording
