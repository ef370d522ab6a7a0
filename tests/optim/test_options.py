"""Bad options: torch's rule, as an error that names the rule, the value and the remedy."""

import jax
import jax.numpy as jnp
import pytest

from jaxgd import optim
from jaxgd.optim.options import check_pair

BAD = [
    ("sgd", {"lr": -1.0}, "lr must be finite and at least 0; got lr=-1. Use maximize=True"),
    ("sgd", {"momentum": -0.5}, "momentum must be finite and at least 0; got momentum=-0.5."),
    ("sgd", {"weight_decay": -1}, "weight_decay must be finite and at least 0"),
    ("sgd", {"nesterov": True}, "nesterov must have a momentum and no dampening; got momentum=0"),
    (
        "sgd",
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
        "got momentum=0.9, dampening=0.1. Use momentum=0.9, dampening=0.",
    ),
    ("adam", {"betas": (1.0, 0.999)}, r"betas\[0\] must be in \[0, 1\); got betas\[0\]=1."),
    ("adam", {"betas": (0.9, -0.1)}, r"betas\[1\] must be in \[0, 1\); got betas\[1\]=-0.1."),
    ("adam", {"eps": -1e-8}, "eps must be finite and at least 0; got eps=-1e-08. Use eps=0"),
    ("adamw", {"weight_decay": -1.0}, "weight_decay must be finite and at least 0"),
    ("adamax", {"betas": (0.9, 1.0)}, r"betas\[1\] must be in \[0, 1\)"),
    ("nadam", {"momentum_decay": -0.2}, "momentum_decay must be finite and at least 0"),
    ("radam", {"eps": -1.0}, "eps must be finite and at least 0"),
    ("adagrad", {"lr_decay": -0.5}, "lr_decay must be finite and at least 0; got lr_decay=-0.5."),
    ("adagrad", {"initial_accumulator_value": -1.0}, "initial_accumulator_value must be finite"),
    ("adadelta", {"rho": 1.1}, r"rho must be in \[0, 1\]; got rho=1.1."),
    ("rmsprop", {"alpha": -1.0}, "got alpha=-1. torch's default is alpha=0.99."),
    ("rmsprop", {"momentum": -1.0}, "momentum must be finite and at least 0"),
    ("rprop", {"etas": (1.0, 1.2)}, r"etas\[0\] must be in \(0, 1\); got etas\[0\]=1."),
    ("rprop", {"etas": (0.5, 1.0)}, r"etas\[1\] must be above 1; got etas\[1\]=1."),
]


@pytest.mark.parametrize(("optimizer", "options", "message"), BAD)
def test_a_bad_option_names_the_rule_the_value_and_the_remedy(optimizer, options, message):
    with pytest.raises(ValueError, match=message):
        optim.by_name(optimizer)(**options)


DENSE = ["adadelta", "adagrad", "adam", "adamax", "adamw", "nadam", "radam", "rmsprop", "rprop"]


@pytest.mark.parametrize("optimizer", [*DENSE, "sgd"])
@pytest.mark.parametrize("lr", [-1e-3, float("nan"), float("inf"), jnp.array(-1.0)])
def test_no_optimizer_takes_a_negative_or_nonfinite_lr(optimizer, lr):
    with pytest.raises(ValueError, match="lr must be finite and at least 0"):
        optim.by_name(optimizer)(lr=lr)


def test_an_lr_of_many_numbers_is_refused():
    with pytest.raises(ValueError, match=r"lr must be a scalar; got the shape \(2,\)"):
        optim.sgd(lr=jnp.array([0.1, 0.2]))


def test_a_string_for_a_number_is_refused():
    with pytest.raises(TypeError):
        optim.sgd(lr="0.1")


@pytest.mark.parametrize("pair", [0.9, (0.9,), "ab", jnp.ones(2)])
def test_a_pair_must_be_two(pair):
    with pytest.raises(TypeError, match=r"betas must be two numbers; got betas=.*torch's default"):
        check_pair("betas", pair, "torch's default is betas=(0.9, 0.999).")


@pytest.mark.parametrize("optimizer", [optim.adam, optim.lbfgs])
@pytest.mark.parametrize("leaf", [jnp.ones(2, jnp.int32), jnp.ones(2, jnp.complex64)])
def test_integer_and_complex_parameters_are_refused(leaf, optimizer):
    with pytest.raises(
        TypeError, match=r"params must be real and floating; got .* at params\['w'\]"
    ):
        optimizer().init({"w": leaf})


def test_lbfgs_refuses_two_precisions():
    with pytest.raises(TypeError, match=r"one dtype for lbfgs; got bfloat16, float32\. Convert"):
        optim.lbfgs().init({"a": jnp.ones(2), "b": jnp.ones(2, jnp.bfloat16)})


def test_decoupled_decay_asks_for_the_parameters():
    tx = optim.adamw()
    grads = {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match="not passing `params`"):
        tx.update(grads, tx.init(grads))


@pytest.mark.parametrize("optimizer", ["lbfgs"])
def test_a_rule_that_reads_the_parameters_asks_for_them(optimizer):
    tx, grads = optim.by_name(optimizer)(), {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match=r"update must be given the params.*Use optimizer\.update"):
        tx.update(grads, tx.init(grads))


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(ValueError, match=r"one of adadelta, .*; got 'AdamWW'. Use 'adamw'?"):
        optim.by_name("AdamWW")


def test_a_traced_option_has_no_value_to_check():
    jax.jit(lambda lr: optim.sgd(lr, momentum=lr).init(jnp.ones(2)))(-1.0)
