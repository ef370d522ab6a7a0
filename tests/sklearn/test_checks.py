"""scikit-learn's own checks of an estimator: all of them, with no failure expected."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxgd.sklearn import GradientDescentClassifier, GradientDescentRegressor

pytestmark = pytest.mark.usefixtures("quick_compile")


@parametrize_with_checks([GradientDescentClassifier(), GradientDescentRegressor()])
def test_check_estimator(estimator, check):
    check(estimator)
