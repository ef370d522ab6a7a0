"""An update by each optimizer, compiled and not run: a kernel a leaf, and the least of bytes."""

import jax
import pytest

from benchmarks.optimizer_kernels import cost
from benchmarks.optimizers import OPTAX, OPTIONS, RATE, least
from benchmarks.topologies import devices, missing
from jaxgd import optim

# Counters of the state are single numbers, each written by a kernel of its own: torch's `step`, the
# learning rate's, and a correction of NAdam's.
COUNTERS = 3


@pytest.mark.optax_promotion
@pytest.mark.parametrize("name", OPTAX)
@pytest.mark.parametrize("target", ["v5e", "H100"])
def test_an_update_moves_no_more_than_optaxs(name, target):
    if absent := missing(target):
        pytest.skip(f"compiling for {target} needs {absent}")
    [device] = devices(target)
    with jax.numpy_dtype_promotion("strict"):
        ours = cost(optim.by_name(name)(lr=RATE, **OPTIONS.get(name, {})), 1, "float32", device)
    theirs = cost(OPTAX[name](), 1, "float32", device)
    assert ours.kernels <= theirs.kernels + COUNTERS
    assert ours.bytes <= theirs.bytes + 100
    if (name, target) != ("adadelta", "v5e"):
        assert ours.bytes == pytest.approx(least(name, "float32"), rel=1e-4)
