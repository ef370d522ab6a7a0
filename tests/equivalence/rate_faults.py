"""Faults in how far a step goes: its learning rate, its schedule, its clipping."""

from functools import partial

import optax

from jaxgd.equivalence import Recipe
from tests.equivalence.honest import DECAYING, UPDATES, scale_by_table
from tests.equivalence.planting import (
    ADAM,
    F32,
    F64,
    MOMENTUM,
    MOMENTUM_RECIPE,
    SGD,
    in_jax,
    in_torch,
    optimizer_pairs,
)


def from_update(first, rates, factor):
    """The learning rates, off by a factor from an update on, counted from 1."""
    return [rate * (factor if i + 1 >= first else 1) for i, rate in enumerate(rates)]


def _lr(factor):
    return f"the learning rate is {factor:.6g} times as large"


def learning_rates():
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
            yield from optimizer_pairs(title, recipe, make, _lr(factor), F64)
            yield from optimizer_pairs(
                title, recipe, make, _lr(factor), F32, seen_by=2 if small else 1
            )
    yield from optimizer_pairs(
        "momentum, maximize",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=partial(MOMENTUM, maximize=True)),
        _lr(-1),
    )
    rates = [0.05] * UPDATES
    late = from_update(12, rates, 1.01)
    yield from optimizer_pairs(
        "momentum, learning rate × 1.01 from update 12 on",
        MOMENTUM_RECIPE,
        partial(in_torch, expected=MOMENTUM, actual=MOMENTUM, lr=late),
        _lr(1.01),
        update=12,
        seen_by=12,
    )


def schedule_and_clipping():
    scheduled = {"lr": DECAYING}
    recipe = Recipe("sgd", lr=tuple(DECAYING), momentum=0.9)
    late, early = [DECAYING[0], *DECAYING[:-1]], [*DECAYING[1:], DECAYING[-1]]
    for name, rates, update in (("late", late, 11), ("early", early, 10)):
        yield from optimizer_pairs(
            f"schedule one update {name}",
            recipe,
            partial(in_torch, expected=MOMENTUM, actual=MOMENTUM, shared=scheduled, lr=rates),
            f"the schedule is one update {name}",
            update=update,
        )
    yield from optimizer_pairs(
        "momentum, learning rate inside the buffer",
        recipe,
        partial(
            in_jax,
            expected=MOMENTUM,
            optimizer=partial(optax.chain, scale_by_table(DECAYING), optax.trace(0.9)),
            shared=scheduled,
        ),
        "the learning rate is inside the momentum buffer",
        update=11,
    )
    yield from optimizer_pairs(
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
    yield from optimizer_pairs(
        "clipping forgotten",
        clipped,
        partial(
            in_torch, expected=MOMENTUM, actual=MOMENTUM, shared={"max_norm": 0.1}, max_norm=None
        ),
        "the gradient is not clipped",
    )
    yield from optimizer_pairs(
        "clipping without 1e-6",
        clipped,
        partial(
            in_jax,
            expected=MOMENTUM,
            optimizer=partial(
                optax.chain, optax.clip_by_global_norm(0.1), optax.sgd(0.05, momentum=0.9)
            ),
            shared={"max_norm": 0.1},
        ),
        "clipping divides by the norm without 1e-6",
        F64,
    )
    yield from optimizer_pairs(
        "clipping to twice the norm",
        clipped,
        partial(
            in_torch, expected=MOMENTUM, actual=MOMENTUM, shared={"max_norm": 0.1}, max_norm=0.2
        ),
    )
