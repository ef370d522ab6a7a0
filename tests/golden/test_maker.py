"""Today's torch makes the golden trajectories again, to rounding."""

import numpy as np
import pytest

from tests import tolerances
from tests.golden.cases import cases
from tests.golden.format import read

pytest.importorskip("torch")


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_torch_makes_the_same_values_again(case):
    from tests.golden.maker import make

    made, stored = make(case), read()[case.name]
    np.testing.assert_array_equal(made.order, stored.order)
    np.testing.assert_array_equal(made.lr, stored.lr)
    allowed = tolerances.GOLDEN[case.dtype]
    if case.optimizer == "LBFGS":
        allowed = tolerances.GOLDEN_LBFGS[case.dtype]
    if case.optimizer == "Muon":
        allowed = tolerances.GOLDEN_MUON
    for path, values in stored.params.items():
        way = np.abs(values - values[0]).max()
        np.testing.assert_allclose(made.params[path], values, rtol=0, atol=allowed * way)
