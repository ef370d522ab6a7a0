"""Options drawn at random, within what torch allows: still equal to torch at every update."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import tolerances
from tests.optim import problems
from tests.optim.cases import NEEDS, SCHEDULE, Case, allowed
from tests.optim.trajectories import run_torch, update_error, updates_along

flags = st.just(True)
fractions = st.floats(0.0, 0.99)
betas = st.tuples(st.floats(0.0, 0.99), st.floats(0.0, 0.9995))


def sizes(smallest, largest):
    """Numbers of every order of magnitude between the two."""
    return st.floats(math.log(smallest), math.log(largest)).map(math.exp)


SHARED = {"lr": sizes(1e-6, 0.1), "maximize": flags, SCHEDULE: flags}
DECAY = {"weight_decay": sizes(1e-6, 0.3)}
EPS = {"eps": sizes(1e-12, 0.1)}

STRATEGIES = {
    "adadelta": SHARED | DECAY | EPS | {"rho": fractions},
    "adafactor": SHARED
    | DECAY
    | {
        "eps": st.tuples(st.none() | sizes(1e-9, 1e-3), sizes(1e-6, 10.0)),
        "beta2_decay": st.floats(-2.0, 0.0),
        "d": st.floats(1.0, 4.0),
    },
    "adagrad": SHARED
    | DECAY
    | EPS
    | {"lr_decay": sizes(1e-6, 1.0), "initial_accumulator_value": sizes(1e-12, 1.0)},
    "adam": SHARED
    | DECAY
    | EPS
    | {"betas": betas, "amsgrad": flags, "decoupled_weight_decay": flags},
    "adamax": SHARED | DECAY | EPS | {"betas": betas},
    "adamw": SHARED | DECAY | EPS | {"betas": betas, "amsgrad": flags},
    "asgd": SHARED
    | DECAY
    | {"lambd": sizes(1e-6, 1.0), "alpha": st.floats(0.0, 2.0), "t0": st.floats(0.0, 300.0)},
    "nadam": SHARED
    | DECAY
    | EPS
    | {"betas": betas, "momentum_decay": sizes(1e-6, 1.0), "decoupled_weight_decay": flags},
    "radam": SHARED | DECAY | EPS | {"betas": betas, "decoupled_weight_decay": flags},
    "rmsprop": SHARED
    | DECAY
    | EPS
    # Centered, an alpha near 0 leaves a variance of nothing but rounding.
    | {"alpha": st.floats(0.1, 0.99), "momentum": fractions, "centered": flags},
    "rprop": SHARED
    | {
        "etas": st.tuples(st.floats(0.05, 0.95), st.floats(1.05, 2.0)),
        "step_sizes": st.tuples(sizes(1e-9, 1e-3), sizes(1e-2, 50.0)),
    },
    "sgd": SHARED | DECAY | {"momentum": fractions, "dampening": fractions, "nesterov": flags},
    "sparse_adam": SHARED | EPS | {"betas": betas},
}


@st.composite
def random_cases(draw, optimizer):
    options = draw(st.fixed_dictionaries({}, optional=STRATEGIES[optimizer]))
    for name in list(options):
        options = NEEDS.get((optimizer, name), {}) | options
    if options.get("nesterov") and options["momentum"] == 0:
        options["momentum"] = 0.5
    if not allowed(optimizer, options):
        del options["nesterov"]
    return Case(optimizer, options)


@pytest.mark.parametrize("optimizer", STRATEGIES)
def test_random_options_equal_torch(optimizer):
    """Along torch's parameters: some options (bang-bang steps across zero) are chaotic."""
    gradients = problems.gradients("float64")
    bound = tolerances.OPTIM_RANDOM_F64.get(optimizer, tolerances.PARITY_F64)

    @settings(max_examples=3, deadline=None, derandomize=True, database=None)
    @given(case=random_cases(optimizer))
    def compare(case):
        expected = run_torch(case, "float64", gradients)
        updates = updates_along(case, "float64", gradients, expected)
        assert update_error(updates, expected, "float64") <= bound, case.id

    compare()
