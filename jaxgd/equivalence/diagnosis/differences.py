"""The known differences between implementations of one optimizer, each as a change of the recipe.

Where a difference leaves the steps as they are (eps in plain SGD), it explains nothing and is never
named.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from jaxgd.equivalence.rule.recipe import Recipe

Change = Callable[[Recipe], Recipe]


def _shifted(recipe: Recipe, updates: int) -> Recipe:
    """The recipe with its schedule some updates late; early, if negative."""
    if np.ndim(recipe.lr) == 0:
        return recipe
    rates = np.asarray(recipe.lr, np.float64)
    at = np.clip(np.arange(len(rates)) - updates, 0, len(rates) - 1)
    return replace(recipe, lr=tuple(rates[at].tolist()))


DIFFERENCES: Mapping[str, Change] = MappingProxyType(
    {
        # L2: the decay is added to the gradient; AdamW: it bypasses the rule.
        "weight decay is coupled, not decoupled": partial(replace, decoupled=False),
        "weight decay is decoupled, not coupled": partial(replace, decoupled=True),
        "no weight decay": partial(replace, weight_decay=0.0),
        # √v + eps, √(v + eps), or √v + eps of the uncorrected v.
        "eps is inside the root": partial(replace, eps_at="inside the root"),
        "eps is outside the root": partial(replace, eps_at="outside the root"),
        "eps is added before the bias correction": partial(replace, eps_at="before the correction"),
        "no eps": partial(replace, eps=0.0),
        # The defaults of torch (Adam 1e-8, Adagrad 1e-10), Keras and optax.
        **{f"eps is {eps:g}": partial(replace, eps=eps) for eps in (1e-10, 1e-8, 1e-7, 1e-6, 1e-3)},
        "no bias correction": partial(replace, bias_correction=False),
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
        "the gradient is not clipped": partial(replace, max_norm=None),
        # optax divides by the norm, torch by the norm + 1e-6.
        "clipping divides by the norm without 1e-6": partial(replace, clip_eps=0.0),
        "clipping divides by the norm with 1e-6": partial(replace, clip_eps=1e-6),
        "the schedule is one update late": partial(_shifted, updates=1),
        "the schedule is one update early": partial(_shifted, updates=-1),
    }
)


def variants(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """The recipe with each of the differences that it does not have already."""
    for name, change in DIFFERENCES.items():
        variant = change(recipe)
        if variant != recipe:
            yield name, variant
