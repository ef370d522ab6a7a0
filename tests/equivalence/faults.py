"""Pairs with a planted fault: the expected side is honest torch, the actual side is not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from jaxgd.equivalence import Recipe
from tests.equivalence.honest import DECAYING, UPDATES, scale_by_table
from tests.equivalence.pairs import BOTH, Pair
from tests.equivalence.trainings import (
    ROWS,
    batches,
    data,
    epoch_orders,
    jax_training,
    start,
    torch_training,
)

SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
ADAGRAD, RMSPROP = torch.optim.Adagrad, torch.optim.RMSprop
F32, F64 = (np.float32,), (np.float64,)

MOMENTUM = partial(SGD, lr=0.05, momentum=0.9)
MOMENTUM_RECIPE = Recipe("sgd", lr=0.05, momentum=0.9)


def in_torch(dtype, expected, actual, shared=None, **planted):
    """Both sides in torch: two optimizers, options of both, and what only the actual side does."""
    shared = shared or {}
    return (
        torch_training(dtype, actual, **{**shared, **planted}),
        torch_training(dtype, expected, **shared),
    )


def in_jax(dtype, expected, optimizer, shared=None, **planted):
    """The actual side in JAX, with an optax transformation made by `optimizer`."""
    return jax_training(dtype, optimizer(), **planted), torch_training(
        dtype, expected, **(shared or {})
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


def summed(outputs, y):
    return torch.nn.functional.mse_loss(outputs, y, reduction="sum")


def summed_over_rows(outputs, y):
    return ((outputs - y) ** 2).mean(axis=1).sum()


def summed_over_outputs(outputs, y):
    return ((outputs - y) ** 2).sum(axis=1).mean()


def divided_by_a_full_batch(outputs, y):
    return ((outputs - y) ** 2).mean(axis=1).sum() / 16


def weighted(outputs, y):
    return torch.nn.functional.mse_loss(outputs, y) + 0.01 * (outputs**2).mean()


def orders_from_the_third_epoch_on():
    return [*epoch_orders()[:2], *epoch_orders(seed=9)[2:]]


def with_a_row_twice():
    planted = list(batches())
    planted[4] = np.concatenate([planted[4][:-1], planted[4][:1]])
    return planted


def forget_at(update, forgotten_at):
    """Called before each update: the optimizer's state is lost before one of them."""

    def between(now, optimizer):
        if now + 1 == forgotten_at:
            optimizer.state.clear()

    return partial(between)


def from_update(first, rates, factor):
    """The learning rates, off by a factor from an update on, counted from 1."""
    return [rate * (factor if i + 1 >= first else 1) for i, rate in enumerate(rates)]


def _lr(factor):
    return f"the learning rate is {factor:.6g} times as large"


def _optimizer(name, recipe, make, cause="unknown", dtypes=BOTH, update=1, seen_by=None):
    """Pairs, one for each dtype, with the same fault in the optimizer's step."""
    return [
        Pair(name, dtype, make, recipe, update, seen_by, "parameters", cause) for dtype in dtypes
    ]


def _learning_rates():
    """A learning rate off by a factor, down to 1e-4: in float32 it needs a few updates to show."""
    for factor in (1 + 1e-4, 1 - 1e-4, 1.003, 1.1, 10.0):
        small = abs(factor - 1) < 1e-3
        for name, optimizer, lr, recipe in (
            ("SGD", SGD, 0.1, Recipe("sgd", lr=0.1)),
            ("Adam", ADAM, 0.01, Recipe("adam", lr=0.01)),
        ):
            make = partial(
                in_torch,
                expected=partial(optimizer, lr=lr),
                actual=partial(optimizer, lr=lr * factor),
            )
            title = f"{name}, learning rate × {factor:g}"
            yield from _optimizer(title, recipe, make, _lr(factor), F64)
            yield from _optimizer(title, recipe, make, _lr(factor), F32, seen_by=2 if small else 1)
    yield from _optimizer(
        "momentum, maximize",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=partial(MOMENTUM, maximize=True)),
        _lr(-1),
    )
    rates = [0.05] * UPDATES
    late = from_update(12, rates, 1.01)
    yield from _optimizer(
        "momentum, learning rate × 1.01 from update 12 on",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=MOMENTUM, lr=late),
        _lr(1.01),
        update=12,
        seen_by=12,
    )


