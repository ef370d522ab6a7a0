"""Torch's order of operations, once for all optimizers."""

from collections.abc import Callable

import optax
from jaxtyping import Array

from jaxgd.optim.gradient import torch_gradient
from jaxgd.optim.learning_rate import scale_by_lr
from jaxgd.optim.options import Scalar, ScalarOrSchedule


def torch_chain(
    rule: optax.GradientTransformation,
    learning_rate: ScalarOrSchedule,
    weight_decay: Scalar = 0.0,
    *,
    decoupled: bool = False,
    maximize: bool = False,
    limit: Callable[[Array, Array], Array] | None = None,
) -> optax.GradientTransformation:
    """What every optimizer of torch.optim does around its rule.

        g ← ±g                                    minus to maximize
        g ← g + λ p                               coupled decay
        u ← rule(g)
        p ← p (1 - lr λ)                          or decoupled decay
        p ← p - lr u                              or limit(lr, count) in the place of this lr

    The state is a tuple of three: nothing, the rule's, and a `LearningRateState`.
    """
    coupled, decayed = (0.0, weight_decay) if decoupled else (weight_decay, 0.0)
    return optax.chain(
        torch_gradient(coupled, maximize), rule, scale_by_lr(learning_rate, decayed, limit)
    )
