"""Recipes give the steps of real optimizers, to rounding, and not those of nearly the same."""

import json
from functools import cache, partial

import numpy as np
import optax
import optax.contrib
import pytest
import torch

from jaxgd.equivalence import Recipe, Update, diagnose
from jaxgd.equivalence.diagnosis.explanation import explain
from jaxgd.equivalence.recordings.optimizer_view import moves
from jaxgd.equivalence.rule.following import follows
from tests.equivalence import setting_faults as faults
from tests.equivalence.trainings import jax_training, torch_training

TORCH = {
    "NAdam": (
        partial(torch.optim.NAdam, lr=0.02, weight_decay=0.1, decoupled_weight_decay=True),
        Recipe("nadam", 0.02, options={"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ),
    "RAdam": (partial(torch.optim.RAdam, lr=0.02), Recipe("radam", 0.02)),
    "Adamax": (partial(torch.optim.Adamax, lr=0.02), Recipe("adamax", 0.02)),
    "Adadelta": (partial(torch.optim.Adadelta, lr=1.0), Recipe("adadelta", 1.0)),
    "ASGD": (
        partial(torch.optim.ASGD, lr=0.1, lambd=0.01),
        Recipe("asgd", 0.1, options={"lambd": 0.01}),
    ),
    "Adafactor": (partial(torch.optim.Adafactor, lr=0.1), Recipe("adafactor", 0.1)),
    "Rprop": (partial(torch.optim.Rprop, lr=0.01), Recipe("rprop", 0.01)),
    "AMSGrad": (
        partial(torch.optim.Adam, lr=0.02, amsgrad=True),
        Recipe("adam", 0.02, amsgrad=True),
    ),
    "AdamW": (partial(torch.optim.AdamW, lr=0.02), Recipe("adamw", 0.02)),
    "two groups": (
        faults.grouped(
            torch.optim.AdamW, vectors={"weight_decay": 0.0, "lr": 0.01}, lr=0.02, weight_decay=0.1
        ),
        Recipe(
            "adam", 0.02, weight_decay=0.1, decoupled=True,
            groups={"*.bias": {"weight_decay": 0.0, "lr": 0.01}},
        ),
    ),
    "a frozen head": (
        faults.frozen_head,
        Recipe("sgd", 0.05, momentum=0.9, groups={"output.*": {"frozen": True}}),
    ),
}  # fmt: skip

OPTAX = {
    "Lion": (partial(optax.lion, 0.002, weight_decay=0.1),
             Recipe("lion", 0.002, weight_decay=0.1, decoupled=True)),
    "schedule-free AdamW": (
        partial(optax.contrib.schedule_free_adamw, 0.02, weight_decay=0.1),
        Recipe("schedule_free_adamw", 0.02, weight_decay=0.1),
    ),
    "optax.amsgrad": (
        partial(optax.amsgrad, 0.02), Recipe("adam", 0.02, amsgrad=True, largest_corrected=True)
    ),
}  # fmt: skip


@cache
def recorded(name, dtype):
    if name in TORCH:
        return moves(torch_training(dtype, TORCH[name][0]))
    return moves(jax_training(dtype, OPTAX[name][0]()))


# Each recipe in one precision; `-m exhaustive` takes the other.
ONCE = [
    pytest.param(name, dtype, marks=() if (at + i) % 2 else pytest.mark.exhaustive)
    for at, name in enumerate([*TORCH, *OPTAX])
    for i, dtype in enumerate([np.float32, np.float64])
]


@pytest.mark.parametrize(("name", "dtype"), ONCE)
def test_a_recipe_gives_an_optimizers_steps(name, dtype):
    recipe = (TORCH | OPTAX)[name][1]
    assert follows(recipe, recorded(name, dtype))
    faster = {**recipe.__dict__, "lr": recipe.lr * 1.001}
    assert not follows(Recipe(**faster), recorded(name, dtype))


def test_a_larger_rate_of_a_registered_rule_is_named():
    """Adafactor looks at whole leaves."""
    found, _ = explain(
        Recipe("adafactor", 0.1),
        moves(torch_training(np.float64, partial(torch.optim.Adafactor, lr=0.11))),
    )
    assert found == "the learning rate is 1.1 times as large"


def test_lions_second_beta_may_be_adams():
    steps = moves(jax_training(np.float64, optax.lion(0.002, b2=0.999, weight_decay=0.0)))
    assert follows(Recipe("lion", 0.002, betas=(0.9, 0.999)), steps)
    assert Recipe("lion", 0.002).betas == (0.9, 0.99)
    _, tried = explain(Recipe("lion", 0.002), steps)  # the first beta at .5 takes the same signs
    assert "the second beta is 0.999" in [e.name for e in tried if e.misfit <= 1]


def test_a_recipe_comes_back_from_json():
    """Whose lists cannot be hashed: the registry's program is kept by its options."""
    given = {"rule": "nadam", "lr": 0.02, "options": {"betas": (0.9, 0.999), "weight_decay": 0.1},
             "groups": {"*.bias": {"options": {"betas": (0.8, 0.9)}}}}  # fmt: skip
    read = Recipe(**json.loads(json.dumps(given)))
    assert read == Recipe(**given)
    assert not follows(read, recorded("NAdam", np.float64))
    assert Recipe("lion", 0.1, betas=[0.9, 0.5]).betas == (0.9, 0.5)


def test_a_groups_options_are_added_to_the_recipes():
    recipe = Recipe(
        "nadam", 0.1, options={"weight_decay": 0.1, "eps": 1e-6},
        groups={"*.bias": {"options": {"weight_decay": 0.0}}},
    )  # fmt: skip
    assert recipe.at("head.bias").options == {"weight_decay": 0.0, "eps": 1e-6}


def test_a_group_may_have_another_rule_which_reads_its_own():
    recipe = Recipe(
        "adam", 0.02, betas=(0.8, 0.9), weight_decay=0.1,
        groups={"*.weight": {"rule": "muon", "lr": 0.1}, "*.scale": {"rule": "lion"}},
    )  # fmt: skip
    assert recipe.at("head.weight") == Recipe("muon", 0.1)
    assert recipe.at("head.scale") == Recipe("lion", 0.02, betas=(0.8, 0.9), weight_decay=0.1)
    assert Recipe("adam", 0.02).of_rule("lion").betas == (0.9, 0.99)


def matrix_run(**options):
    """torch.optim.Muon along gradients of a matrix that are given."""
    rng = np.random.default_rng(0)
    w = torch.nn.Parameter(torch.tensor(rng.normal(size=(6, 4)), dtype=torch.float32))
    optimizer, recording = torch.optim.Muon([w], **options), []
    for gradient in rng.normal(size=(12, 6, 4)).astype(np.float32):
        before, w.grad = w.detach().clone(), torch.tensor(gradient)
        optimizer.step()
        recording.append(Update({"w": before}, {"w": gradient}, {"w": w.detach().clone()}))
    return moves(recording)


def test_muon_iterates_in_bfloat16_of_which_a_recipe_takes_account():
    recipe = Recipe("muon", 0.1, options={"weight_decay": 0.0})
    assert follows(recipe, matrix_run(lr=0.1, weight_decay=0.0))
    faster = matrix_run(lr=0.15, weight_decay=0.0)
    assert not follows(recipe, faster)
    name, _ = explain(recipe, faster)
    assert name is None or name.startswith("the learning rate is 1.5")


def test_accumulated_gradients_are_told_where_they_were_recorded():
    """The gradient that is recorded is the sum itself."""
    expected = torch_training(np.float64, faults.MOMENTUM, micro_batches=2)
    summed = [u._replace(gradient=faults.added(u.parts)) for u in expected]
    recipe = Recipe("sgd", 0.05, momentum=0.9)
    found = diagnose(summed, expected, recipe)
    assert found.cause == "the gradients of 2 micro-batches are added up, not averaged"
    bare = [[u._replace(parts=None) for u in side] for side in (summed, expected)]
    found = diagnose(*bare, recipe)
    assert found.cause == "the gradient is 2 times as large"
    assert "2 micro-batches give whose gradients are added up" in str(found)


def test_a_schedule_is_a_function_of_how_often_it_was_stepped():
    recipe = Recipe("sgd", lambda count: 0.5**count, stepped_every=3)
    np.testing.assert_array_equal(recipe.rates(7), [1, 1, 1, 0.5, 0.5, 0.5, 0.25])
    table = Recipe("sgd", [1.0, 1.0, 0.5, 0.5], stepped_every=2)
    np.testing.assert_array_equal(table.stepped(1, 2).rates(2), [1.0, 0.5])
    assert table.stepped(1, 4) is None  # a later step than the table holds


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"rule must be one of .*sgd; got 'lbfgs'"):
        Recipe("lbfgs", 0.1)
    with pytest.raises(ValueError, match=r"options must be nadam's own, .*; got alpha"):
        Recipe("nadam", 0.1, options={"alpha": 0.9})
    with pytest.raises(ValueError, match=r"options are those of a rule of the registry; got .*sgd"):
        Recipe("sgd", 0.1, options={"momentum": 0.9})
    with pytest.raises(ValueError, match=r"A group changes fields of the recipe; got rate for 'a'"):
        Recipe("sgd", 0.1, groups={"a": {"rate": 0.1}})
    with pytest.raises(ValueError, match=r"nadam reads its own .* fields betas, weight_decay,"):
        Recipe("nadam", 1e-3, weight_decay=0.1, betas=(0.5, 0.9))
    with pytest.raises(ValueError, match=r"nadam reads its own .* the fields weight_decay, which"):
        Recipe("nadam", 1e-3, groups={"*.bias": {"weight_decay": 0}})
    with pytest.raises(ValueError, match="stepped_every is a number of updates, at least 1; got 0"):
        Recipe("sgd", 0.1, stepped_every=0)
    with pytest.raises(ValueError, match=r"'head\.\*' fits none of hidden\.bias"):
        explain(
            Recipe("sgd", 0.1, groups={"head.*": {"lr": 1.0}}),
            recorded("a frozen head", np.float64),
        )