def _weight_decay():
    for decay in (0.1, 0.001):
        coupled, decoupled = (partial(kind, lr=0.02, weight_decay=decay) for kind in (ADAM, ADAMW))
        recipe = Recipe("adam", lr=0.02, weight_decay=decay)
        yield from _optimizer(
            f"Adam, L2 {decay} decoupled",
            recipe,
            partial(in_torch, expected=coupled, actual=decoupled),
            "weight decay is decoupled, not coupled",
        )
        chain = partial(_chain, optax.add_decayed_weights(decay), optax.adam(0.02))
        yield from _optimizer(
            f"AdamW, decay {decay} coupled",
            Recipe("adam", lr=0.02, weight_decay=decay, decoupled=True),
            partial(in_jax, expected=decoupled, optimizer=chain),
            "weight decay is coupled, not decoupled",
        )
    yield from _optimizer(
        "momentum, L2 forgotten",
        Recipe("sgd", lr=0.05, momentum=0.9, weight_decay=0.01),
        partial(in_torch, expected=partial(MOMENTUM, weight_decay=0.01), actual=MOMENTUM),
        "no weight decay",
    )
    yield from _optimizer(
        "momentum, L2 half as large again",
        Recipe("sgd", lr=0.05, momentum=0.9, weight_decay=0.01),
        partial(
            in_torch,
            expected=partial(MOMENTUM, weight_decay=0.01),
            actual=partial(MOMENTUM, weight_decay=0.015),
        ),
    )


def _chain(*transformations):
    return optax.chain(*transformations)


def _eps_and_correction():
    for eps, dtypes in ((1e-3, BOTH), (1e-8, F64)):
        adam, recipe = partial(ADAM, lr=0.02, eps=eps), Recipe("adam", lr=0.02, eps=eps)
        yield from _optimizer(
            f"Adam, eps {eps:g} inside the root",
            recipe,
            partial(
                in_jax, expected=adam, optimizer=partial(optax.adam, 0.02, eps=0, eps_root=eps)
            ),
            "eps is inside the root",
            dtypes,
        )
        yield from _optimizer(
            f"Adam, eps {eps:g} before the correction",
            recipe,
            partial(
                in_jax, expected=adam, optimizer=partial(adam_of_our_own, 0.02, eps, early_eps)
            ),
            "eps is added before the bias correction",
            dtypes,
        )
    yield from _optimizer(
        "Adam, Keras's eps",
        Recipe("adam", lr=0.02),
        partial(in_torch, expected=partial(ADAM, lr=0.02), actual=partial(ADAM, lr=0.02, eps=1e-7)),
        "eps is 1e-07",
        F64,
    )
    yield from _optimizer(
        "Adam, no bias correction",
        Recipe("adam", lr=0.02),
        partial(
            in_jax,
            expected=partial(ADAM, lr=0.02),
            optimizer=partial(adam_of_our_own, 0.02, 1e-8, uncorrected),
        ),
        "no bias correction",
    )
    yield from _optimizer(
        "RMSprop, eps inside the root",
        Recipe("rmsprop", lr=0.005, eps=1e-4),
        partial(
            in_jax,
            expected=partial(RMSPROP, lr=0.005, eps=1e-4),
            optimizer=partial(optax.rmsprop, 0.005, decay=0.99, eps=1e-4),
        ),
        "eps is inside the root",
    )
    yield from _optimizer(
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
        yield from _optimizer(
            "Adagrad, all of optax's defaults",
            Recipe("adagrad", lr=0.05, eps=1e-10),
            optax_adagrad,
            cause,
            dtypes,
        )
    yield from _optimizer(
        "Adam, amsgrad",
        Recipe("adam", lr=0.02),
        partial(
            in_torch, expected=partial(ADAM, lr=0.02), actual=partial(ADAM, lr=0.02, amsgrad=True)
        ),
        update=2,
    )
    yield from _optimizer(
        "Adam, second beta 0.99",
        Recipe("adam", lr=0.02),
        partial(
            in_torch,
            expected=partial(ADAM, lr=0.02),
            actual=partial(ADAM, lr=0.02, betas=(0.9, 0.99)),
        ),
        update=2,
    )


def _momentum():
    dampened = partial(MOMENTUM, dampening=0.5)
    recipe = Recipe("sgd", lr=0.05, momentum=0.9, dampening=0.5)
    nesterov = partial(MOMENTUM, nesterov=True)
    yield from _optimizer(
        "momentum, dampening forgotten",
        recipe,
        partial(in_torch, expected=dampened, actual=MOMENTUM),
        "no dampening",
        update=2,
    )
    yield from _optimizer(
        "momentum, first gradient dampened",
        recipe,
        partial(
            in_jax,
            expected=dampened,
            optimizer=partial(
                _chain, optax.scale(0.5), optax.trace(0.9), optax.scale_by_learning_rate(0.05)
            ),
        ),
        "the first gradient is dampened, too",
    )
    yield from _optimizer(
        "momentum, an average of gradients",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=partial(MOMENTUM, dampening=0.1)),
        "dampening is 1 - momentum",
        update=2,
    )
    yield from _optimizer(
        "Nesterov's momentum forgotten",
        Recipe("sgd", lr=0.05, momentum=0.9, nesterov=True),
        partial(in_torch, expected=nesterov, actual=MOMENTUM),
        "momentum is not Nesterov's",
    )
    yield from _optimizer(
        "Nesterov's momentum added",
        MOMENTUM_RECIPE,
        partial(in_jax, expected=MOMENTUM, optimizer=partial(optax.sgd, 0.05, 0.9, nesterov=True)),
        "momentum is Nesterov's",
    )
    yield from _optimizer(
        "momentum forgotten",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=partial(SGD, lr=0.05)),
        "no momentum",
        update=2,
    )
    yield from _optimizer(
        "momentum of 0.901",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=partial(MOMENTUM, momentum=0.901)),
        update=2,
    )
    yield from _optimizer(
        "momentum lost before update 14",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=MOMENTUM, between=forget_at(None, 14)),
        update=14,
    )


