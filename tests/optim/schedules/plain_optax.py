"""The schedule of optax's that one would take for a scheduler of torch's, with the same options."""

import inspect

import optax
from torch.optim import lr_scheduler


def step_lr(lr, step_size, gamma):
    return optax.exponential_decay(lr, step_size, gamma, staircase=True)


def multi_step_lr(lr, milestones, gamma):
    return optax.piecewise_constant_schedule(lr, dict.fromkeys(milestones, gamma))


def constant_lr(lr, factor, total_iters):
    return optax.piecewise_constant_schedule(lr * factor, {total_iters: 1 / factor})


def linear_lr(lr, start_factor, end_factor, total_iters):
    return optax.linear_schedule(lr * start_factor, lr * end_factor, total_iters)


def exponential_lr(lr, gamma):
    return optax.exponential_decay(lr, 1, gamma)


def polynomial_lr(lr, total_iters, power):
    return optax.polynomial_schedule(lr, 0.0, power, total_iters)


def cosine_annealing_lr(lr, T_max, eta_min):
    return optax.cosine_decay_schedule(lr, T_max, eta_min / lr)


def cosine_annealing_warm_restarts(lr, T_0, T_mult, eta_min):
    periods = [T_0 * T_mult**i for i in range(100) if T_0 * T_mult**i < 10_000]
    cosine = {"init_value": lr, "peak_value": lr, "warmup_steps": 0, "end_value": eta_min}
    return optax.sgdr_schedule([cosine | {"decay_steps": period} for period in periods])


def one_cycle_lr(lr, max_lr, total_steps, pct_start, anneal_strategy, div_factor, final_div_factor):
    by_strategy = {"cos": optax.cosine_onecycle_schedule, "linear": optax.linear_onecycle_schedule}
    return by_strategy[anneal_strategy](
        total_steps,
        max_lr,
        pct_start,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
    )


COUNTERPARTS = {
    "StepLR": step_lr,
    "MultiStepLR": multi_step_lr,
    "ConstantLR": constant_lr,
    "LinearLR": linear_lr,
    "ExponentialLR": exponential_lr,
    "PolynomialLR": polynomial_lr,
    "CosineAnnealingLR": cosine_annealing_lr,
    "CosineAnnealingWarmRestarts": cosine_annealing_warm_restarts,
    "OneCycleLR": one_cycle_lr,
}


def plain_schedule(torch_name, lr, options):
    """The schedule, or None where optax has none; torch's defaults are filled in."""
    if torch_name not in COUNTERPARTS:
        return None
    build = COUNTERPARTS[torch_name]
    theirs = inspect.signature(getattr(lr_scheduler, torch_name)).parameters
    defaults = {name: parameter.default for name, parameter in theirs.items()}
    wanted = inspect.signature(build).parameters
    return build(**{k: v for k, v in (defaults | options | {"lr": lr}).items() if k in wanted})
