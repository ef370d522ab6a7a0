"""A run's own rounding as the tolerance, and chaotic runs known for what they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd.equivalence import assert_equivalent, calibrate, compare
from jaxgd.equivalence.comparison.growth_rate import tenfold_time
from tests.equivalence.runs import DECADE_OF_CHAOS, chaos, descent
from tests.tolerances import CHAOTIC_RATE

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def calibrated_descent(**settings):
    return calibrate(lambda dtype: descent(dtype.type, **settings))


@DTYPES
@pytest.mark.parametrize(("learning_rate", "seed"), [(0.5, 0), (0.02, 1)])
def test_an_honest_pair_passes_and_small_faults_do_not(dtype, seed, learning_rate):
    settings = {"seed": seed, "learning_rate": learning_rate}
    calibration = calibrated_descent(**settings)
    expected = descent(dtype, **settings)
    assert_equivalent(descent(dtype, **settings, jitter=1), expected, calibration)
    smallest = 1e-4 if dtype is np.float32 else 1e-12
    settings["learning_rate"] *= 1 + smallest
    with pytest.raises(AssertionError, match=r"Allowed: 8 times what its own rounding does"):
        assert_equivalent(descent(dtype, **settings), expected, calibration)


def test_the_yardstick_of_float32_fits_float64():
    """Scaled by the epsilons it is neither too small for honest rounding nor far too large."""
    calibration = calibrated_descent(learning_rate=0.5)
    expected = descent(np.float64, learning_rate=0.5)
    report = compare(descent(np.float64, learning_rate=0.5, jitter=1), expected, calibration)
    used = max(leaf.times_allowed.max() for leaf in report.leaves)
    assert 1e-3 < used < 1


@DTYPES
def test_a_chaotic_run_proves_nothing_past_the_update_at_which_its_digits_are_gone(dtype):
    calibration = calibrate(lambda dtype: chaos(dtype.type))
    assert calibration.tenfold_time == pytest.approx(DECADE_OF_CHAOS, rel=CHAOTIC_RATE)
    eps = np.finfo(dtype).eps
    with pytest.raises(AssertionError) as failure:
        assert_equivalent(chaos(dtype, perturbed=eps / 4), chaos(dtype), calibration)
    report = compare(chaos(dtype, perturbed=eps / 4), chaos(dtype), calibration)
    assert str(failure.value) == "\n".join(
        [
            f"Nothing can be proven past update {report.provable_until} of 200.",
            f"Rounding grows by 10x every {calibration.tenfold_time:.3g} updates: "
            "the run is chaotic.",
            f"Compare until={report.provable_until}, or lower the learning rate.",
            "Allowed: 8 times what its own rounding does to the reference (float32 against "
            "float64), plus 8 roundings of the leaf's scale.",
        ]
    )
    # 8 multiples times 10 for luck may be what is to be resolved of the distance.
    digits_above_the_allowance = np.log10(report.resolves / (80 * eps))
    assert report.provable_until == pytest.approx(
        digits_above_the_allowance * calibration.tenfold_time, rel=CHAOTIC_RATE
    )
    assert_equivalent(
        chaos(dtype, perturbed=eps / 4), chaos(dtype), calibration, until=report.provable_until
    )


@DTYPES
def test_a_fault_in_a_chaotic_run_shows_while_something_can_be_proven(dtype):
    calibration = calibrate(lambda dtype: chaos(dtype.type))
    report = compare(chaos(dtype, rate=3.9 * (1 + 1e-4)), chaos(dtype), calibration)
    assert (report.verdict, report.parted_at) == ("parted", 1)


def test_a_training_with_too_large_a_learning_rate_is_chaotic():
    """Gradient descent on a quartic valley, real JAX, past the edge of stability."""

    def run(dtype, learning_rate=0.9):
        with jax.enable_x64(True):
            start = jnp.linspace(0.2, 0.9, 5, dtype=dtype)

            def update(w, _):
                gradient = jax.grad(lambda w: jnp.sum((w**2 - 1) ** 2) / 4)(w)
                w = w - jnp.asarray(learning_rate, dtype) * gradient
                return w, w

            walk = jax.lax.scan(update, start, length=200)[1]
            return {"w": np.concatenate([start[None], walk])}

    tame = calibrate(lambda dtype: run(dtype, learning_rate=0.3))
    assert tame.tenfold_time is None
    f32 = np.dtype(np.float32)
    assert compare(run(f32, 0.3), run(f32, 0.3), tame).verdict == "equivalent"
    wild = calibrate(lambda dtype: run(dtype, learning_rate=1.6))
    assert wild.tenfold_time is not None
    report = compare(run(f32, 1.6), run(f32, 1.6), wild, resolves=0.1)
    assert report.verdict == "unproven"
    assert 10 < report.provable_until < 100


def test_growth_tells_exponential_from_what_adds_up():
    t = np.arange(200.0)
    assert tenfold_time(1e-12 * 10 ** (t / 25)) == pytest.approx(25)
    assert tenfold_time(np.minimum(1e-9 * 10 ** (t / 7), 1.0)) == pytest.approx(7)
    for adds_up in (1e-7 * t, 1e-8 * t**2, 1e-7 * np.sqrt(t), np.full(200, 1e-7), 0 * t):
        assert tenfold_time(adds_up) is None


def test_a_leaf_of_pure_rounding_does_not_spoil_the_proof():
    def run(dtype):
        rng = np.random.default_rng(int(dtype.itemsize))  # another noise in every precision
        noise = np.cumsum(rng.normal(size=(201, 1)), axis=0)
        return {"w": np.stack([e["w"] for e in descent(dtype.type)]), "b": noise.astype(dtype)}

    f32 = np.dtype(np.float32)
    assert compare(run(f32), run(f32), calibrate(run)).verdict == "equivalent"


def test_what_a_calibration_cannot_judge_is_named():
    calibration = calibrated_descent(updates=20)
    run = descent(np.float32, updates=20)
    longer = descent(np.float32, updates=21)
    with pytest.raises(ValueError, match=r"'w' has 22 entries here and .* have {'w': 21, 'b': 21}"):
        compare(longer, descent(np.float32, updates=21), calibration)
    renamed = [{"v": entry["w"]} for entry in run]
    with pytest.raises(ValueError, match=r"'v' has 21 entries here.*Calibrate with a run"):
        compare(renamed, list(renamed), calibration)
    with pytest.raises(ValueError, match=r"same leaves and updates in every dtype; got \['b', 'w'"):
        calibrate(lambda dtype: descent(dtype.type, updates=dtype.itemsize))
    with pytest.raises(
        TypeError, match=r"'w' is float32\[201, 8\] in run\(float64\)\. In JAX, run un"
    ):
        calibrate(lambda dtype: descent(np.float32))
    with pytest.raises(ValueError, match=r"multiple is positive; got 0\. Use 8"):
        calibrate(lambda dtype: descent(dtype.type), multiple=0)
