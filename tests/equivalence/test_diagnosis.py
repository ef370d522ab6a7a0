"""What a diagnosis says, when it keeps silent, and what it refuses: synthetic runs in NumPy."""

import numpy as np
import pytest
from ml_dtypes import bfloat16

from jaxgd.equivalence import Recipe, Update, diagnose
from tests.equivalence.runs import momentum_run

RECIPE = Recipe("sgd", lr=0.1, momentum=0.9)


def changed(recording, at, **stages):
    """The recording with some stages of one update changed."""
    replaced = recording[at]._replace(**stages)
    return [*recording[:at], replaced, *recording[at + 1 :]]


def test_the_same_training_is_not_accused():
    found = diagnose(momentum_run(), momentum_run(jitter=1), RECIPE)
    assert found.update is None
    assert str(found) == "Nothing parts: every stage is the same, to rounding."


def test_the_text_of_a_diagnosis():
    # Numbers exact in binary: two updates of 8 entries, each by a quarter of the gradient.
    gradient, start = np.arange(1.0, 9.0), np.zeros(8)
    expected = [
        Update(
            {"w": start - 0.25 * t * gradient},
            {"w": gradient.copy()},
            {"w": start - 0.25 * (t + 1) * gradient},
        )
        for t in range(2)
    ]
    actual = [
        Update({"w": 2 * u.params["w"]}, {"w": gradient.copy()}, {"w": 2 * u.updated["w"]})
        for u in expected
    ]
    found = diagnose(actual, expected, Recipe("sgd", lr=0.25))
    assert str(found).splitlines() == [
        "The trainings part in update 1.",
        "Stage: parameters.",
        "Cause: the learning rate is 2 times as large.",
        "  0 x rounding is left by: the learning rate is 2 times as large",
        "  5e+11 x rounding is left by: momentum is 1",
        "  5e+11 x rounding is left by: the recipe as it is",
        "Under SGD the gradient, scaled by as much after it was recorded, makes the same steps.",
    ]


@pytest.mark.parametrize("factor", [1.9, 0.1])
def test_one_update_cannot_tell_a_factor_from_what_acts_like_one(factor):
    """Nesterov's first step is 1.9 times as large, and so is that of such a learning rate."""
    expected = momentum_run(updates=1)
    actual = momentum_run(updates=1, learning_rate=0.1 * factor)
    found = diagnose(actual, expected, RECIPE)
    assert (found.update, found.stage) == (1, "parameters")
    assert found.cause == (
        "unknown" if factor == 1.9 else "the learning rate is 0.1 times as large"
    )


def test_a_single_number_is_no_evidence_of_a_factor():
    def run(learning_rate):
        return [Update(np.ones(1), np.ones(1), np.ones(1) - learning_rate)]

    assert diagnose(run(0.3), run(0.1), Recipe("sgd", lr=0.1)).cause == "unknown"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_fault_without_a_name_gets_none(dtype):
    """Learning rates that are off by other factors in every entry, from 1e-5 to 1."""
    rng, expected = np.random.default_rng(0), momentum_run(dtype)
    stages = []
    for size in np.logspace(-5, 0, 12):
        rates = 0.1 * (1 + size * rng.uniform(-1, 1, 8))
        found = diagnose(momentum_run(dtype, learning_rate=rates), expected, RECIPE)
        assert found.cause == "unknown", str(found)
        stages.append(found.stage)
    assert set(stages) <= {"parameters", None}
    assert stages.count("parameters") >= 9


def test_a_fault_of_the_gradient_is_not_put_on_the_optimizer():
    expected = momentum_run()
    actual = momentum_run(tilt_from=5)
    for recipe in (RECIPE, None):
        found = diagnose(actual, expected, recipe)
        assert (found.update, found.stage, found.cause) == (5, "gradient", "unknown")


def test_a_small_fault_of_the_optimizer_is_not_put_on_the_gradient():
    """In float32 the gradient may part first; without the recipe the stage is unknown, then."""
    expected = momentum_run(np.float32, learning_rate=0.01)
    actual = momentum_run(np.float32, learning_rate=0.01 * (1 + 1e-4))
    found = diagnose(actual, expected, Recipe("sgd", lr=0.01, momentum=0.9))
    assert found.stage == "parameters"
    assert found.cause in ("the learning rate is 1.0001 times as large", "unknown")
    assert diagnose(actual, expected).stage in ("parameters", "unknown")


