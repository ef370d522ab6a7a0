"""The schedule under which weights are averaged."""

import jax.numpy as jnp

from jaxgd.optim.options import Scalar, check
from jaxgd.optim.precision import widest
from jaxgd.optim.schedules.schedule import Real, Schedule, shown


@shown
def swa_lr(
    lr: Scalar, swa_lr: Scalar, anneal_epochs: Scalar = 10, anneal_strategy: str = "cos"
) -> Schedule:
    """`lr` annealed to `swa_lr` in `anneal_epochs` updates, by a half cosine or a line, then there.

        lr + (swa_lr − lr) · α(min(1, c / anneal_epochs)),   α(t) = (1 − cos π t) / 2  or  t

    `anneal_epochs=0` is `swa_lr` at once.

    In a `sequential_lr` it starts from the rate it finds, as torch's does in a SequentialLR.

    Departs from torch.optim.swa_utils.SWALR: nothing.
    """
    remedy = "Use the number of updates, or 0 for none."
    check("anneal_epochs", anneal_epochs, "an integer of at least 0", _counts, remedy)
    if anneal_strategy not in ("cos", "linear"):
        raise ValueError(
            f"anneal_strategy must be 'cos' or 'linear'; got {anneal_strategy!r}. "
            "Use 'cos', the default."
        )

    def share(c: Real) -> Real:
        length = widest(anneal_epochs)
        t = jnp.where(length == 0, 1.0, jnp.minimum(c / jnp.maximum(length, 1), 1.0))
        return (1 - jnp.cos(jnp.pi * t)) / 2 if anneal_strategy == "cos" else t

    def between(rate: Real, c: Real) -> Real:
        return widest(swa_lr) * share(c) + rate * (1 - share(c))

    return Schedule(lr, lambda c: between(widest(lr), c), resumes=between)


def _counts(value: float) -> bool:
    return value >= 0 and value == int(value)
