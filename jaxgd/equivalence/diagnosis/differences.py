"""The known differences between implementations of one optimizer, each as a change of the recipe.

Where a difference leaves the steps as they are (eps in plain SGD), it explains nothing and is never
named.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxgd.equivalence.rule.recipe import OF_A_FORMULA, Clipped, Recipe

Change = Callable[[Recipe], Recipe]


def _shifted(recipe: Recipe, updates: int) -> Recipe:
    """The recipe with its schedule some updates late; early, if negative."""
    lr = recipe.lr
    if callable(lr):
        every = recipe.stepped_every
        return replace(recipe, lr=lambda t: lr(max(t - updates, 0) // every), stepped_every=1)
    if np.ndim(lr) == 0:
        return recipe
    rates = np.asarray(lr, np.float64)
    at = np.clip(np.arange(len(rates)) - updates, 0, len(rates) - 1)
    return replace(recipe, lr=tuple(rates[at].tolist()))


def _by_value(recipe: Recipe) -> Recipe:
    if recipe.max_norm is None:
        return recipe
    return replace(recipe, max_norm=None, max_value=recipe.max_norm)


def _by_norm(recipe: Recipe) -> Recipe:
    if recipe.max_value is None:
        return recipe
    return replace(recipe, max_norm=recipe.max_value, max_value=None)


def _clipped(recipe: Recipe, how: Clipped) -> Recipe:
    return recipe if recipe.max_norm is None else replace(recipe, clipped=how)


def _decay_of_its_own(recipe: Recipe) -> Recipe:
    return replace(recipe, decay_times_rate=False) if recipe.decoupled else recipe


DIFFERENCES: Mapping[str, Change] = MappingProxyType(
    {
        # L2: the decay is added to the gradient; AdamW: it bypasses the rule.
        "weight decay is coupled, not decoupled": partial(replace, decoupled=False),
        "weight decay is decoupled, not coupled": partial(replace, decoupled=True),
        "weight decay is not multiplied by the learning rate": _decay_of_its_own,
        "no weight decay": partial(replace, weight_decay=0.0),
        # √v + eps, √(v + eps), or √v + eps of the uncorrected v.
        "eps is inside the root": partial(replace, eps_at="inside the root"),
        "eps is outside the root": partial(replace, eps_at="outside the root"),
        "eps is added before the bias correction": partial(replace, eps_at="before the correction"),
        "no eps": partial(replace, eps=0.0),
        # The defaults of torch (Adam 1e-8, Adagrad 1e-10), Keras and optax.
        **{f"eps is {eps:g}": partial(replace, eps=eps) for eps in (1e-10, 1e-8, 1e-7, 1e-6, 1e-3)},
        "no bias correction": partial(replace, bias_correction=False),
        "amsgrad": partial(replace, amsgrad=True),
        "no amsgrad": partial(replace, amsgrad=False),
        # optax.amsgrad; torch takes the maximum of what is not corrected.
        "amsgrad's maximum is taken after the bias correction": partial(
            replace, largest_corrected=True
        ),
        "no momentum": partial(replace, momentum=0.0),
        "no dampening": partial(replace, dampening=0.0),
        "the first gradient is dampened, too": partial(replace, first_dampened=True),
        "dampening is 1 - momentum": lambda recipe: replace(recipe, dampening=1 - recipe.momentum),
        "momentum is not Nesterov's": partial(replace, nesterov=False),
        "momentum is Nesterov's": partial(replace, nesterov=True),
        # Keras and optax.rmsprop; it shows when the learning rate changes.
        "the learning rate is inside the momentum buffer": partial(replace, lr_in_buffer=True),
        # torch, optax and TensorFlow begin at 0, 0.1 or 1.
        **{
            f"the accumulator begins at {start:g}": partial(replace, initial_accumulator=start)
            for start in (0.0, 0.1, 1.0)
        },
        "the gradient is not clipped": partial(replace, max_norm=None, max_value=None),
        # optax divides by the norm, torch by the norm + 1e-6.
        "clipping divides by the norm without 1e-6": partial(replace, clip_eps=0.0),
        "clipping divides by the norm with 1e-6": partial(replace, clip_eps=1e-6),
        "the gradient is clipped leaf by leaf": partial(_clipped, how="by leaf"),
        "the gradient is clipped as a whole": partial(_clipped, how="as a whole"),
        "the gradients of micro-batches are clipped, not their mean": partial(
            _clipped, how="by micro-batch"
        ),
        "the steps are clipped, not the gradient": partial(_clipped, how="after the optimizer"),
        "the gradient is clipped by value, not by norm": _by_value,
        "the gradient is clipped by norm, not by value": _by_norm,
        "the schedule is one update late": partial(_shifted, updates=1),
        "the schedule is one update early": partial(_shifted, updates=-1),
        "frozen": partial(replace, frozen=True),
        "not frozen": partial(replace, frozen=False),
    }
)


def variants(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """The recipe with each of the differences that it does not have already."""
    plain = replace(recipe, groups={}).of_rule("sgd")
    for name, change in DIFFERENCES.items():
        if recipe.registered and changed(plain, change(plain)).intersection(OF_A_FORMULA):
            continue
        variant = change(recipe)
        if changed(recipe, variant):
            yield name, variant
    if "decoupled_weight_decay" in recipe.options or recipe.rule in _EITHER_DECAY:
        decoupled = not recipe.options.get("decoupled_weight_decay", False)
        told = "decoupled, not coupled" if decoupled else "coupled, not decoupled"
        options = {**recipe.options, "decoupled_weight_decay": decoupled}
        yield f"weight decay is {told}", replace(recipe, options=options)


_EITHER_DECAY = {"nadam", "radam"}


def changed(recipe: Recipe, variant: Recipe) -> set[str]:
    """The fields, and the options of a registered rule, in which two recipes differ."""
    different = {
        f.name for f in fields(Recipe) if getattr(recipe, f.name) != getattr(variant, f.name)
    }
    if "options" in different:
        both = {**recipe.options, **variant.options}
        different |= {n for n in both if recipe.options.get(n) != variant.options.get(n)}
        different -= {"options"}
    return different


def other_rules(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """Other members of Adam's family with the same numbers."""
    if recipe.rule != "adam" or recipe.amsgrad:
        return
    shared = {"betas": recipe.betas, "eps": recipe.eps, "weight_decay": recipe.weight_decay}
    kept: dict[str, Any] = {
        "stepped_every": recipe.stepped_every,
        "max_norm": recipe.max_norm,
        "max_value": recipe.max_value,
        "clipped": recipe.clipped,
    }
    for rule, name in (("nadam", "NAdam"), ("radam", "RAdam"), ("adamax", "Adamax")):
        options = dict(shared)
        if rule in _EITHER_DECAY:
            options["decoupled_weight_decay"] = recipe.decoupled
        elif recipe.decoupled and recipe.weight_decay:
            continue
        yield f"the rule is {name}'s", Recipe(rule, recipe.lr, options=options, **kept)
    yield "the rule is schedule-free AdamW's", recipe.of_rule("schedule_free_adamw")
    yield "the rule is Lion's", replace(recipe.of_rule("lion"), decoupled=True)
