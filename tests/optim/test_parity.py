"""Every optimizer × option × pair of options equals torch.optim at every one of 200 updates."""

import pytest

from tests.optim import problems
from tests.optim.cases import OPTIMIZERS, cases_of
from tests.optim.gate import errors_over_bound
from tests.optim.trajectories import run_jax


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_option_and_pair_equals_torch(optimizer, dtype):
    cases = list(cases_of(optimizer))
    runs = run_jax(cases, [case.jaxgd() for case in cases], dtype, problems.gradients(dtype))
    over = {
        case.id: errors
        for case, run in zip(cases, runs, strict=True)
        if (errors := errors_over_bound(case, run, dtype))
    }
    assert over == {}
