"""Every schedule against torch's scheduler, at every count."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from jaxgd.optim import schedules
from jaxgd.optim.sgd import sgd
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


def warm_then_decay(count):
    """What people write in torch: Python branches, no JAX."""
    return (count + 1) / 10 if count < 10 else 0.99 ** (count - 10)


SINGLE = {
    "lambda": ("LambdaLR", "lambda_lr", {"lr_lambda": lambda c: 0.97**c}),
    "lambda of an int": ("LambdaLR", "lambda_lr", {"lr_lambda": warm_then_decay}),
    "multiplicative": (
        "MultiplicativeLR",
        "multiplicative_lr",
        {"lr_lambda": lambda c: 0.9 + 0.2 / (c + 1)},
    ),
    "step": ("StepLR", "step_lr", {"step_size": 30}),
    "step of one": ("StepLR", "step_lr", {"step_size": 1, "gamma": 0.98}),
    "multi step": ("MultiStepLR", "multi_step_lr", {"milestones": [30, 80, 80, 400], "gamma": 0.3}),
    "multi step at once": ("MultiStepLR", "multi_step_lr", {"milestones": [200, 0, -5]}),
    "constant": ("ConstantLR", "constant_lr", {}),
    "constant for ever": ("ConstantLR", "constant_lr", {"factor": 0.2, "total_iters": 0}),
    "linear": ("LinearLR", "linear_lr", {}),
    "linear down": (
        "LinearLR",
        "linear_lr",
        {"start_factor": 0.9, "end_factor": 0.0, "total_iters": 450},
    ),
    "linear for ever": ("LinearLR", "linear_lr", {"total_iters": 0}),
    "exponential": ("ExponentialLR", "exponential_lr", {"gamma": 0.99}),
    "polynomial": ("PolynomialLR", "polynomial_lr", {}),
    "polynomial square": ("PolynomialLR", "polynomial_lr", {"total_iters": 470, "power": 2.0}),
    "polynomial root": ("PolynomialLR", "polynomial_lr", {"total_iters": 130, "power": 0.5}),
    "polynomial of none": ("PolynomialLR", "polynomial_lr", {"total_iters": 0}),
    "cosine": ("CosineAnnealingLR", "cosine_annealing_lr", {"T_max": 600}),
    "cosine beyond T_max": (
        "CosineAnnealingLR",
        "cosine_annealing_lr",
        {"T_max": 70, "eta_min": 0.01},
    ),
    "cosine of one": ("CosineAnnealingLR", "cosine_annealing_lr", {"T_max": 1}),
    "restarts": ("CosineAnnealingWarmRestarts", "cosine_annealing_warm_restarts", {"T_0": 11}),
    "longer restarts": (
        "CosineAnnealingWarmRestarts",
        "cosine_annealing_warm_restarts",
        {"T_0": 7, "T_mult": 2, "eta_min": 0.02},
    ),
}
NEEDS_LENGTH = {"lambda of an int", "multiplicative"}

CYCLIC = {
    "triangular": {"step_size_up": 20},
    "uneven": {"step_size_up": 13, "step_size_down": 31},
    "triangular2": {"step_size_up": 9, "mode": "triangular2"},
    "exp_range": {"step_size_up": 25, "mode": "exp_range", "gamma": 0.995},
    "own scale of cycles": {"step_size_up": 12, "scale_fn": lambda k: 1 / (5.0 * k)},
    "own scale of updates": {
        "step_size_up": 12,
        "scale_fn": lambda c: 0.99**c,
        "scale_mode": "iterations",
    },
    "own momentum": {"step_size_up": 12, "base_momentum": 0.6, "max_momentum": 0.99},
}

ONE_CYCLE = {
    "default": {},
    "linear": {"anneal_strategy": "linear"},
    "three phases": {"three_phase": True},
    "three linear phases": {"three_phase": True, "anneal_strategy": "linear", "pct_start": 0.45},
    "from the peak": {"pct_start": 0.0},
    "only up": {"pct_start": 1.0},
    "a fraction of an update": {"pct_start": 0.0333},
    "factors": {"div_factor": 5.0, "final_div_factor": 20.0, "base_momentum": 0.5},
}


@pytest.mark.usefixtures("x64")
class TestParity:
    @pytest.mark.parametrize("case", SINGLE)
    def test_a_single_schedule(self, case):
        torch_name, name, options = SINGLE[case]
        length = {"total_steps": COUNTS} if case in NEEDS_LENGTH else {}
        assert_same_rates(
            lambda optimizer: getattr(lr_scheduler, torch_name)(optimizer, **options),
            getattr(schedules, name)(LR, **options, **length),
            tolerances.SCHEDULE_COSINE_DRIFT_F64
            if name == "cosine_annealing_lr"
            else tolerances.SCHEDULE_F64,
        )

    @pytest.mark.parametrize("case", CYCLIC)
    def test_cyclic_lr(self, case):
        self.assert_same_cycle(
            "CyclicLR", "cyclic_lr", {"base_lr": 0.01, "max_lr": 0.5} | CYCLIC[case]
        )

    @pytest.mark.parametrize("case", ONE_CYCLE)
    def test_one_cycle_lr(self, case):
        options = {"max_lr": 0.5, "total_steps": COUNTS} | ONE_CYCLE[case]
        self.assert_same_cycle("OneCycleLR", "one_cycle_lr", options)

    def assert_same_cycle(self, torch_name, name, options):
        expected = torch_options(
            lambda optimizer: getattr(lr_scheduler, torch_name)(optimizer, **options)
        )
        cycle = getattr(schedules, name)(**options)
        for ours, theirs in zip([rates(cycle), rates(cycle.momentum)], expected, strict=True):
            np.testing.assert_allclose(
                ours, theirs, rtol=0, atol=tolerances.SCHEDULE_F64 * theirs.max()
            )

    def test_one_cycle_by_epochs(self):
        cycle = schedules.one_cycle_lr(0.5, epochs=20, steps_per_epoch=30)
        np.testing.assert_array_equal(
            rates(cycle), rates(schedules.one_cycle_lr(0.5, total_steps=600))
        )
        assert np.isnan(cycle(601))

    @pytest.mark.parametrize("milestones", [[5, 300], [40, 40], [1, 2]])
    def test_sequential_lr(self, milestones):
        assert_same_rates(
            lambda optimizer: lr_scheduler.SequentialLR(
                optimizer,
                [
                    lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5),
                    lr_scheduler.CosineAnnealingLR(optimizer, 100, 0.01),
                    lr_scheduler.MultiStepLR(optimizer, [0, 30]),
                ],
                list(milestones),
            ),
            schedules.sequential_lr(
                [
                    schedules.linear_lr(LR, 0.1, total_iters=5),
                    schedules.cosine_annealing_lr(LR, 100, 0.01),
                    schedules.multi_step_lr(LR, [0, 30]),
                ],
                milestones,
            ),
        )

    @pytest.mark.parametrize("milestone", [0, 1, 50])
    def test_a_multiplicative_schedule_goes_on_from_the_rate_it_finds(self, milestone):
        assert_same_rates(
            lambda optimizer: lr_scheduler.SequentialLR(
                optimizer,
                [
                    lr_scheduler.ExponentialLR(optimizer, 0.97),
                    lr_scheduler.MultiplicativeLR(optimizer, lambda c: 0.99),
                    lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 9, 2),
                ],
                [milestone, 400],
            ),
            schedules.sequential_lr(
                [
                    schedules.exponential_lr(LR, 0.97),
                    schedules.multiplicative_lr(LR, lambda c: 0.99, total_steps=COUNTS),
                    schedules.cosine_annealing_warm_restarts(LR, 9, 2),
                ],
                [milestone, 400],
            ),
        )

    def test_chained_scheduler(self):
        assert_same_rates(
            lambda optimizer: lr_scheduler.ChainedScheduler(
                [
                    lr_scheduler.ConstantLR(optimizer, 0.1, 20),
                    lr_scheduler.ExponentialLR(optimizer, 0.999),
                    lr_scheduler.MultiplicativeLR(optimizer, lambda c: 1 - 0.01 / (c + 1)),
                    lr_scheduler.MultiStepLR(optimizer, [0, 100], 0.7),
                    lr_scheduler.PolynomialLR(optimizer, 500),
                ]
            ),
            schedules.chained_scheduler(
                [
                    schedules.constant_lr(LR, 0.1, 20),
                    schedules.exponential_lr(LR, 0.999),
                    schedules.multiplicative_lr(
                        LR, lambda c: 1 - 0.01 / (c + 1), total_steps=COUNTS
                    ),
                    schedules.multi_step_lr(LR, [0, 100], 0.7),
                    schedules.polynomial_lr(LR, 500),
                ],
                total_steps=COUNTS,
            ),
        )

    @pytest.mark.parametrize("eta_min", [0.0, 0.02])
    def test_a_chain_of_cosines_and_a_ramp(self, eta_min):
        """A floor that is not zero and T_max passed: no product of closed forms."""
        assert_same_rates(
            lambda optimizer: lr_scheduler.ChainedScheduler(
                [
                    lr_scheduler.LinearLR(optimizer, 0.1, total_iters=50),
                    lr_scheduler.CosineAnnealingLR(optimizer, 120, eta_min),
                    lr_scheduler.StepLR(optimizer, 200, 0.5),
                ]
            ),
            schedules.chained_scheduler(
                [
                    schedules.linear_lr(LR, 0.1, total_iters=50),
                    schedules.cosine_annealing_lr(LR, 120, eta_min),
                    schedules.step_lr(LR, 200, 0.5),
                ],
                total_steps=COUNTS,
            ),
        )

    def test_a_chain_with_a_schedule_that_overwrites(self):
        assert_same_rates(
            lambda optimizer: lr_scheduler.ChainedScheduler(
                [
                    lr_scheduler.ExponentialLR(optimizer, 0.9),
                    lr_scheduler.LambdaLR(optimizer, lambda c: 1 / (c + 1)),
                    lr_scheduler.StepLR(optimizer, 3),
                ]
            ),
            schedules.chained_scheduler(
                [
                    schedules.exponential_lr(LR, 0.9),
                    schedules.lambda_lr(LR, lambda c: 1 / (c + 1)),
                    schedules.step_lr(LR, 3),
                ],
                total_steps=COUNTS,
            ),
        )

    def test_a_canary_of_one_count(self):
        """The gate sees a schedule that is one update early."""
        expected = torch_options(lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.999999))[
            0
        ]
        early = rates(lambda count: schedules.exponential_lr(LR, 0.999999)(count + 1))
        with pytest.raises(AssertionError):
            assert_close(early, expected, tolerances.SCHEDULE_F64)

    @pytest.mark.parametrize(("T_max", "eta_min"), [(334, 0.5), (70, 0.01), (1, 0.0)])
    def test_cosine_annealing_is_torch_s_own_closed_form(self, T_max, eta_min):
        """Closer than torch's recursion, which drifts each time it passes T_max."""
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max, eta_min)
        expected = []
        for scheduler.last_epoch in range(COUNTS):
            expected += scheduler._get_closed_form_lr()
        ours = rates(schedules.cosine_annealing_lr(LR, T_max, eta_min))
        assert_close(ours, expected, tolerances.SCHEDULE_CLOSED_FORM_F64)


