"""scikit-learn's estimators, trained by gradient descent: a classifier and a regressor."""

from typing import TYPE_CHECKING

from jaxgd.lazy_names import names_from

if TYPE_CHECKING:
    from jaxgd.sklearn.estimators import GradientDescentClassifier as GradientDescentClassifier
    from jaxgd.sklearn.estimators import GradientDescentRegressor as GradientDescentRegressor

_HOMES = {"estimators": "GradientDescentClassifier GradientDescentRegressor"}

__getattr__, __dir__, __all__ = names_from(__name__, _HOMES)
