"""The averages of torch's AveragedModel in float32, where the form of the update is felt."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from jaxgd import optim
from tests import tolerances

UPDATES = 5000
DECAY = 0.9999
# Near 1 and moving little, as weights late in a run: their average drifts by what it rounds.
WALK = (1 + 1e-3 * np.random.default_rng(0).normal(size=(UPDATES, 8)).cumsum(0)).astype(np.float32)


def in_torch(average):
    averaged = torch.tensor(WALK[0]).double().float()
    for n, params in enumerate(WALK[1:], start=1):
        average([averaged], [torch.tensor(params)], n)
    return averaged.numpy()


def in_jax(average):
    def update(averaged, n_and_params):
        return average(averaged, n_and_params[1], n_and_params[0]), None

    steps = jnp.arange(UPDATES), jnp.asarray(WALK)
    return np.asarray(jax.jit(lambda a, s: jax.lax.scan(update, a, s)[0])(jnp.zeros(8), steps))


def exact_ema():
    averaged = WALK[0].astype(np.float64)
    for params in WALK[1:]:
        averaged = averaged + (1 - DECAY) * (params - averaged)
    return averaged


def test_the_exponential_average_drifts_no_more_than_torchs():
    exact = exact_ema()
    torchs = in_torch(get_ema_multi_avg_fn(DECAY))
    ours = in_jax(lambda a, p, n: optim.exponential_average(a, p, n, DECAY))
    plain = in_jax(
        lambda a, p, n: optax.incremental_update(p, a, jnp.where(n == 0, 1.0, 1.0 - DECAY))
    )
    own = np.abs(torchs - exact).max()
    assert np.abs(ours - exact).max() <= 2 * own
    assert np.abs(plain - exact).max() > 4 * own


def test_the_uniform_average_is_torchs():
    theirs = in_torch(lambda a, p, n: get_swa_multi_avg_fn()(a, p, n))
    ours = in_jax(lambda a, p, n: optim.uniform_average(a, p, n))
    np.testing.assert_allclose(ours, theirs, rtol=tolerances.OPTIM_F32)


def test_a_decay_above_1_is_refused():
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\]; got decay=1.5"):
        optim.exponential_average(jnp.ones(2), jnp.ones(2), 0, 1.5)