factors = st.floats(0.05, 1.0)
lengths = st.integers(1, 700)
DRAWN = {
    "StepLR": {"step_size": lengths, "gamma": factors},
    "MultiStepLR": {"milestones": st.lists(st.integers(0, 700), max_size=6), "gamma": factors},
    "ConstantLR": {"factor": factors, "total_iters": lengths},
    "LinearLR": {"start_factor": factors, "end_factor": st.floats(0, 1), "total_iters": lengths},
    "ExponentialLR": {"gamma": factors},
    "PolynomialLR": {"total_iters": lengths, "power": st.floats(0.2, 3)},
    "CosineAnnealingLR": {"T_max": lengths, "eta_min": st.floats(0, 0.5)},
    "CosineAnnealingWarmRestarts": {
        "T_0": lengths,
        "T_mult": st.integers(1, 4),
        "eta_min": st.floats(0, 0.5),
    },
    "CyclicLR": {
        "base_lr": st.floats(0, 0.5),
        "max_lr": st.floats(0.1, 2),
        "step_size_up": lengths,
        "step_size_down": lengths,
        "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
        "gamma": st.floats(0.99, 1),
    },
    "OneCycleLR": {
        "max_lr": st.floats(0.1, 2),
        "total_steps": st.integers(COUNTS, 2000),
        "pct_start": st.floats(0, 1),
        "anneal_strategy": st.sampled_from(["cos", "linear"]),
        "div_factor": st.floats(1, 100),
        "three_phase": st.booleans(),
    },
}
OURS = {torch_name: name for torch_name, name, _ in SINGLE.values()} | {
    "CyclicLR": "cyclic_lr",
    "OneCycleLR": "one_cycle_lr",
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("torch_name", DRAWN)
def test_drawn_options(torch_name):
    @settings(max_examples=15, deadline=None)
    @given(st.fixed_dictionaries(DRAWN[torch_name]))
    def compare(options):
        function = getattr(schedules, OURS[torch_name])
        cycles = torch_name in {"CyclicLR", "OneCycleLR"}  # their rates are their own options
        schedule = function(**options) if cycles else function(LR, **options)
        build = functools.partial(getattr(lr_scheduler, torch_name), **options)
        ours = jax.vmap(schedule)(jnp.arange(COUNTS))
        assert_close(ours, torch_options(build)[0], tolerance_of(torch_name))

    compare()


def torch_plateau(values, **options):
    """The rate torch uses at every update, each followed by its value."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    used = []
    for value in values:
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(value)
    return np.array(used)


def plateau(values, **options):
    """The rate ours uses, from one compiled scan."""
    schedule = schedules.reduce_lr_on_plateau(LR, **options)

    def update(state, value):
        return schedule.update(state, value=value), schedule(state)

    return jax.jit(lambda values: jax.lax.scan(update, schedule.init(), values)[1])(values)


def noisy_fall(seed):
    """A loss that falls, then only jitters, then jumps: every branch of the plateau is taken."""
    noise = np.random.default_rng(seed).normal(size=COUNTS)
    return 1 / (1 + np.arange(COUNTS) / 20) + 0.02 * noise + 0.3 * (np.arange(COUNTS) > 450)


@pytest.mark.usefixtures("x64")
class TestPlateau:
    @pytest.mark.parametrize("mode", ["min", "max"])
    @pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
    @pytest.mark.parametrize(
        "options",
        [
            {"patience": 0, "factor": 0.9},
            {"patience": 5, "factor": 0.5, "cooldown": 7},
            {"patience": 3, "factor": 0.3, "min_lr": 0.01, "threshold": 0.05},
            {"patience": 2, "factor": 0.7, "eps": 1e-3},
        ],
    )
    def test_rates(self, mode, threshold_mode, options):
        options = options | {"mode": mode, "threshold_mode": threshold_mode}
        values = noisy_fall(0) * (1 if mode == "min" else -1)
        expected = torch_plateau(values, **options)
        assert np.unique(expected).size > 3
        np.testing.assert_array_equal(plateau(jnp.asarray(values), **options), expected)

    def test_a_value_that_is_nan_is_bad(self):
        values = np.r_[1.0, np.full(30, np.nan)]
        np.testing.assert_array_equal(plateau(jnp.asarray(values)), torch_plateau(values))

    def test_an_update_without_a_value_changes_nothing(self):
        schedule = schedules.reduce_lr_on_plateau(LR, patience=0)
        state = schedule.update(schedule.init(), value=1.0)
        assert schedule.update(state) is state

    def test_a_canary_of_one_update_of_patience(self):
        values = noisy_fall(0)
        expected = torch_plateau(values, patience=5, factor=0.5)
        assert np.any(plateau(jnp.asarray(values), patience=4, factor=0.5) != expected)


def trained_by_torch(build, gradients, **options):
    """The parameters after every torch update, under a scheduler."""
    param = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = torch.optim.SGD([param], **options)
    scheduler = build(optimizer)
    trajectory = []
    for gradient in gradients:
        param.grad = torch.tensor(gradient)
        optimizer.step()
        scheduler.step()
        trajectory.append(param.detach().numpy().copy())
    return np.array(trajectory)


def trained(optimizer, gradients):
    """The parameters after every update of ours."""

    def update(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params, value=jnp.sum(gradient))
        params = optax.apply_updates(params, updates)
        return (params, state), params

    params = jnp.array([1.0, -2.0])
    return jax.lax.scan(update, (params, optimizer.init(params)), jnp.asarray(gradients))[1]


@pytest.mark.usefixtures("x64")
@pytest.mark.optax_promotion
class TestInAnOptimizer:
    gradients = np.random.default_rng(1).normal(size=(200, 2))

    def test_one_cycle_moves_rate_and_momentum_together(self):
        cycle = schedules.one_cycle_lr(0.1, total_steps=200)
        expected = trained_by_torch(
            lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=200),
            self.gradients,
            lr=0.1,
            momentum=0.9,
        )
        optimizer = optax.inject_hyperparams(sgd)(lr=cycle, momentum=cycle.momentum)
        assert_close(trained(optimizer, self.gradients), expected, tolerances.PARITY_F64)

    def test_a_plateau_sees_the_value_of_its_update(self):
        def build(optimizer):
            plateau = lr_scheduler.ReduceLROnPlateau(optimizer, patience=3, factor=0.8)
            values = iter(self.gradients.sum(axis=1))
            plateau_step = plateau.step
            plateau.step = lambda: plateau_step(next(values))
            return plateau

        expected = trained_by_torch(build, self.gradients, lr=0.1)
        schedule = schedules.reduce_lr_on_plateau(0.1, patience=3, factor=0.8)
        optimizer = optax.inject_hyperparams(sgd)(lr=schedule)
        assert_close(trained(optimizer, self.gradients), expected, tolerances.PARITY_F64)

    def test_a_schedule_of_a_traced_rate_sweeps(self):
        def final(lr):
            return trained(
                optax.with_extra_args_support(sgd(lr=schedules.step_lr(lr, 50))), self.gradients
            )[-1]

        swept = jax.vmap(final)(jnp.array([0.1, 0.2]))
        assert_close(swept[1], final(0.2), tolerances.PARITY_F64)


def test_f32_rates_stay_near_the_f64_ones():
    """Without x64 the closed forms round, but a cosine does not lose its phase."""
    counts = jnp.array([0, 1, 69, 70, 100_000, 2_000_003], jnp.int32)
    schedule = schedules.cosine_annealing_lr(LR, 70, 0.01)
    single = jax.vmap(schedule)(counts)
    assert single.dtype == jnp.float32
    with jax.enable_x64(True):
        assert_close(single, np.asarray(jax.vmap(schedule)(counts)), tolerances.SCHEDULE_F32)


def test_rates_past_a_table_are_nan():
    schedule = schedules.multiplicative_lr(LR, lambda c: 0.5, total_steps=3)
    np.testing.assert_allclose(rates(schedule, 4), [LR, LR / 2, LR / 4, np.nan], rtol=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: schedules.multiplicative_lr(LR, abs, total_steps=0),
            "total_steps must be at least",
        ),
        (lambda: schedules.step_lr(LR, 0), "step_size must be at least 1"),
        (lambda: schedules.constant_lr(LR, 1.1), r"factor must be in \[0, 1\]; got factor=1.1"),
        (lambda: schedules.linear_lr(LR, 0.0), r"start_factor must be in \(0, 1\]"),
        (lambda: schedules.linear_lr(LR, end_factor=-1.0), r"end_factor must be in \[0, 1\]"),
        (lambda: schedules.polynomial_lr(LR, -1), "total_iters must be at least 0"),
        (lambda: schedules.cosine_annealing_lr(LR, 0), "T_max must be at least 1"),
        (lambda: schedules.cosine_annealing_warm_restarts(LR, 0), "T_0 must be a positive int"),
        (lambda: schedules.cyclic_lr(0.1, 1.0, mode="square"), "mode must be one of triangular"),
        (lambda: schedules.cyclic_lr(0.1, 1.0, 0), "step_size_up must be positive"),
        (lambda: schedules.one_cycle_lr(1.0), "total_steps, or both epochs and steps_per_epoch"),
        (lambda: schedules.one_cycle_lr(1.0, 0), "must be positive"),
        (lambda: schedules.one_cycle_lr(1.0, 9, pct_start=1.5), r"pct_start must be in \[0, 1\]"),
        (lambda: schedules.one_cycle_lr(1.0, 10, pct_start=0.1), "must not be 1"),
        (lambda: schedules.one_cycle_lr(1.0, 9, anneal_strategy="x"), "must be 'cos' or 'linear'"),
        (lambda: schedules.reduce_lr_on_plateau(LR, factor=1.0), "factor must be below 1"),
        (lambda: schedules.reduce_lr_on_plateau(LR, "up"), "mode must be 'min' or 'max'"),
        (lambda: schedules.sequential_lr([], []), "schedulers must be one or more"),
        (
            lambda: schedules.sequential_lr([schedules.step_lr(LR, 5)], [3]),
            "milestones must be one fewer",
        ),
        (
            lambda: schedules.sequential_lr([schedules.step_lr(LR, 5)] * 3, [5, 3]),
            "milestones must be non-negative and rise",
        ),
        (
            lambda: schedules.chained_scheduler(
                [schedules.step_lr(LR, 5), schedules.step_lr(0.2, 5)], total_steps=9
            ),
            "must share one lr",
        ),
    ],
)
def test_bad_options(build, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build()


@pytest.mark.parametrize("compose", [schedules.sequential_lr, schedules.chained_scheduler])
def test_cycles_do_not_compose(compose):
    argument = {"milestones": []} if compose is schedules.sequential_lr else {"total_steps": 9}
    with pytest.raises(TypeError, match="schedulers must be one or more single schedules"):
        compose([schedules.one_cycle_lr(1.0, 9)], **argument)
