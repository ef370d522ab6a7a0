"""Honest pairs pass, faults are found where they happen, and what proves nothing is not a proof."""

import re
from dataclasses import asdict

import numpy as np
import pytest
from ml_dtypes import bfloat16

from jaxgd.equivalence import FixedTolerance, assert_equivalent, compare
from jaxgd.equivalence.comparison import walk
from tests.equivalence.runs import DECADE_OF_CHAOS, chaos, descent
from tests.tolerances import CHAOTIC_RATE

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@DTYPES
@pytest.mark.parametrize("learning_rate", [0.5, 0.05, 0.005])
def test_an_honest_pair_passes(dtype, learning_rate):
    expected = descent(dtype, learning_rate=learning_rate)
    report = assert_equivalent(descent(dtype, learning_rate=learning_rate, jitter=1), expected)
    assert report.verdict == "equivalent"
    assert max(leaf.error.max() for leaf in report.leaves) > 0


@DTYPES
@pytest.mark.parametrize("learning_rate", [0.5, 0.05, 0.005])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_learning_rate_off_by_1e_4_does_not(dtype, learning_rate, sign):
    faulty = descent(dtype, learning_rate=learning_rate * (1 + sign * 1e-4), jitter=1)
    with pytest.raises(AssertionError, match=r"The runs part at update \d+ of 200, in '(w|b)'"):
        assert_equivalent(faulty, descent(dtype, learning_rate=learning_rate))


def straight_walks(dtype, moved, fault):
    """100 updates that move by that fraction of the scale, at a faulty and at the right rate."""
    way = np.linspace(0, moved, 101)[:, None] * np.linspace(-1, 1, 6)
    return tuple(((1 + factor * way).astype(dtype),) for factor in (1 + fault, 1))


@pytest.mark.parametrize("fault", [1e-4, 1e-3, 1e-2, 1e-1])
@pytest.mark.parametrize("moved", 10.0 ** np.arange(-6, 1))
def test_a_faulty_learning_rate_that_is_to_be_resolved_never_passes(moved, fault):
    actual, expected = straight_walks(np.float32, moved, 1.01 * fault)
    assert compare(actual, expected, resolves=fault).verdict != "equivalent"


@pytest.mark.parametrize(
    ("moved", "verdicts"),
    [
        (1e-1, ["parted", "parted", "parted"]),
        (1e-2, ["equivalent", "parted", "parted"]),
        (1e-3, ["unproven", "unproven", "parted"]),
        (1e-4, ["unproven", "unproven", "unproven"]),
    ],
)
def test_a_faulty_learning_rate_shows_if_the_run_moves(moved, verdicts):
    """The table of docs/equivalence.md."""
    for fault, verdict in zip((1e-4, 1e-3, 1e-2), verdicts, strict=True):
        assert compare(*straight_walks(np.float32, moved, fault)).verdict == verdict
        assert compare(*straight_walks(np.float64, moved, fault)).verdict == "parted"


def test_what_is_to_be_resolved_is_a_fraction():
    with pytest.raises(ValueError, match=r"in \(0, 1\); got 1\.0\. Use 0\.001, or more"):
        compare((np.arange(3.0),), (np.arange(3.0),), resolves=1.0)


@DTYPES
def test_a_large_learning_rate_off_by_1e_4_shows_at_the_first_update(dtype):
    report = compare(
        descent(dtype, learning_rate=0.5 * (1 + 1e-4)), descent(dtype, learning_rate=0.5)
    )
    assert report.parted_at == 1


@DTYPES
@pytest.mark.parametrize("update", [1, 57, 200])
def test_a_single_wrong_update_is_found_where_it_happens(dtype, update):
    expected = descent(dtype)
    actual = [{k: v.copy() for k, v in entry.items()} for entry in descent(dtype, jitter=1)]
    step = expected[update]["w"][5] - expected[update - 1]["w"][5]
    for entry in actual[update:]:
        entry["w"][5] += dtype(0.01) * step
    report = compare(actual, expected)
    assert report.parted_at == update
    (leaf,) = report.parted
    assert leaf.path == "w"
    assert leaf.worst[update].tolist() == [5]
    assert (leaf.actual[update], leaf.expected[update]) == (
        actual[update]["w"][5],
        expected[update]["w"][5],
    )


def test_a_different_start_parts_at_update_0():
    expected = descent(np.float64)
    actual = [{"w": entry["w"] + 1e-9, "b": entry["b"]} for entry in expected]
    assert compare(actual, expected).parted_at == 0


def test_numbers_of_the_report():
    expected = np.array([[1.0, 10.0], [2.0, 30.0], [3.0, 50.0]])
    actual = expected + np.array([[0, 0], [0, 1], [-0.25, 1]])
    (leaf,) = compare((actual,), (expected,)).leaves
    np.testing.assert_allclose(leaf.error, [0, 1 / 50, 1 / 50])
    np.testing.assert_allclose(leaf.update_error, [0, 1 / 20, 0.25 / 20])
    assert leaf.median_ulp.tolist() == [0, 2.0**47, 2.0**48 + 2.0**46]
    assert leaf.worst.tolist() == [[0], [1], [1]]
    assert leaf.parted_at == 1


def test_a_tolerance_is_a_fraction_of_the_distance():
    expected = descent(np.float64, learning_rate=0.05)
    faulty = descent(np.float64, learning_rate=0.05 * (1 + 1e-4))
    assert compare(faulty, expected, 2e-4).verdict == "equivalent"
    assert compare(faulty, expected, FixedTolerance(5e-5)).verdict == "parted"
    with pytest.raises(ValueError, match=r"in \[0, 1\); got 1\.5\. Use None"):
        compare(faulty, expected, 1.5)


