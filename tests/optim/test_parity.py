"""Every optimizer × option × pair of options equals torch.optim at every one of 200 updates."""

import pytest

from tests.optim import problems
from tests.optim.cases import OPTIMIZERS, cases_of
from tests.optim.gate import errors_over_bound
from tests.optim.trajectories import run_jax

# In float32 each option alone; `-m exhaustive` takes the pairs.
SETTINGS = [
    pytest.param("float64", 2, id="float64"),
    pytest.param("float32", 1, id="float32"),
    pytest.param("float32", 2, id="float32-pairs", marks=pytest.mark.exhaustive),
]


@pytest.mark.parametrize(("dtype", "together"), SETTINGS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_option_and_pair_equals_torch(optimizer, dtype, together):
    cases = list(cases_of(optimizer, together))
    runs = run_jax(cases, [case.jaxgd() for case in cases], dtype, problems.gradients(dtype))
    over = {
        case.id: errors
        for case, run in zip(cases, runs, strict=True)
        if (errors := errors_over_bound(case, run, dtype))
    }
    assert over == {}