def _schedule_and_clipping():
    scheduled = {"lr": DECAYING}
    recipe = Recipe("sgd", lr=tuple(DECAYING), momentum=0.9)
    late, early = [DECAYING[0], *DECAYING[:-1]], [*DECAYING[1:], DECAYING[-1]]
    for name, rates, update in (("late", late, 11), ("early", early, 10)):
        yield from _optimizer(
            f"schedule one update {name}",
            recipe,
            partial(in_torch, expected=MOMENTUM, actual=MOMENTUM, shared=scheduled, lr=rates),
            f"the schedule is one update {name}",
            update=update,
        )
    yield from _optimizer(
        "momentum, learning rate inside the buffer",
        recipe,
        partial(
            in_jax,
            expected=MOMENTUM,
            optimizer=partial(_chain, scale_by_table(DECAYING), optax.trace(0.9)),
            shared=scheduled,
        ),
        "the learning rate is inside the momentum buffer",
        update=11,
    )
    yield from _optimizer(
        "schedule decays to a third, not to half",
        recipe,
        partial(
            in_torch,
            expected=MOMENTUM,
            actual=MOMENTUM,
            shared=scheduled,
            lr=[0.05 * 3.0 ** -(update // 10) for update in range(UPDATES)],
        ),
        update=11,
    )
    clipped = Recipe("sgd", lr=0.05, momentum=0.9, max_norm=0.1)
    yield from _optimizer(
        "clipping forgotten",
        clipped,
        partial(
            in_torch, expected=MOMENTUM, actual=MOMENTUM, shared={"max_norm": 0.1}, max_norm=None
        ),
        "the gradient is not clipped",
    )
    yield from _optimizer(
        "clipping without 1e-6",
        clipped,
        partial(
            in_jax,
            expected=MOMENTUM,
            optimizer=partial(
                _chain, optax.clip_by_global_norm(0.1), optax.sgd(0.05, momentum=0.9)
            ),
            shared={"max_norm": 0.1},
        ),
        "clipping divides by the norm without 1e-6",
        F64,
    )
    yield from _optimizer(
        "clipping to twice the norm",
        clipped,
        partial(
            in_torch, expected=MOMENTUM, actual=MOMENTUM, shared={"max_norm": 0.1}, max_norm=0.2
        ),
    )


def _upstream(name, stage, make, cause="unknown", update=1, dtypes=BOTH, recipe=MOMENTUM_RECIPE):
    return [Pair(name, dtype, make, recipe, update, update, stage, cause) for dtype in dtypes]


def _loss_and_gradient():
    plain = partial(in_torch, expected=MOMENTUM, actual=MOMENTUM)
    adam = partial(in_torch, expected=partial(ADAM, lr=0.02), actual=partial(ADAM, lr=0.02))
    over_both = "summed over the batch and the outputs, not averaged"
    yield from _upstream("loss summed", "loss", partial(plain, loss=summed), over_both)
    yield from _upstream(
        "loss summed, Adam",
        "loss",
        partial(adam, loss=summed),
        over_both,
        recipe=Recipe("adam", lr=0.02),
    )
    yield from _upstream(
        "loss summed over the rows",
        "loss",
        partial(plain, loss=summed_over_rows),
        "summed over the batch, not averaged",
    )
    yield from _upstream(
        "loss averaged where it was summed",
        "loss",
        partial(plain, shared={"loss": summed_over_rows}, loss=torch.nn.functional.mse_loss),
        "averaged over the batch, not summed",
    )
    yield from _upstream(
        "loss summed over the outputs",
        "loss",
        partial(plain, loss=summed_over_outputs),
        "summed over the outputs of a row, not averaged",
    )
    yield from _upstream(
        "smaller batch divided by a full one",
        "loss",
        partial(plain, loss=divided_by_a_full_batch),
        "a smaller batch is averaged as if it were full",
        update=3,
    )
    yield from _upstream("loss with a penalty", "loss", partial(plain, loss=weighted))
    yield from _upstream(
        "gradient not set to zero",
        "gradient",
        partial(plain, zero_grad=False),
        "added to the gradient of the update before",
        update=2,
    )
    yield from _upstream("ReLU for tanh", "forward", partial(plain, activation=torch.nn.ReLU))


def _batches_and_start():
    plain = partial(in_torch, expected=MOMENTUM, actual=MOMENTUM)
    other, dropped = "the rows come in another order", list(batches(drop_last=True))
    yield from _upstream(
        "other order", "batch", partial(plain, rows=list(batches(epoch_orders(seed=9)))), other
    )
    yield from _upstream(
        "other order from epoch 3 on",
        "batch",
        partial(plain, rows=list(batches(orders_from_the_third_epoch_on()))),
        other,
        update=7,
    )
    yield from _upstream(
        "not shuffled",
        "batch",
        partial(plain, rows=list(batches([np.arange(ROWS)] * len(epoch_orders())))),
        other,
    )
    yield from _upstream(
        "last batch dropped",
        "batch",
        partial(plain, rows=dropped),
        "the last, smaller batch is dropped",
        update=3,
    )
    yield from _upstream(
        "last batch not dropped",
        "batch",
        partial(plain, shared={"rows": dropped}, rows=list(batches())),
        "the last, smaller batch is not dropped",
        update=3,
    )
    yield from _upstream(
        "a row twice in a batch", "batch", partial(plain, rows=with_a_row_twice()), update=5
    )
    scaled = data(np.float64).x * 1.001
    yield from _upstream("features scaled", "batch", partial(_scaled, x=scaled))
    for dtype in BOTH:
        init = {name: value * dtype(1.001) for name, value in start(dtype).items()}
        yield Pair("other start", dtype, partial(plain, init=init), MOMENTUM_RECIPE, 0, 0, "start")


def _scaled(dtype, x):
    return in_torch(dtype, MOMENTUM, MOMENTUM, x=x.astype(dtype))


FAULTS = [
    *_learning_rates(),
    *_weight_decay(),
    *_eps_and_correction(),
    *_momentum(),
    *_schedule_and_clipping(),
    *_loss_and_gradient(),
    *_batches_and_start(),
]
