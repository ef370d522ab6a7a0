"""What one update moves through memory, by XLA's own count: no more than optax's does."""

import jax
import pytest

from benchmarks.optimizers import OPTAX, OPTIONS, RATE, moved, updating
from jaxgd import optim


@pytest.mark.optax_promotion
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "adamax", "nadam", "radam"])
def test_an_update_moves_no_more_than_optaxs(optimizer):
    params = jax.ShapeDtypeStruct((1_000_000,), "float32")
    ours = updating(optim.by_name(optimizer)(lr=RATE, **OPTIONS.get(optimizer, {})), params)
    theirs = updating(OPTAX[optimizer](), params)
    assert moved(ours) <= 1.0001 * moved(theirs)
    assert ours.memory_analysis().temp_size_in_bytes < 1000
    # Every array of the parameters and of the state is updated in place.
    assert ours.memory_analysis().alias_size_in_bytes >= 4_000_000
