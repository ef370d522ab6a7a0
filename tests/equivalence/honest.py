"""Pairs that differ in nothing but rounding: other frameworks, kernels, sums, devices."""

from functools import cache, partial
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgd import optim
from jaxgd.equivalence import Recipe, Update
from tests.equivalence.pairs import BOTH, Pair
from tests.equivalence.trainings import (
    BATCH,
    EPOCHS,
    ROWS,
    batches,
    data,
    epoch_orders,
    forward,
    gradient_of,
    jax_training,
    mean,
    start,
    torch_training,
)

UPDATES = len(list(batches()))
DECAYING = [0.05 * 0.5 ** (update // 10) for update in range(UPDATES)]


def torch_clip(max_norm):
    """torch.nn.utils.clip_grad_norm_ as an optax transformation: optax lacks the 1e-6."""

    def clip(updates, params=None):
        factor = jnp.minimum(1.0, max_norm / (optax.tree.norm(updates) + 1e-6))
        return jax.tree.map(lambda g: g * factor, updates)

    return optax.stateless(clip)


def scale_by_table(rates):
    """The learning rates of all updates, in the precision of the run."""
    return optax.scale_by_learning_rate(lambda count: jnp.asarray(rates)[count])


# Name, torch's optimizer, optax's, the recipe.
OPTIMIZERS = {
    "SGD": (
        partial(torch.optim.SGD, lr=0.1),
        lambda: optax.sgd(0.1),
        Recipe("sgd", lr=0.1),
    ),
    "SGD with momentum": (
        partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        lambda: optax.sgd(0.05, momentum=0.9),
        Recipe("sgd", lr=0.05, momentum=0.9),
    ),
    "SGD with Nesterov's momentum and L2": (
        partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda: optax.chain(
            optax.add_decayed_weights(0.01), optax.sgd(0.05, momentum=0.9, nesterov=True)
        ),
        Recipe("sgd", lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "SGD with dampening": (
        partial(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.5),
        lambda: optax.chain(
            optax.scale_by_schedule(lambda count: jnp.where(count == 0, 1.0, 0.5)),
            optax.trace(0.9),
            optax.scale_by_learning_rate(0.1),
        ),
        Recipe("sgd", lr=0.1, momentum=0.9, dampening=0.5),
    ),
    "Adam": (
        partial(torch.optim.Adam, lr=0.02),
        lambda: optax.adam(0.02),
        Recipe("adam", lr=0.02),
    ),
    "Adam with L2": (
        partial(torch.optim.Adam, lr=0.02, weight_decay=0.01),
        lambda: optax.chain(optax.add_decayed_weights(0.01), optax.adam(0.02)),
        Recipe("adam", lr=0.02, weight_decay=0.01),
    ),
    "AdamW": (
        partial(torch.optim.AdamW, lr=0.02, weight_decay=0.1),
        lambda: optax.adamw(0.02, weight_decay=0.1),
        Recipe("adam", lr=0.02, weight_decay=0.1, decoupled=True),
    ),
    "Adagrad": (
        partial(torch.optim.Adagrad, lr=0.05, initial_accumulator_value=0.1, eps=0.0),
        lambda: optax.adagrad(0.05, initial_accumulator_value=0.1, eps=0.0),
        Recipe("adagrad", lr=0.05, initial_accumulator=0.1, eps=0.0),
    ),
    "RMSprop with momentum": (
        partial(torch.optim.RMSprop, lr=0.005, momentum=0.9),
        lambda: optax.rmsprop(0.005, decay=0.99, eps=1e-8, eps_in_sqrt=False, momentum=0.9),
        Recipe("rmsprop", lr=0.005, momentum=0.9),
    ),
}


@cache
def expected(name, dtype):
    """torch's training with that optimizer."""
    return torch_training(dtype, OPTIMIZERS[name][0])


def frameworks(name, dtype):
    return jax_training(dtype, OPTIMIZERS[name][1]()), expected(name, dtype)


# jaxgd's name, torch's, the options of both; no recipe knows these rules.
OWN = {
    "adam": ("Adam", {"lr": 0.02, "weight_decay": 0.01}),
    "nadam": ("NAdam", {"lr": 0.02}),
    "radam": ("RAdam", {"lr": 0.02}),
    "asgd": ("ASGD", {"lr": 0.1, "lambd": 0.01}),
    "adagrad": ("Adagrad", {"lr": 0.05, "lr_decay": 0.01}),
    "adafactor": ("Adafactor", {"lr": 0.1}),
    "adamax": ("Adamax", {"lr": 0.02}),
}


def own_frameworks(name, dtype):
    torch_name, options = OWN[name]
    theirs = torch_training(dtype, partial(getattr(torch.optim, torch_name), **options))
    return jax_training(dtype, optim.by_name(name)(**options)), theirs


def scan_and_loop(dtype):
    """JAX beside JAX: one compiled scan over the epochs, and a Python loop over the updates."""
    optimizer = OPTIMIZERS["Adam"][1]()

    def epoch(carry, order):
        updates = []
        for rows in jnp.split(order, [*range(BATCH, ROWS, BATCH)]):
            params, opt_state = carry
            (value, outputs), grad = gradient_of()(params, x[rows], y[rows])
            steps, opt_state = optimizer.update(grad, opt_state, params)
            carry = optax.apply_updates(params, steps), opt_state
            updates.append(Update(params, grad, carry[0], (x[rows], y[rows]), outputs, value))
        return carry, updates

    with jax.enable_x64(dtype == np.float64), jax.numpy_dtype_promotion("standard"):
        x, y = map(jnp.asarray, data(dtype))
        params = jax.tree.map(jnp.asarray, start(dtype))
        carry = params, optimizer.init(params)
        _, epochs = jax.lax.scan(epoch, carry, jnp.asarray(np.stack(epoch_orders())))
        recorded = [jax.tree.map(itemgetter(e), epochs) for e in range(EPOCHS)]
    return [update for updates in recorded for update in updates], jax_training(dtype, optimizer)


def against_torch(dtype, name="SGD with momentum", **options):
    """JAX's training, computed in another way, beside torch's."""
    return jax_training(dtype, OPTIMIZERS[name][1](), **options), expected(name, dtype)


def kernels(dtype, optimizer, **kernel):
    """torch beside torch: the same formula in another kernel."""
    return tuple(
        torch_training(dtype, partial(optimizer, lr=0.02, **choice))
        for choice in (kernel, {"foreach": False})
    )


def per_example(params, x, y):
    """The mean of the gradients of single rows, by vmap."""
    one = partial(gradient_of(), params)
    (values, outputs), grads = jax.vmap(lambda x, y: one(x[None], y[None]))(x, y)
    return (jnp.mean(values), outputs[:, 0]), jax.tree.map(lambda g: g.mean(axis=0), grads)


def row_after_row(params, x, y):
    """The gradients of single rows, added up from the last to the first."""
    results = [gradient_of()(params, x[i : i + 1], y[i : i + 1]) for i in range(len(x))][::-1]
    total = jax.tree.map(lambda *leaves: sum(leaves) / len(x), *results)
    outputs = jnp.concatenate([outputs for (_, outputs), _ in results[::-1]])
    return (total[0][0], outputs), total[1]


def eagerly(params, x, y):
    def objective(params):
        outputs = forward(params, x)
        return mean(outputs, y), outputs

    return jax.value_and_grad(objective, has_aux=True)(params)


def rematerialized(params, x, y):
    def objective(params):
        outputs = jax.checkpoint(forward)(params, x)
        return mean(outputs, y), outputs

    return jax.value_and_grad(objective, has_aux=True)(params)


def forward_mode(params, x, y):
    """The gradient as a Jacobian taken in forward mode."""

    def objective(params):
        outputs = forward(params, x)
        return mean(outputs, y), outputs

    return objective(params), jax.jacfwd(lambda params: objective(params)[0])(params)


def sharded(dtype):
    """The rows of each batch spread over eight devices."""
    mesh = Mesh(np.array(jax.devices()[:8]), ("rows",))
    place = partial(jax.device_put, device=NamedSharding(mesh, PartitionSpec("rows")))
    start_on_all = NamedSharding(mesh, PartitionSpec())

    def gradient(params, x, y):
        return gradient_of()(jax.device_put(params, start_on_all), x, y)

    return against_torch(dtype, gradient=gradient, place=place)


def other_order_in_the_batch(dtype):
    rng = np.random.default_rng(5)
    return against_torch(dtype, rows=[rng.permutation(batch) for batch in batches()])


def clipped_and_scheduled(dtype):
    optimizer = optax.chain(torch_clip(0.1), optax.trace(0.9), scale_by_table(DECAYING))
    theirs = torch_training(
        dtype, partial(torch.optim.SGD, lr=1.0, momentum=0.9), lr=DECAYING, max_norm=0.1
    )
    return jax_training(dtype, optimizer), theirs


SGD = OPTIMIZERS["SGD with momentum"][2]
ADAM = OPTIMIZERS["Adam"][2]
CLIPPED = Recipe("sgd", lr=tuple(DECAYING), momentum=0.9, max_norm=0.1)

_WAYS = [
    ("jax.vmap over rows", partial(against_torch, gradient=jax.jit(per_example)), SGD),
    ("rows added up backwards, one by one", partial(against_torch, gradient=row_after_row), SGD),
    ("JAX without jit", partial(against_torch, gradient=eagerly, jit=lambda f: f), SGD),
    ("jax.checkpoint", partial(against_torch, gradient=jax.jit(rematerialized)), SGD),
    ("forward mode", partial(against_torch, gradient=jax.jit(forward_mode)), SGD),
    ("rows spread over 8 devices", sharded, SGD),
    ("other order within each batch", other_order_in_the_batch, SGD),
    ("clipping and a schedule", clipped_and_scheduled, CLIPPED),
    ("one scan against a Python loop", scan_and_loop, ADAM),
    ("torch's foreach kernel", partial(kernels, optimizer=torch.optim.Adam, foreach=True), ADAM),
    ("torch's fused kernel", partial(kernels, optimizer=torch.optim.Adam, fused=True), ADAM),
]

HONEST = [
    *(
        Pair(f"{name}: optax against torch", dtype, partial(frameworks, name), recipe)
        for name, (_, _, recipe) in OPTIMIZERS.items()
        for dtype in BOTH
    ),
    *(
        Pair(f"{torch_name}: jaxgd.optim against torch", dtype, partial(own_frameworks, name))
        for name, (torch_name, _) in OWN.items()
        for dtype in BOTH
    ),
    *(Pair(name, dtype, make, recipe) for name, make, recipe in _WAYS for dtype in BOTH),
]
