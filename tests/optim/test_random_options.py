"""Options drawn at random, within what torch allows: still equal to torch at every update."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import tolerances
from tests.optim import problems
from tests.optim.cases import OPTIMIZERS, SCHEDULE, Case, allowed, needs, options_of
from tests.optim.trajectories import run_torch, update_error, updates_along

flags = st.just(True)
fractions = st.floats(0.0, 0.99)
betas = st.tuples(st.floats(0.0, 0.99), st.floats(0.0, 0.9995))


def sizes(smallest, largest):
    """Numbers of every order of magnitude between the two."""
    return st.floats(math.log(smallest), math.log(largest)).map(math.exp)


# What each option is drawn from, by its name ...
DRAWN = {
    "lr": sizes(1e-6, 0.1),
    "maximize": flags,
    SCHEDULE: flags,
    "weight_decay": sizes(1e-6, 0.3),
    "eps": sizes(1e-12, 0.1),
    "betas": betas,
    "amsgrad": flags,
    "decoupled_weight_decay": flags,
    "rho": fractions,
    "beta2_decay": st.floats(-2.0, 0.0),
    "d": st.floats(1.0, 4.0),
    "lr_decay": sizes(1e-6, 1.0),
    "initial_accumulator_value": sizes(1e-12, 1.0),
    "lambd": sizes(1e-6, 1.0),
    "t0": st.floats(0.0, 300.0),
    "momentum_decay": sizes(1e-6, 1.0),
    "momentum": fractions,
    "dampening": fractions,
    "nesterov": flags,
    "centered": flags,
    "etas": st.tuples(st.floats(0.05, 0.95), st.floats(1.05, 2.0)),
    "step_sizes": st.tuples(sizes(1e-9, 1e-3), sizes(1e-2, 50.0)),
}
# ... and where the name means different things: ASGD's alpha is an exponent.
OF_ONE = {
    ("adafactor", "eps"): st.tuples(st.none() | sizes(1e-9, 1e-3), sizes(1e-6, 10.0)),
    ("asgd", "alpha"): st.floats(0.0, 2.0),
    # Centered, an alpha near 0 leaves a variance of nothing but rounding.
    ("rmsprop", "alpha"): st.floats(0.1, 0.99),
}


def strategies(optimizer):
    """A strategy for each option of the registry; KeyError for one without."""
    return {
        name: OF_ONE[optimizer, name] if (optimizer, name) in OF_ONE else DRAWN[name]
        for name in options_of(optimizer)
    }


@st.composite
def random_cases(draw, optimizer):
    options = draw(st.fixed_dictionaries({}, optional=strategies(optimizer)))
    for name in list(options):
        options = needs(optimizer, name) | options
    if options.get("nesterov") and options["momentum"] == 0:
        options["momentum"] = 0.5
    if not allowed(optimizer, options):
        del options["nesterov"]
    return Case(optimizer, options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_random_options_equal_torch(optimizer):
    """Along torch's parameters: some options (bang-bang steps across zero) are chaotic."""
    gradients = problems.gradients("float64")
    bound = tolerances.OPTIM_RANDOM_F64.get(optimizer, tolerances.PARITY_F64)

    @settings(max_examples=2, deadline=None, derandomize=True, database=None)
    @given(case=random_cases(optimizer))
    def compare(case):
        expected = run_torch(case, "float64", gradients)
        updates = updates_along(case, "float64", gradients, expected)
        assert update_error(updates, expected, "float64") <= bound, case.id

    compare()
