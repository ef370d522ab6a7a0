"""The gate every case goes through: parity of values and updates, at every update."""

import functools

import numpy as np

from tests import tolerances
from tests.optim import problems
from tests.optim.cases import Case
from tests.optim.problems import Arrays
from tests.optim.trajectories import JaxRun, run_torch, update_error, value_error


def errors_over_bound(case: Case, run: JaxRun, dtype: str) -> dict[str, str]:
    """What of a run is further from torch than the bound allows: nothing, if it passes.

    In float32 an update may amplify rounding, in torch too: the bound is then a multiple of what
    torch's float32 run is off its own float64 run over the same gradients. Not so for decoupled
    decay: there torch's float32 drifts because it loses the same bits at every update, and so
    must we. Nor for Adafactor, whose default eps is that of the dtype: torch's two runs follow
    two formulas.
    """
    expected = _torchs(case, dtype, dtype)
    errors = {
        "values": value_error(run.values, expected),
        "updates": update_error(run.updates, expected, dtype),
    }
    bound = bounds(case, dtype)
    over = {what: error for what, error in errors.items() if error > bound[what]}
    if over and dtype == "float32" and not _must_meet_the_bound(case):
        exact = _torchs(case, "float64", dtype)
        own = {
            "values": value_error(expected, exact),
            "updates": update_error(differences(expected), exact, dtype),
        }
        over = {k: v for k, v in over.items() if v > tolerances.OPTIM_F32_OF_TORCHS_OWN * own[k]}
    return {what: f"{error:.1e}" for what, error in over.items()}


@functools.lru_cache(maxsize=4)
def _torchs(case: Case, dtype: str, of: str) -> Arrays:
    """Torch's trajectory in `dtype` over the gradients of `of`: the faults of a case share it."""
    return run_torch(case, dtype, problems.gradients(of))


def _must_meet_the_bound(case: Case) -> bool:
    return case.is_exact or case.decays_decoupled or case.optimizer == "adafactor"


def bounds(case: Case, dtype: str) -> dict[str, float]:
    """The bound of values and of updates for one case in one precision."""
    if case.is_exact:
        return {"values": 0.0, "updates": 0.0}
    if dtype == "float32":
        return dict.fromkeys(("values", "updates"), tolerances.OPTIM_F32)
    updates = tolerances.OPTIM_UPDATES_F64.get(case.optimizer, tolerances.PARITY_F64)
    return {"values": tolerances.PARITY_F64, "updates": updates}


def differences(values: Arrays) -> Arrays:
    """The updates of a trajectory of values, in float64."""
    return {name: np.diff(leaf.astype(np.float64), axis=0) for name, leaf in values.items()}
