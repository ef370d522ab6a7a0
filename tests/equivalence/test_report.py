"""The reports as text: synthetic arrays, so that every digit is the same on every machine."""

import numpy as np
import pytest

from jaxgd.equivalence import assert_equivalent, compare


def walk(entries, *shape):
    """Numbers exact in binary that move by an eighth of themselves in every update."""
    grown = np.float32(1) + np.arange(entries, dtype=np.float32) / np.float32(8)
    start = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return start * grown.reshape(-1, *[1] * len(shape))


def state(entries=11):
    return {
        "layers": [
            {"weight": walk(entries, 2, 3), "bias": walk(entries, 3)},
            {"weight": walk(entries, 3, 2), "bias": walk(entries, 2)},
        ],
        "step": np.arange(entries),
    }


def text(*lines):
    return "\n".join(lines)


ALLOWED = (
    "Allowed: 4e-05 of the distance travelled and of each update, "
    "plus 32 roundings of the leaf's scale."
)


def test_runs_that_part():
    actual = state()
    actual["layers"][0]["weight"][4:, 1, 2] += np.float32(0.125)
    actual["layers"][1]["weight"][4:, 0, 0] -= np.float32(2**-10)
    actual["layers"][1]["bias"][6:] *= np.float32(1.5)
    with pytest.raises(AssertionError) as failure:
        assert_equivalent(actual, state())
    assert str(failure.value) == text(
        "The runs part at update 4 of 10, in 'layers.0.weight' float32[2, 3].",
        "                     error  update error  x allowed  median ULP"
        "  worst entry: actual, expected",
        "  layers.0.weight  5.6e-02       1.0e+00    9.2e+03           0  [1, 2] 1.625, 1.5",
        "  layers.1.weight  4.3e-04       7.8e-03         72           0"
        "  [0, 0] -1.5009765625, -1.5",
        "1 of the other 3 leaves parted later.",
        "Before, they agree exactly.",
        "At the last update it is 5.6e-02 of its scale off.",
        "prove(step, …) tells a fault from rounding that the optimizer amplifies.",
        ALLOWED,
    )


def test_many_leaves_part_at_the_start():
    expected = {f"layer{i}": walk(3, 2) for i in range(8)}
    actual = {path: leaf * np.float32(1 + 2**-i) for i, (path, leaf) in enumerate(expected.items())}
    assert str(compare(actual, expected)) == text(
        "The runs part at update 0 of 2, in 'layer0' float32[2].",
        "            error  update error  x allowed  median ULP  worst entry: actual, expected",
        "  layer0  8.0e-01       0.0e+00    2.1e+05    8.39e+06  [0] -2.0, -1.0",
        "  layer1  4.0e-01       0.0e+00      1e+05    4.19e+06  [0] -1.5, -1.0",
        "  layer2  2.0e-01       0.0e+00    5.2e+04     2.1e+06  [0] -1.25, -1.0",
        "  layer3  1.0e-01       0.0e+00    2.6e+04    1.05e+06  [0] -1.125, -1.0",
        "  layer4  5.0e-02       0.0e+00    1.3e+04    5.24e+05  [0] -1.0625, -1.0",
        "  and 3 more",
        "That is the first entry: the start, if the runs begin with it.",
        "At the last update it is 1.0e+00 of its scale off.",
        "prove(step, …) tells a fault from rounding that the optimizer amplifies.",
        ALLOWED,
    )


def test_runs_that_agree_to_rounding():
    actual = {"w": walk(5, 2) * np.float32(1 + 2**-20)}
    assert str(compare(actual, {"w": walk(5, 2)})) == text(
        "The runs are the same, to rounding: updates 0 to 4 of 1 leaf.",
        "They use at most 0.2 of what is allowed, in 'w' float32[2] at update 0.",
        "A difference of 5e-05 of the distance travelled would have shown.",
        ALLOWED,
    )


def test_runs_that_agree_exactly():
    assert str(compare(state(), state())) == text(
        "The runs are exactly the same: updates 0 to 10 of 5 leaves.",
        "A difference of 5e-05 of the distance travelled would have shown.",
        ALLOWED,
    )


def test_a_run_that_does_not_move():
    still = {"w": np.full((5, 2), 0.5)}
    assert str(compare(still, dict(still))) == text(
        "Nothing can be proven past update 0 of 4.",
        "Nothing moves: every update of the expected run is zero.",
        "Compare a run that moves farther, or in a finer dtype.",
        ALLOWED.replace("4e-05", "1e-10"),
    )


def test_a_run_that_hardly_moves():
    run = {"w": np.float32(1) + walk(5, 2) * np.float32(2**-10)}
    assert str(compare(run, dict(run))) == text(
        "Nothing can be proven past update 0 of 4.",
        "A difference of up to 0.008 of the distance travelled could hide in what is allowed, "
        "more than resolves=0.001.",
        "Compare a run that moves farther, or in a finer dtype.",
        ALLOWED,
    )


def test_the_table_holds_every_leaf_at_every_update():
    actual = {"w": walk(2, 2) * np.float32(1 + 2**-20), "b": walk(2, 1)}
    assert compare(actual, {"w": walk(2, 2), "b": walk(2, 1)}).table() == (
        "update\tleaf\terror\tupdate error\tx allowed\tmedian ULP\tworst entry: actual, expected\n"
        "0\tw\t8.5e-07\t0.0e+00\t0.22\t8\t[0] -1.0000009536743164, -1.0\n"
        "0\tb\t0.0e+00\t0.0e+00\t0\t0\t[0] -1.0, -1.0\n"
        "1\tw\t9.5e-07\t9.5e-07\t0.11\t9\t[0] -1.125001072883606, -1.125\n"
        "1\tb\t0.0e+00\t0.0e+00\t0\t0\t[0] -1.125, -1.125\n"
    )