def test_without_a_recipe_the_optimizer_is_still_found():
    found = diagnose(momentum_run(learning_rate=0.2), momentum_run())
    assert (found.update, found.stage, found.cause) == (1, "parameters", "unknown")
    assert "Give the recipe" in str(found)


def test_a_recipe_that_is_not_the_expected_sides_names_nothing():
    found = diagnose(
        momentum_run(learning_rate=0.2), momentum_run(), Recipe("sgd", lr=0.3, momentum=0.9)
    )
    assert (found.stage, found.cause) == ("parameters", "unknown")
    assert "does not give the expected side's steps" in str(found)


def test_the_state_of_the_optimizer_comes_before_the_parameters():
    expected = [u._replace(opt_state={"buffer": u.params["w"] * 3}) for u in momentum_run()]
    actual = [
        u._replace(opt_state={"buffer": u.params["w"] * 4}) for u in momentum_run(learning_rate=0.2)
    ]
    assert diagnose(actual, expected, RECIPE).stage == "optimizer state"


def test_each_recorded_stage_is_found():
    expected = [
        u._replace(outputs=u.gradient["w"], loss=float(i)) for i, u in enumerate(momentum_run())
    ]
    outputs = expected[3].outputs + 0.1
    assert diagnose(changed(expected, 3, outputs=outputs), expected).stage == "forward"
    assert diagnose(changed(expected, 3, loss=7.0), expected).stage == "loss"
    forward = diagnose(changed(expected, 3, outputs=outputs, loss=7.0), expected)
    assert (forward.update, forward.stage) == (4, "forward")


def test_rows_may_lie_in_any_order_in_a_batch():
    rng = np.random.default_rng(0)
    batches = [rng.permutation(30)[:6] for _ in momentum_run()]
    expected = [
        u._replace(batch=b, outputs=b * 0.5) for u, b in zip(momentum_run(), batches, strict=True)
    ]
    actual = [u._replace(batch=u.batch[::-1], outputs=u.outputs[::-1]) for u in expected]
    assert diagnose(actual, expected).update is None
    other = changed(expected, 4, batch=expected[4].batch + 1)
    found = diagnose(other, expected)
    assert (found.update, found.stage, found.cause) == (5, "batch", "unknown")


def test_batches_and_outputs_are_pytrees_whose_keys_come_in_any_order():
    rng = np.random.default_rng(0)
    batches = [{"x": rng.normal(size=(6, 2)), "y": rng.permutation(6)} for _ in momentum_run()]
    expected = [
        u._replace(batch=b, outputs=(b["x"], {"logits": b["y"] * 0.5}), loss=float(i))
        for i, (u, b) in enumerate(zip(momentum_run(), batches, strict=True))
    ]
    actual = [
        u._replace(
            batch={"y": u.batch["y"][::-1], "x": u.batch["x"][::-1]},
            outputs=[u.outputs[0][::-1], {"logits": u.outputs[1]["logits"][::-1]}],
        )
        for u in expected
    ]
    assert diagnose(actual, expected).update is None
    wrong = (expected[2].outputs[0], {"logits": expected[2].outputs[1]["logits"] + 1})
    found = diagnose(changed(expected, 2, outputs=wrong), expected)
    assert (found.update, found.stage) == (3, "forward")
    scaled = [
        u._replace(loss=18 * u.loss + 18, gradient={"w": 18 * u.gradient["w"]}) for u in actual
    ]
    found = diagnose(scaled, [u._replace(loss=u.loss + 1) for u in expected])
    over_both = "summed over the batch and the outputs, not averaged"  # 6 rows of 2 + 1 numbers
    assert (found.stage, found.cause) == ("loss", over_both)


def test_a_factor_of_the_gradient_is_named_if_it_is_one():
    run = momentum_run(np.float32)
    tripled = [u._replace(gradient={"w": 3 * u.gradient["w"]}) for u in run]
    assert diagnose(tripled, run).cause == "the gradient is 3 times as large"
    for factor in (3.0, 1 + 1e-5):
        uneven = (1 + (factor - 1) * np.linspace(0.5, 1.5, 8)).astype(np.float32)
        varied = [u._replace(gradient={"w": uneven * u.gradient["w"]}) for u in run]
        found = diagnose(varied, run)
        assert (found.stage, found.cause) in [("gradient", "unknown"), (None, "unknown")]


