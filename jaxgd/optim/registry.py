"""Every optimizer of torch.optim in one table; who needs to know them all, reads it here.

The functions by name, `from_torch` and `to_torch_state_dict`, `jaxgd check`, the tests against
torch and docs/torch-parity.md are loops over `REGISTRY`: one more optimizer is a rule and a row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import optax

from jaxgd.optim.adadelta_rule import adadelta
from jaxgd.optim.adafactor_rule import adafactor
from jaxgd.optim.adagrad_rule import adagrad
from jaxgd.optim.adam_rule import adam, adamw
from jaxgd.optim.adamax_rule import adamax
from jaxgd.optim.asgd_rule import asgd, eta_and_mu
from jaxgd.optim.lbfgs_rule import lbfgs
from jaxgd.optim.lion_rule import lion
from jaxgd.optim.muon_rule import muon
from jaxgd.optim.nadam_rule import nadam
from jaxgd.optim.radam_rule import radam
from jaxgd.optim.rmsprop_rule import rmsprop
from jaxgd.optim.rprop_rule import rprop
from jaxgd.optim.schedule_free_rule import schedule_free_adamw, schedule_free_sgd
from jaxgd.optim.sgd_rule import sgd
from jaxgd.optim.sparse_adam_rule import sparse_adam

Options: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """What is to be known of one optimizer.

    `torch_class` is its name in torch.optim, and `implied` what torch's groups say of it that is no
    option of `build`; `ours` are options that torch has not.

    The state: `buffers` are torch's for each parameter, and bear the same names in the state here;
    `carried` are numbers that torch has for each and we once. Torch `counts` its updates as a
    float32 tensor, as an int, or not at all, where the first is told by the missing buffer.
    `derived` gives what torch keeps besides and we compute, from (options, lr at the last update,
    step). `axes` tells whether the rule looks at them: "any" layout will do, a transposed matrix
    will ("exchanged"), or none but torch's ("fixed").

    The tests: `varied` has another value of each option that changes a number, and `needs` what
    such an option takes to be allowed or felt. `thorough` are options under which all of the state
    is in play. An optimizer that is compared along runs of its own has none. `checked` are the
    options of `jaxgd check`, None for a rule that rounding turns elsewhere. `note` is its line of
    the docs.
    """

    build: Callable[..., optax.GradientTransformation]
    torch_class: str
    buffers: tuple[str, ...]
    note: str
    carried: tuple[str, ...] = ()
    counts: Literal["float32", "int", "no"] = "float32"
    derived: Callable[[Options, float, int], dict[str, Any]] | None = None
    axes: Literal["any", "exchanged", "fixed"] = "any"
    implied: Options = field(default_factory=dict)
    ours: tuple[str, ...] = ()
    varied: Options = field(default_factory=dict)
    needs: Mapping[str, Options] = field(default_factory=dict)
    thorough: Options | None = None
    checked: Options | None = None


@dataclass(frozen=True)
class Published:
    """What is to be known of an optimizer that another package than torch has for PyTorch.

    `cls` is its class there. `varied` has another value of each option that changes a number.
    """

    build: Callable[..., optax.GradientTransformation]
    package: str
    cls: str
    note: str
    varied: Options


_DECAY = {"weight_decay": 0.1}
_ADAM = {"lr": 0.03, "betas": (0.8, 0.9999), "eps": 1e-3}
_MAXIMIZE = {"maximize": True}
_DECOUPLED = {"decoupled_weight_decay": True}
_NEEDS_DECAY = {"decoupled_weight_decay": _DECAY}

REGISTRY: Final[dict[str, Row]] = {
    "adadelta": Row(
        adadelta,
        "Adadelta",
        ("square_avg", "acc_delta"),
        "optax's without a learning rate ascends",
        varied={"lr": 0.3, "rho": 0.95, "eps": 1e-3} | _DECAY | _MAXIMIZE,
        thorough=_DECAY,
        checked={"lr": 1.0},
    ),
    "adafactor": Row(
        adafactor,
        "Adafactor",
        ("row_var", "col_var", "variance"),
        "factors the last two axes of every leaf that has them",
        axes="exchanged",
        varied={"lr": 0.3, "beta2_decay": -0.5, "eps": (1e-3, 0.1), "d": 2.0} | _DECAY | _MAXIMIZE,
        thorough={"weight_decay": 0.1, "eps": (1e-6, 1.0)},
    ),
    "adagrad": Row(
        adagrad,
        "Adagrad",
        ("sum",),
        "optax's starts the sum at 0.1 and has eps under the root",
        varied={"lr": 0.1, "lr_decay": 0.05, "initial_accumulator_value": 0.1, "eps": 1e-3}
        | _DECAY
        | _MAXIMIZE,
        thorough={"lr_decay": 0.05, "initial_accumulator_value": 1e-15},
        checked={"lr": 0.05},
    ),
    "adam": Row(
        adam,
        "Adam",
        ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
        "amsgrad takes the largest second moment before its correction, optax's after it",
        varied=_ADAM | _DECAY | {"amsgrad": True} | _MAXIMIZE | _DECOUPLED,
        needs=_NEEDS_DECAY,
        thorough=_DECAY | {"amsgrad": True},
        checked={"lr": 0.02, "weight_decay": 0.01},
    ),
    "adamax": Row(
        adamax,
        "Adamax",
        ("exp_avg", "exp_inf"),
        "as optax's",
        varied={"lr": 0.03, "betas": (0.99, 0.9), "eps": 1e-3} | _DECAY | _MAXIMIZE,
        thorough=_DECAY,
        checked={"lr": 0.02},
    ),
    "adamw": Row(
        adamw,
        "AdamW",
        ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
        "decays by 1e-2 unless told, optax's by 1e-4",
        implied=_DECOUPLED,
        varied=_ADAM | _DECAY | {"amsgrad": True} | _MAXIMIZE,
        thorough={},
        checked={"lr": 0.02},
    ),
    "asgd": Row(
        asgd,
        "ASGD",
        ("ax",),
        'the average is `optax.tree.get(state, "ax")`',
        derived=eta_and_mu,
        varied={"lr": 0.03, "lambd": 0.1, "alpha": 0.5, "t0": 50.0} | _DECAY | _MAXIMIZE,
        thorough={"weight_decay": 0.1, "lambd": 0.1, "t0": 0},
        checked={"lr": 0.05},
    ),
    "lbfgs": Row(
        lbfgs,
        "LBFGS",
        (),
        "evaluates the loss again within an update; `history_size` 100 is 202 times the parameters",
        counts="no",
        ours=("history_dtype",),
    ),
    "muon": Row(
        muon,
        "Muon",
        ("momentum_buffer",),
        "matrices only; iterates in bfloat16, so that one update is compared and no trajectory",
        counts="no",
        axes="fixed",
        ours=("ns_dtype",),
    ),
    "nadam": Row(
        nadam,
        "NAdam",
        ("exp_avg", "exp_avg_sq"),
        "its product of momenta is in float32, as torch's",
        carried=("mu_product",),
        varied=_ADAM | _DECAY | {"momentum_decay": 0.1} | _DECOUPLED | _MAXIMIZE,
        needs=_NEEDS_DECAY,
        thorough=_DECAY,
        checked={"lr": 0.02},
    ),
    "radam": Row(
        radam,
        "RAdam",
        ("exp_avg", "exp_avg_sq"),
        "torch's own scalars cancel to 1e-12; optax's adds eps after the correction",
        varied=_ADAM | {"betas": (0.8, 0.99)} | _DECAY | _DECOUPLED | _MAXIMIZE,
        needs=_NEEDS_DECAY,
        thorough=_DECAY,
        checked={"lr": 0.02},
    ),
    "rmsprop": Row(
        rmsprop,
        "RMSprop",
        ("square_avg", "grad_avg", "momentum_buffer"),
        "eps outside the root, the learning rate after the momentum: optax's is the other way",
        varied={"lr": 0.03, "alpha": 0.9, "eps": 1e-3}
        | _DECAY
        | {"momentum": 0.9, "centered": True}
        | _MAXIMIZE,
        thorough={"weight_decay": 0.1, "momentum": 0.9, "centered": True},
        checked={"lr": 0.005},
    ),
    "rprop": Row(
        rprop,
        "Rprop",
        ("prev", "step_size"),
        "bit for bit",
        varied={"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.05)} | _MAXIMIZE,
        thorough={"step_sizes": (1e-3, 0.02)},
    ),
    "sgd": Row(
        sgd,
        "SGD",
        ("momentum_buffer",),
        "the first gradient enters the buffer undamped",
        counts="no",
        varied={"lr": 0.03, "momentum": 0.9, "dampening": 0.5}
        | _DECAY
        | {"nesterov": True}
        | _MAXIMIZE,
        needs={"dampening": {"momentum": 0.9}, "nesterov": {"momentum": 0.9}},
        thorough={"weight_decay": 0.1, "momentum": 0.9, "dampening": 0.5},
        checked={"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    "sparse_adam": Row(
        sparse_adam,
        "SparseAdam",
        ("exp_avg", "exp_avg_sq"),
        "moves the rows that a gradient touches",
        counts="int",
        axes="fixed",
        varied=_ADAM | _MAXIMIZE,
        thorough={},
    ),
}

_FREE = {"weight_decay": 0.1, "warmup_steps": 7, "r": 1.0, "weight_lr_power": 1.0}

# Beside torch.optim: known by name, and compared with the package that has them.
PUBLISHED: Final[dict[str, Published]] = {
    "lion": Published(
        lion,
        "lion_pytorch",
        "Lion",
        "the sign of an average",
        {"lr": 1e-3, "betas": (0.8, 0.95), "weight_decay": 0.1},
    ),
    "schedule_free_adamw": Published(
        schedule_free_adamw,
        "schedulefree",
        "AdamWScheduleFree",
        "the answer is `optim.averaged_params(params, state, betas[0])`",
        {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3} | _FREE,
    ),
    "schedule_free_sgd": Published(
        schedule_free_sgd,
        "schedulefree",
        "SGDScheduleFree",
        "the answer is `optim.averaged_params(params, state, momentum)`",
        {"lr": 0.1, "momentum": 0.8} | _FREE,
    ),
}
