"""Faults in how an optimizer is set up: numbers, groups, clipping, schedules, rules.

Where float32 tells the same cause by the same hypothesis, the pair is one of float64 alone.
"""

from functools import partial

import optax
import optax.contrib
import torch

from jaxgd.equivalence import Recipe
from tests.equivalence.honest import UPDATES
from tests.equivalence.planting import (
    ADAM,
    ADAMW,
    F32,
    F64,
    MOMENTUM,
    MOMENTUM_RECIPE,
    SGD,
    both_in_jax,
    in_torch,
    optimizer_pairs,
)


def grouped(optimizer, *, vectors=None, matrices=None, **options):
    """An optimizer of two groups: biases and weights, each with options of its own."""

    def make(params):
        params = [*params]
        groups = [
            {"params": [p for p in params if p.ndim < 2], **(vectors or {})},
            {"params": [p for p in params if p.ndim == 2], **(matrices or {})},
        ]
        return optimizer(groups, **options)

    return make


def frozen_head(params):
    return MOMENTUM([p for p in params if p.shape[0] != 2])


def values():
    """Numbers that are solved from the steps."""
    adam = partial(ADAM, lr=0.02)
    for name, recipe, expected, actual, cause, update in (
        ("AdamW, decay 0.02 for 0.1", Recipe("adam", lr=0.02, weight_decay=0.1, decoupled=True),
         partial(ADAMW, lr=0.02, weight_decay=0.1), partial(ADAMW, lr=0.02, weight_decay=0.02),
         "weight decay is 0.02", 1),
        ("Adam, first beta 0.95", Recipe("adam", lr=0.02), adam, partial(adam, betas=(0.95, 0.999)),
         "the first beta is 0.95", 2),
        ("Adam, eps 0.0025", Recipe("adam", lr=0.02), adam, partial(adam, eps=0.0025),
         "eps is 0.0025", 1),
        ("momentum, dampening 0.3", MOMENTUM_RECIPE, MOMENTUM, partial(MOMENTUM, dampening=0.3),
         "dampening is 0.3", 2),
        ("RMSprop, alpha 0.95", Recipe("rmsprop", lr=0.005),
         partial(torch.optim.RMSprop, lr=0.005), partial(torch.optim.RMSprop, lr=0.005, alpha=0.95),
         "alpha is 0.95", 1),
        ("AdamW, decay not multiplied by the rate",
         Recipe("adam", lr=0.02, weight_decay=0.1, decoupled=True),
         partial(ADAMW, lr=0.02, weight_decay=0.1), partial(ADAMW, lr=0.02, weight_decay=5.0),
         "weight decay is not multiplied by the learning rate or weight decay is 5", 1),
    ):  # fmt: skip
        make = partial(in_torch, expected=expected, actual=actual)
        yield from optimizer_pairs(name, recipe, make, cause, update=update)
    # The same decay whatever the schedule does: told apart from another decay.
    rates = [0.02 * 0.5 ** (update // 10) for update in range(UPDATES)]
    yield from optimizer_pairs(
        "AdamW and a schedule, decay not multiplied by the rate",
        Recipe("adam", lr=tuple(rates), weight_decay=0.1, decoupled=True),
        partial(
            in_torch,
            expected=partial(ADAMW, lr=0.02, weight_decay=0.1),
            actual=partial(ADAMW, lr=0.02, weight_decay=5.0),
            shared={"lr": rates},
            between=_decay_without_the_rate(rates),
        ),
        "weight decay is not multiplied by the learning rate",
    )


def _decay_without_the_rate(rates):
    """torch multiplies its decay by the rate: divided before, 0.1 is left."""

    def between(update, optimizer):
        optimizer.param_groups[0]["weight_decay"] = 0.1 / rates[update]

    return between


def groups():
    """What is otherwise for some of the parameters."""
    decayed = Recipe("sgd", lr=0.05, momentum=0.9, weight_decay=0.01)
    sgd = partial(SGD, lr=0.05, momentum=0.9)
    no_decay, decay = {"weight_decay": 0.0}, {"weight_decay": 0.01}
    everywhere = partial(sgd, weight_decay=0.01)
    in_biases = "in 'hidden.bias', 'output.bias'"
    in_weights = "in 'hidden.weight', 'output.weight'"
    apart = Recipe(
        "sgd", lr=0.05, momentum=0.9, weight_decay=0.01, groups={"*.bias": {"weight_decay": 0.0}}
    )
    slow = Recipe("sgd", lr=0.05, momentum=0.9, groups={"*.bias": {"lr": 0.01}})
    for name, recipe, expected, actual, cause in (
        ("decay on matrices only", decayed, everywhere, grouped(sgd, vectors=no_decay, **decay),
         f"no weight decay, {in_biases}"),
        ("decay on biases only", decayed, everywhere, grouped(sgd, matrices=no_decay, **decay),
         f"no weight decay, {in_weights}"),
        ("decay on biases, too", apart, grouped(sgd, vectors=no_decay, **decay), everywhere,
         "the groups of parameters are not set apart"),
        ("another rate for biases", slow, grouped(sgd, vectors={"lr": 0.01}),
         grouped(sgd, vectors={"lr": 0.02}), f"the learning rate is 2 times as large, {in_biases}"),
        ("other rates for both", slow, grouped(sgd, vectors={"lr": 0.01}),
         grouped(sgd, vectors={"lr": 0.02}, matrices={"lr": 0.1}),
         "the learning rate is 2 times as large"),
        ("the head is frozen", MOMENTUM_RECIPE, MOMENTUM, frozen_head,
         "frozen, in 'output.bias', 'output.weight'"),
    ):  # fmt: skip
        make = partial(in_torch, expected=expected, actual=actual)
        yield from optimizer_pairs(name, recipe, make, cause, F64)


def by_leaf(params):
    for p in params:
        torch.nn.utils.clip_grad_norm_([p], 0.1)


def as_a_whole(params):
    torch.nn.utils.clip_grad_norm_(params, 0.1)


def by_value(params):
    torch.nn.utils.clip_grad_value_(params, 0.1)


def steps_clipped(params, before):
    """Each update's step brought down to a norm of 0.02."""
    with torch.no_grad():
        total = torch.sqrt(sum(((p - b) ** 2).sum() for p, b in zip(params, before, strict=True)))
        for p, b in zip(params, before, strict=True):
            p.copy_(b + (p - b) * torch.clamp(0.02 / (total + 1e-6), max=1.0))


def clipped_parts(parts):
    clipped = []
    for part in parts:
        total = torch.sqrt(sum((g**2).sum() for g in part.values()))
        factor = torch.clamp(0.1 / (total + 1e-6), max=1.0)
        clipped.append({name: g * factor for name, g in part.items()})
    return {name: (clipped[0][name] + clipped[1][name]) / 2 for name in parts[0]}


def added(parts):
    return {name: parts[0][name] + parts[1][name] for name in parts[0]}


def clips():
    """What is clipped, and what micro-batches make."""
    clipped = Recipe("sgd", lr=0.05, momentum=0.9, max_norm=0.1)
    both = partial(in_torch, expected=MOMENTUM, actual=MOMENTUM)
    whole = partial(both, shared={"clip": as_a_whole})
    yield from optimizer_pairs(
        "clipping leaf by leaf", clipped, partial(whole, clip=by_leaf),
        "the gradient is clipped leaf by leaf", F64,
    )  # fmt: skip
    yield from optimizer_pairs(
        "clipping by value", clipped, partial(whole, clip=by_value),
        "the gradient is clipped by value, not by norm", F64,
    )  # fmt: skip
    yield from optimizer_pairs(
        "clipping by norm for by value", Recipe("sgd", lr=0.05, momentum=0.9, max_value=0.1),
        partial(both, shared={"clip": by_value}, clip=as_a_whole),
        "the gradient is clipped by norm, not by value", F64,
    )  # fmt: skip
    yield from optimizer_pairs(
        "clipping after the optimizer", Recipe("sgd", lr=0.05, momentum=0.9, max_norm=0.02),
        partial(both, shared={"max_norm": 0.02}, max_norm=None, after=steps_clipped),
        "the steps are clipped, not the gradient", F64,
    )  # fmt: skip
    micro = {"micro_batches": 2}
    yield from optimizer_pairs(
        "clipping by micro-batch", clipped,
        partial(both, shared={**micro, "clip": as_a_whole}, clip=None, given=clipped_parts),
        "the gradients of micro-batches are clipped, not their mean", F64,
    )  # fmt: skip
    adam = partial(ADAM, lr=0.02, weight_decay=0.01)
    summed = "the gradients of 2 micro-batches are added up, not averaged"
    # Adam's steps have no scale but that of the decay, and of eps, which float32 does not feel.
    for cause, dtypes in ((f"weight decay is 0.005 or {summed}", F32), (summed, F64)):
        yield from optimizer_pairs(
            "Adam with L2 and accumulation, not divided",
            Recipe("adam", lr=0.02, weight_decay=0.01),
            partial(in_torch, expected=adam, actual=adam, shared=micro, given=added),
            cause,
            dtypes,
        )
    decayed, recipe = (
        partial(MOMENTUM, weight_decay=0.01),
        Recipe("sgd", lr=0.05, momentum=0.9, weight_decay=0.01),
    )
    yield from optimizer_pairs(
        "momentum with L2 and accumulation, not divided", recipe,
        partial(in_torch, expected=decayed, actual=decayed, shared=micro, given=added),
        summed, F64,
    )  # fmt: skip
    yield from optimizer_pairs(
        "momentum with L2, the gradient halved", recipe,
        partial(in_torch, expected=decayed, actual=decayed, clip=_halve),
        "the gradient is 0.5 times as large after it was recorded", F64,
    )  # fmt: skip


def _halve(params):
    for p in params:
        p.grad.mul_(0.5)


def schedule(count):
    return 0.05 * 0.8**count


def schedules():
    """Stepped once an epoch, of three updates, and in every update."""
    by_epoch, by_update = (
        [schedule(update // every) for update in range(UPDATES)] for every in (3, 1)
    )
    for name, rates, lr, every, cause in (
        ("schedule by epoch stepped in every update", by_epoch, by_update, 3,
         "the schedule is stepped in every update, not every 3 updates"),
        ("schedule by update stepped every epoch", by_update, by_epoch, 1,
         "the schedule is stepped every 3 updates, not in every update"),
    ):  # fmt: skip
        recipe = Recipe("sgd", lr=schedule, momentum=0.9, stepped_every=every)
        make = partial(in_torch, expected=MOMENTUM, actual=MOMENTUM, shared={"lr": rates}, lr=lr)
        yield from optimizer_pairs(name, recipe, make, cause, F64, update=2)
    table = Recipe("sgd", lr=by_update, momentum=0.9)
    make = partial(
        in_torch, expected=MOMENTUM, actual=MOMENTUM, shared={"lr": by_update}, lr=by_epoch
    )
    name = "schedule by update, a table, stepped every epoch"
    yield from optimizer_pairs(
        name,
        table,
        make,
        "the schedule is stepped every 3 updates, not in every update",
        F64,
        update=2,
    )


def other_rules():
    """Rules of the registry and those whose formulas stand in `rule.formulas`."""
    nadam, adam = partial(torch.optim.NAdam, lr=0.02), partial(ADAM, lr=0.02)
    yield from optimizer_pairs(
        "NAdam for Adam", Recipe("adam", lr=0.02), partial(in_torch, expected=adam, actual=nadam),
        "the rule is NAdam's",
    )  # fmt: skip
    yield from optimizer_pairs(
        "NAdam, momentum decay 0.001", Recipe("nadam", lr=0.02),
        partial(in_torch, expected=nadam, actual=partial(nadam, momentum_decay=1e-3)),
        "momentum_decay is 0.001", seen_by=3,
    )  # fmt: skip
    decayed = partial(nadam, weight_decay=0.1)
    yield from optimizer_pairs(
        "NAdam, L2 decoupled", Recipe("nadam", lr=0.02, options={"weight_decay": 0.1}),
        partial(in_torch, expected=decayed, actual=partial(decayed, decoupled_weight_decay=True)),
        "weight decay is decoupled, not coupled",
    )  # fmt: skip
    amsgrad = partial(adam, amsgrad=True)
    yield from optimizer_pairs(
        "amsgrad forgotten", Recipe("adam", lr=0.02, amsgrad=True),
        partial(in_torch, expected=amsgrad, actual=adam), "no amsgrad", update=2,
    )  # fmt: skip
    lion = partial(optax.lion, 0.002, weight_decay=0.1)
    yield from optimizer_pairs(
        "Lion, decay coupled", Recipe("lion", lr=0.002, weight_decay=0.1, decoupled=True),
        partial(both_in_jax, expected=lion, optimizer=partial(optax.chain,
                optax.add_decayed_weights(0.1), optax.lion(0.002, weight_decay=0.0))),
        "weight decay is coupled, not decoupled", F64,
    )  # fmt: skip
    free = partial(optax.contrib.schedule_free_adamw, 0.02)
    yield from optimizer_pairs(
        "schedule-free AdamW, second beta 0.99", Recipe("schedule_free_adamw", lr=0.02),
        partial(both_in_jax, expected=free, optimizer=partial(free, b2=0.99)),
        "the second beta is 0.99", F64, update=2,
    )  # fmt: skip
