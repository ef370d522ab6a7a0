"""Functions that are made in one place share what checks them, and each of them is checked."""

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped

from tests import beartype_once

LONG, SHORT = np.ones(3), np.ones(2)


def adder(number):
    @jaxtyped(typechecker=beartype_once)
    def added(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        return x + y + number if number else SHORT

    return added


def test_each_function_is_itself_and_checked():
    for number in (1, 2):
        added = adder(number)
        np.testing.assert_array_equal(added(LONG, LONG), LONG + LONG + number)
        np.testing.assert_array_equal(added(SHORT, SHORT), SHORT + SHORT + number)
        with pytest.raises(TypeCheckError, match=r"parameters of .*added"):
            added(LONG, SHORT)
    with pytest.raises(TypeCheckError, match=r"return value of .*added"):
        adder(0)(LONG, LONG)


def test_other_annotations_in_the_same_place_are_others():
    def identity(kind):
        @jaxtyped(typechecker=beartype_once)
        def same(x: kind) -> kind:
            return x

        return same

    assert (identity(int)(1), identity(str)("1")) == (1, "1")
    for kind, wrong in ((int, "1"), (str, 1)):
        with pytest.raises(TypeCheckError):
            identity(kind)(wrong)