def test_until_compares_the_beginning():
    expected, actual = np.arange(10.0), np.arange(10.0)
    actual[7] += 1
    assert compare((actual,), (expected,), until=6).verdict == "equivalent"
    assert compare((actual,), (expected,), until=7).parted_at == 7
    with pytest.raises(ValueError, match=r"until is an update in \[0, 9\]; got 10"):
        compare((actual,), (expected,), until=10)


def test_integers_are_exact():
    expected = np.arange(5, dtype=np.int64) + 2**40
    assert compare((expected + 1,), (expected,)).parted_at == 0


def test_one_entry_is_compared_by_its_scale():
    gradient = np.linspace(-1, 1, 9, dtype=np.float32)
    assert compare([gradient * np.float32(1 + 1e-6)], [gradient]).verdict == "equivalent"
    assert compare([gradient * np.float32(1 + 1e-4)], [gradient]).verdict == "parted"


def test_infinities_match_and_a_number_does_not_match_them():
    expected = np.array([[np.inf, 3.0], [2.0, 2.0], [1.0, 1.0]])
    actual = expected.copy()
    assert compare((actual,), (expected,)).verdict == "equivalent"
    for wrong in (-np.inf, np.nan, 1e300):
        actual[0, 0] = wrong
        assert compare((actual,), (expected,)).parted_at == 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_is_lost_on_one_side_parts(wrong):
    expected = descent(np.float32)
    actual = [{k: v.copy() for k, v in entry.items()} for entry in expected]
    actual[30]["w"][2] = wrong
    for report in (compare(actual, expected), compare(expected, actual)):
        assert (report.verdict, report.parted_at) == ("parted", 30)


class TestProvesNothing:
    """A comparison that could not fail is not a proof, and does not pass."""

    def test_one_entry_of_zeros(self):
        zeros = {"w": np.zeros((1, 3), np.float32), "step": np.zeros(1, np.int32)}
        with pytest.raises(AssertionError, match="the only entry of the expected run is zero"):
            assert_equivalent(zeros, dict(zeros))
        assert compare(zeros | {"w": zeros["w"] + 1}, dict(zeros)).verdict == "parted"
        with_some = zeros | {"b": np.ones((1, 2), np.float32)}
        assert_equivalent(with_some, dict(with_some))

    @pytest.mark.parametrize("step", [np.int32, np.float32])
    @pytest.mark.parametrize("value", [0.0, 0.3])
    def test_nothing_moves_but_the_step_counter(self, value, step):
        still = {"w": np.full((5, 3), value), "step": np.arange(5, dtype=step)}
        with pytest.raises(AssertionError, match=re.escape("proven past update 0 of 4")):
            assert_equivalent(still, dict(still))

    def test_everything_is_nan_from_some_update_on(self):
        run = np.cumsum(np.ones((6, 2)), axis=0)
        run[4:] = np.nan
        with pytest.raises(AssertionError, match="Both runs hold NaN from update 4 on"):
            assert_equivalent({"w": run}, {"w": run.copy()})

    def test_steps_are_smaller_than_rounding(self):
        w = np.float32(1) + np.arange(5, dtype=np.float32)[:, None] * np.float32(2e-7)
        with pytest.raises(AssertionError, match=r"more than resolves=0\.001"):
            assert_equivalent({"w": w}, {"w": w.copy()})


def test_a_chaotic_pair_says_what_it_may_be():
    report = compare(chaos(np.float64, perturbed=1e-15), chaos(np.float64))
    assert report.verdict == "parted"
    assert report.tenfold_time == pytest.approx(DECADE_OF_CHAOS, rel=CHAOTIC_RATE)
    assert "calibrate(run) tells" in str(report)


def test_float16_shows_what_it_can():
    expected = descent(np.float16, learning_rate=0.5)
    honest = descent(np.float16, learning_rate=0.5, jitter=1)
    assert compare(honest, expected).verdict == "unproven"
    assert_equivalent(honest, expected, resolves=0.1)
    assert compare(descent(np.float16, learning_rate=0.55), expected).verdict == "parted"


def test_bfloat16_is_too_coarse_to_prove_anything_by_default():
    run = {"w": np.stack([entry["w"] for entry in descent(np.float32)]).astype(bfloat16)}
    assert compare(run, dict(run)).verdict == "unproven"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kink_crossed_by_rounding_is_a_jump_that_float64_does_not_show(dtype):
    """An honest pair: a ReLU whose argument is zero but for the rounding of float32."""

    def run(roundings):
        w, entries = np.linspace(0.5, 1.0, 4).astype(dtype), []
        for t in range(20):
            entries.append(w)
            argument = (dtype(1e-12) if t == 9 else w[0]) + roundings * np.finfo(dtype).eps
            w = w - dtype(0.01) * w * (argument > 0).astype(dtype)
        return entries

    report = compare(run(dtype(-2)), run(dtype(0)))
    if dtype is np.float64:
        assert report.verdict == "equivalent"
    else:
        assert report.parted_at == 10
        assert "kink" not in str(report)  # nothing has recorded a flip
        assert "prove(step, …) tells a fault from rounding" in str(report)


def test_a_report_does_not_depend_on_what_fits_in_a_cache(monkeypatch):
    """Three entries of one update at a time, or all that there are."""
    sides = [descent(np.float32, updates=9, jitter=jitter) for jitter in (1, 0)]
    for side, lost in zip(sides, (np.nan, np.inf), strict=True):
        side[3]["w"][5], side[7]["w"][2:4] = lost, np.nan
    whole = compare(*sides)
    monkeypatch.setattr(walk, "_CACHED", 3)
    in_pieces = compare(*sides)
    assert whole.finite_until == 6
    np.testing.assert_equal(asdict(in_pieces), asdict(whole))
