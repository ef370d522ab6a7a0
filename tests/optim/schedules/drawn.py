"""What hypothesis draws a scheduler's options from, by torch's name, and our name for each."""

from hypothesis import strategies as st

from tests.optim.schedules.rates import COUNTS

factors = st.floats(0.05, 1.0)
lengths = st.integers(1, 700)
SINGLES = {
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
}
CYCLES = {
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
OURS = {
    "StepLR": "step_lr",
    "MultiStepLR": "multi_step_lr",
    "ConstantLR": "constant_lr",
    "LinearLR": "linear_lr",
    "ExponentialLR": "exponential_lr",
    "PolynomialLR": "polynomial_lr",
    "CosineAnnealingLR": "cosine_annealing_lr",
    "CosineAnnealingWarmRestarts": "cosine_annealing_warm_restarts",
    "CyclicLR": "cyclic_lr",
    "OneCycleLR": "one_cycle_lr",
}
