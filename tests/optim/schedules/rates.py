"""Torch's schedulers driven count by count, and our schedules over the same counts."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from tests import tolerances

LR = 0.3
COUNTS = 600


def torch_options(build):
    """The learning rate and momentum torch uses at every update."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR, momentum=0.9)
    scheduler = build(optimizer)
    used = []
    for count in range(COUNTS):
        if count > 0:
            optimizer.step()
            scheduler.step()
        used.append([optimizer.param_groups[0][name] for name in ("lr", "momentum")])
    return np.array(used, np.float64).T


def rates(schedule, counts=COUNTS):
    """The schedule at every count, as one compiled function of a traced int32."""
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(counts, dtype=jnp.int32)))


def assert_close(actual, expected, tolerance):
    """Relative to the largest rate: a rate near zero is a difference of larger ones."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.max(expected))


def assert_same_rates(build, schedule, tolerance=tolerances.SCHEDULE_F64):
    """The schedule's rates are the ones torch's optimizer is given."""
    assert_close(rates(schedule), torch_options(build)[0], tolerance)


def tolerance_of(torch_name):
    drifts = torch_name == "CosineAnnealingLR"
    return tolerances.SCHEDULE_COSINE_DRIFT_F64 if drifts else tolerances.SCHEDULE_F64
