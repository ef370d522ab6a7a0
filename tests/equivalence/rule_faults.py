"""Faults in the rule of a step: its weight decay, eps, bias correction, momentum."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd.equivalence import Recipe
from tests.equivalence.pairs import BOTH
from tests.equivalence.planting import (
    ADAGRAD,
    ADAM,
    ADAMW,
    F32,
    F64,
    MOMENTUM,
    MOMENTUM_RECIPE,
    RMSPROP,
    SGD,
    in_jax,
    in_torch,
    optimizer_pairs,
)


def adam_of_our_own(lr, eps, step):
    """Adam whose last line is `step(mean, square, bc1, bc2, eps)`, its bias correction included."""

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return zeros, zeros, jnp.zeros((), jnp.int32)

    def update(grad, state, params=None):
        mean, square, count = state
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, grad)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, grad)
        bc1, bc2 = (-jnp.expm1((count + 1) * np.log(beta)) for beta in (0.9, 0.999))
        moved = jax.tree.map(lambda m, v: -lr * step(m, v, bc1, bc2, eps), mean, square)
        return moved, (mean, square, count + 1)

    return optax.GradientTransformation(init, update)


def uncorrected(mean, square, bc1, bc2, eps):
    return mean / (jnp.sqrt(square) + eps)


def early_eps(mean, square, bc1, bc2, eps):
    return mean / bc1 * jnp.sqrt(bc2) / (jnp.sqrt(square) + eps)


def forget_at(forgotten_at):
    """Called before each update: the optimizer's state is lost before one of them."""

    def between(update, optimizer):
        if update + 1 == forgotten_at:
            optimizer.state.clear()

    return between


def weight_decay():
    for decay in (0.1, 0.001):
        coupled, decoupled = (partial(kind, lr=0.02, weight_decay=decay) for kind in (ADAM, ADAMW))
        recipe = Recipe("adam", lr=0.02, weight_decay=decay)
        yield from optimizer_pairs(
            f"Adam, L2 {decay} decoupled",
            recipe,
            partial(in_torch, expected=coupled, actual=decoupled),
            "weight decay is decoupled, not coupled",
        )
        coupled_adam = partial(optax.chain, optax.add_decayed_weights(decay), optax.adam(0.02))
        yield from optimizer_pairs(
            f"AdamW, decay {decay} coupled",
            Recipe("adam", lr=0.02, weight_decay=decay, decoupled=True),
            partial(in_jax, expected=decoupled, optimizer=coupled_adam),
            "weight decay is coupled, not decoupled",
        )
    yield from optimizer_pairs(
        "momentum, L2 forgotten",
        Recipe("sgd", lr=0.05, momentum=0.9, weight_decay=0.01),
        partial(in_torch, expected=partial(MOMENTUM, weight_decay=0.01), actual=MOMENTUM),
        "no weight decay",
    )
    yield from optimizer_pairs(
        "momentum, L2 half as large again",
        Recipe("sgd", lr=0.05, momentum=0.9, weight_decay=0.01),
        partial(
            in_torch,
            expected=partial(MOMENTUM, weight_decay=0.01),
            actual=partial(MOMENTUM, weight_decay=0.015),
        ),
        "weight decay is 0.015",
    )


