"""What the golden trajectories hold: small networks, every optimizer of torch, its variants.

No framework is imported here; names are torch's own.
"""

from typing import Any, NamedTuple

VERSION = 1
UPDATES, ROWS, BATCH, FEATURES, HIDDEN = 20, 12, 6, 4, 5

# Torch's classes, and options under which all that they keep is in play.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "adadelta": ("Adadelta", {"lr": 1.0}),
    "adadelta-decay": ("Adadelta", {"lr": 0.5, "rho": 0.95, "eps": 1e-3, "weight_decay": 0.1}),
    "adafactor": ("Adafactor", {"lr": 0.1}),
    "adafactor-decay": ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "eps": [1e-6, 1.0]}),
    "adagrad": ("Adagrad", {"lr": 0.05}),
    "adagrad-lr-decay": (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.05, "initial_accumulator_value": 0.1, "weight_decay": 0.01},
    ),
    "adam": ("Adam", {"lr": 0.02}),
    "adam-l2": ("Adam", {"lr": 0.02, "weight_decay": 0.1, "betas": [0.8, 0.99], "eps": 1e-3}),
    "adam-amsgrad": ("Adam", {"lr": 0.02, "amsgrad": True, "betas": [0.9, 0.9]}),
    "adam-maximize": ("Adam", {"lr": 0.02, "maximize": True}),
    "adamax": ("Adamax", {"lr": 0.02}),
    "adamax-decay": ("Adamax", {"lr": 0.02, "betas": [0.99, 0.9], "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.02}),
    "adamw-amsgrad": ("AdamW", {"lr": 0.02, "amsgrad": True, "weight_decay": 0.1}),
    "asgd": ("ASGD", {"lr": 0.1, "lambd": 0.01}),
    "asgd-averaged": ("ASGD", {"lr": 0.1, "lambd": 0.1, "t0": 4.0, "weight_decay": 0.1}),
    "lbfgs": ("LBFGS", {"lr": 0.1, "max_iter": 4, "history_size": 3}),
    "muon": ("Muon", {"lr": 0.02}),
    "muon-match-rms": (
        "Muon",
        {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw", "nesterov": False, "weight_decay": 0.0},
    ),
    "nadam": ("NAdam", {"lr": 0.02}),
    "nadam-decoupled": (
        "NAdam",
        {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 0.1},
    ),
    "radam": ("RAdam", {"lr": 0.02}),
    "radam-decoupled": (
        "RAdam",
        {"lr": 0.02, "betas": [0.8, 0.99], "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    "rmsprop": ("RMSprop", {"lr": 0.005}),
    "rmsprop-centered": (
        "RMSprop",
        {"lr": 0.005, "momentum": 0.9, "centered": True, "alpha": 0.9, "weight_decay": 0.1},
    ),
    "rprop": ("Rprop", {"lr": 0.01}),
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd-momentum": ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    "sgd-nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "sparse-adam": ("SparseAdam", {"lr": 0.02}),
}

# A base rate, the scheduler's class and its options; the optimizer is SGD with momentum.
SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "step": ("StepLR", {"step_size": 5, "gamma": 0.5}),
    "cosine": ("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.001}),
    "one-cycle": ("OneCycleLR", {"max_lr": 0.1, "total_steps": 20, "cycle_momentum": False}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
}


class Case(NamedTuple):
    """One recording: its folder, and what torch is asked for."""

    name: str
    network: str  # mlp, matrices or embedding
    dtype: str
    optimizer: str
    options: dict[str, Any]
    scheduler: str = ""
    scheduler_options: dict[str, Any] = {}  # noqa: RUF012 (never changed)


def cases() -> list[Case]:
    """All of them; SparseAdam has an embedding's gradients, Muon has matrices alone."""
    networks = {"Muon": "matrices", "SparseAdam": "embedding"}
    found = [
        Case(f"{name}-{dtype}", networks.get(torch, "mlp"), dtype, torch, options)
        for name, (torch, options) in OPTIMIZERS.items()
        for dtype in ("float64", "float32")
    ]
    found += [
        Case(
            f"schedule-{name}", "mlp", "float64", "SGD", {"lr": 0.05, "momentum": 0.9}, cls, options
        )
        for name, (cls, options) in SCHEDULES.items()
    ]
    return found
