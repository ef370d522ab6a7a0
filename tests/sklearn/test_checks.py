"""scikit-learn's own checks of an estimator: all of them, with no failure expected."""

import jaxtyping
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxgd.sklearn import GradientDescentClassifier, GradientDescentRegressor

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module", autouse=True)
def _annotations_unchecked():
    """The other tests check them, and here it would cost as much as what is checked."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


# Adagrad compiles sooner than Adam.
CHEAP = [
    GradientDescentClassifier(optimizer="adagrad", learning_rate=0.5, epochs=50),
    GradientDescentRegressor(epochs=100),
]


@parametrize_with_checks(CHEAP)
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.exhaustive
@parametrize_with_checks([GradientDescentClassifier(), GradientDescentRegressor()])
def test_check_estimator_by_default(estimator, check):
    check(estimator)