def eps_and_correction():
    for eps, dtypes in ((1e-3, BOTH), (1e-8, F64)):
        adam, recipe = partial(ADAM, lr=0.02, eps=eps), Recipe("adam", lr=0.02, eps=eps)
        yield from optimizer_pairs(
            f"Adam, eps {eps:g} inside the root",
            recipe,
            partial(
                in_jax, expected=adam, optimizer=partial(optax.adam, 0.02, eps=0, eps_root=eps)
            ),
            "eps is inside the root",
            dtypes,
        )
        yield from optimizer_pairs(
            f"Adam, eps {eps:g} before the correction",
            recipe,
            partial(
                in_jax, expected=adam, optimizer=partial(adam_of_our_own, 0.02, eps, early_eps)
            ),
            "eps is added before the bias correction",
            dtypes,
        )
    yield from optimizer_pairs(
        "Adam, Keras's eps",
        Recipe("adam", lr=0.02),
        partial(in_torch, expected=partial(ADAM, lr=0.02), actual=partial(ADAM, lr=0.02, eps=1e-7)),
        "eps is 1e-07",
        F64,
    )
    yield from optimizer_pairs(
        "Adam, no bias correction",
        Recipe("adam", lr=0.02),
        partial(
            in_jax,
            expected=partial(ADAM, lr=0.02),
            optimizer=partial(adam_of_our_own, 0.02, 1e-8, uncorrected),
        ),
        "no bias correction",
    )
    yield from optimizer_pairs(
        "RMSprop, eps inside the root",
        Recipe("rmsprop", lr=0.005, eps=1e-4),
        partial(
            in_jax,
            expected=partial(RMSPROP, lr=0.005, eps=1e-4),
            optimizer=partial(optax.rmsprop, 0.005, decay=0.99, eps=1e-4),
        ),
        "eps is inside the root",
    )
    yield from optimizer_pairs(
        "Adagrad, accumulator from 0.1",
        Recipe("adagrad", lr=0.05, eps=1e-10),
        partial(
            in_torch,
            expected=partial(ADAGRAD, lr=0.05),
            actual=partial(ADAGRAD, lr=0.05, initial_accumulator_value=0.1),
        ),
        "the accumulator begins at 0.1",
    )
    optax_adagrad = partial(
        in_jax, expected=partial(ADAGRAD, lr=0.05), optimizer=partial(optax.adagrad, 0.05)
    )
    for cause, dtypes in (
        ("unknown", F64),
        # Beside such an accumulator, optax's eps and where it stands are less than a rounding.
        ("the accumulator begins at 0.1", F32),
    ):
        yield from optimizer_pairs(
            "Adagrad, all of optax's defaults",
            Recipe("adagrad", lr=0.05, eps=1e-10),
            optax_adagrad,
            cause,
            dtypes,
        )
    yield from optimizer_pairs(
        "Adam, amsgrad",
        Recipe("adam", lr=0.02),
        partial(
            in_torch, expected=partial(ADAM, lr=0.02), actual=partial(ADAM, lr=0.02, amsgrad=True)
        ),
        "amsgrad",
        update=2,
    )
    yield from optimizer_pairs(
        "Adam, second beta 0.99",
        Recipe("adam", lr=0.02),
        partial(
            in_torch,
            expected=partial(ADAM, lr=0.02),
            actual=partial(ADAM, lr=0.02, betas=(0.9, 0.99)),
        ),
        "the second beta is 0.99",
        update=2,
    )


def momentum():
    dampened = partial(MOMENTUM, dampening=0.5)
    recipe = Recipe("sgd", lr=0.05, momentum=0.9, dampening=0.5)
    nesterov = partial(MOMENTUM, nesterov=True)
    yield from optimizer_pairs(
        "momentum, dampening forgotten",
        recipe,
        partial(in_torch, expected=dampened, actual=MOMENTUM),
        "no dampening",
        update=2,
    )
    yield from optimizer_pairs(
        "momentum, first gradient dampened",
        recipe,
        partial(
            in_jax,
            expected=dampened,
            optimizer=partial(
                optax.chain, optax.scale(0.5), optax.trace(0.9), optax.scale_by_learning_rate(0.05)
            ),
        ),
        "the first gradient is dampened, too",
    )
    yield from optimizer_pairs(
        "momentum, an average of gradients",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=partial(MOMENTUM, dampening=0.1)),
        "dampening is 1 - momentum",
        update=2,
    )
    yield from optimizer_pairs(
        "Nesterov's momentum forgotten",
        Recipe("sgd", lr=0.05, momentum=0.9, nesterov=True),
        partial(in_torch, expected=nesterov, actual=MOMENTUM),
        "momentum is not Nesterov's",
    )
    yield from optimizer_pairs(
        "Nesterov's momentum added",
        MOMENTUM_RECIPE,
        partial(in_jax, expected=MOMENTUM, optimizer=partial(optax.sgd, 0.05, 0.9, nesterov=True)),
        "momentum is Nesterov's",
    )
    yield from optimizer_pairs(
        "momentum forgotten",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=partial(SGD, lr=0.05)),
        "no momentum",
        update=2,
    )
    yield from optimizer_pairs(
        "momentum of 0.901",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=partial(MOMENTUM, momentum=0.901)),
        "momentum is 0.901",
        update=2,
    )
    yield from optimizer_pairs(
        "momentum lost before update 14",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=MOMENTUM, between=forget_at(14)),
        update=14,
    )
