"""A leaf's own rounding, measured: the reference beside itself, moved by its last digit."""

from typing import Any

import numpy as np
from ml_dtypes import finfo

from jaxgd.equivalence.proof.observation import (
    Observation,
    apart,
    check_recorded,
    in_rows_order,
    observe,
)
from jaxgd.equivalence.proof.replay import Step, stepped
from jaxgd.equivalence.recordings.batch import batch_leaves
from jaxgd.equivalence.recordings.pytree import as_numpy, like, with_leaves
from jaxgd.equivalence.recordings.update import Update

Rounding = dict[tuple[str, str], float]


def rounding(
    reference: Step,
    update: Update,
    observed: Observation,
    generator: np.random.Generator,
    *,
    twins: int,
    jitter: float = 1.0,
) -> Rounding:
    """What twins of the reference differ from it by, the largest of them, by stage and leaf.

    A twin is the reference's pass over the same rows in another order, at parameters each of which
    is moved by `jitter` roundings, or not at all, or back:

        params * (1 + jitter * eps * xi),    xi in {-1, 0, 1} at random
    """
    largest: Rounding = {}
    for _ in range(twins):
        twin = _twin(reference, update, observed, generator, jitter)
        for leaf, distance in apart(twin, observed).items():
            largest[leaf] = max(largest.get(leaf, 0.0), distance)
    return largest


def _twin(
    reference: Step,
    update: Update,
    recorded: Observation,
    generator: np.random.Generator,
    jitter: float,
) -> Observation:
    """One twin's pass, its outputs in the order of the update's rows."""
    leaves = batch_leaves(update.batch)
    rows = {len(leaf) for leaf in leaves.values()}
    order = generator.permutation(rows.pop()) if len(rows) == 1 else None

    def moved(_: str, leaf: Any) -> Any:
        array = as_numpy(leaf)
        if array.dtype.kind in "biu":
            return leaf
        signs = generator.integers(-1, 2, array.shape)
        factor = 1 + jitter * float(finfo(array.dtype).eps) * signs
        return like(leaf, (array.astype(np.float64) * factor).astype(array.dtype))

    def permuted(_: str, leaf: Any) -> Any:
        return leaf if order is None else like(leaf, as_numpy(leaf)[order])

    beside = update._replace(
        params=with_leaves(update.params, moved), batch=with_leaves(update.batch, permuted)
    )
    observed = observe(stepped(reference, beside)._replace(params=beside.params))
    check_recorded(observed, recorded, "reference")
    return observed if order is None else in_rows_order(observed, np.argsort(order), recorded)