def test_another_batch_size_is_named():
    rows = np.random.default_rng(0).permutation(24)
    run = momentum_run()
    expected = [u._replace(batch=b) for u, b in zip(run, np.split(rows, 4), strict=False)]
    actual = [u._replace(batch=b) for u, b in zip(run, np.split(rows, 6), strict=False)]
    found = diagnose(actual, expected)
    assert (found.update, found.stage, found.cause) == (1, "batch", "the batch size is 4, not 6")
    other = [u._replace(batch=b + 1) for u, b in zip(run, np.split(rows, 6), strict=False)]
    assert diagnose(other, expected).cause == "unknown"


def test_a_frozen_parameter_has_no_gradient_or_zeros():
    def frozen(recording, gradient):
        still = np.ones(2)
        return [
            u._replace(
                params=u.params | {"frozen": still},
                updated=u.updated | {"frozen": still},
                gradient=u.gradient | gradient,
            )
            for u in recording
        ]

    none = frozen(momentum_run(), {})
    for other in ({"frozen": None}, {"frozen": np.zeros(2)}):
        assert diagnose(none, frozen(momentum_run(jitter=1), other), RECIPE).update is None
    faster = diagnose(frozen(momentum_run(learning_rate=0.2), {}), none, RECIPE)
    assert faster.cause == "the learning rate is 2 times as large"


def test_outputs_are_compared_in_the_coarser_precision():
    expected = [u._replace(outputs=u.gradient["w"].astype(bfloat16)) for u in momentum_run()]
    actual = [u._replace(outputs=u.gradient["w"].astype(np.float32)) for u in momentum_run()]
    assert diagnose(actual, expected).update is None
    found = diagnose(changed(actual, 3, outputs=actual[3].outputs * 2), expected)
    assert (found.update, found.stage) == (4, "forward")


def test_recorded_in_lockstep_every_update_starts_from_the_same_state():
    """A fault in one update does not reach the next: it is found where it is."""
    expected = momentum_run()
    wrong = {"w": expected[9].updated["w"] + 0.01}
    found = diagnose(changed(expected, 9, updated=wrong), expected, RECIPE)
    assert (found.update, found.stage, found.cause) == (10, "parameters", "unknown")


@pytest.mark.filterwarnings("error")
def test_a_run_that_diverges_is_diagnosed_without_a_warning():
    with np.errstate(over="ignore", invalid="ignore"):
        actual, expected = (momentum_run(np.float32, learning_rate=r) for r in (1e9, 0.1))
    found = diagnose(actual, expected, RECIPE)
    assert (found.update, found.stage) == (1, "parameters")


def test_what_is_refused():
    run, faster = momentum_run(), momentum_run(learning_rate=0.2)
    with pytest.raises(ValueError, match="at least one update; got 0 and 30"):
        diagnose([], run)
    with pytest.raises(ValueError, match=r"got 29 and 30 updates\. Record Update\.batch"):
        diagnose(run[:29], run)
    with pytest.raises(ValueError, match=r"rule must be one of adadelta, adafactor.*got 'lamb'"):
        Recipe("lamb", lr=0.1)
    with pytest.raises(ValueError, match="one learning rate for each of 30 updates; got 3"):
        diagnose(faster, run, Recipe("sgd", lr=[0.1] * 3))
    rows = [u._replace(batch=np.arange(6)) for u in run]
    arrays = [u._replace(batch=np.zeros((6, 2))) for u in run]
    with pytest.raises(
        ValueError, match=r"recorded alike .* 1 numbers in actual and 2 in expected"
    ):
        diagnose(rows, arrays)
    flat = [u._replace(gradient={"w": u.gradient["w"][:4]}) for u in run]
    with pytest.raises(ValueError, match="same leaves in the same shapes"):
        diagnose(
            [u._replace(gradient=f.gradient) for u, f in zip(faster, flat, strict=True)],
            flat,
            RECIPE,
        )
