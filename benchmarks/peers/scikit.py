"""scikit-learn's Cython SGD and its NumPy perceptron, in float32 as everybody else."""

import warnings
from collections.abc import Callable

from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier

from benchmarks.cases import LEARNING_RATE, Case, problem
from benchmarks.variants import VARIANTS

PLAIN = {"penalty": None, "learning_rate": "constant", "eta0": LEARNING_RATE, "tol": None}


def classifier(case: Case) -> Callable[[], int]:
    options = PLAIN | {"max_iter": case.epochs, "shuffle": case.shuffled}
    return _fit(case, SGDClassifier(loss="log_loss", **options))


def variant(case: Case) -> Callable[[], int]:
    """Its own form of a loss or a method, where it has one."""
    theirs = VARIANTS[case.variant].scikit
    if theirs is None:
        raise LookupError("has no such SGD")
    regression = theirs["loss"] in ("squared_error", "huber")
    estimator = SGDRegressor if regression else SGDClassifier
    return _fit(case, estimator(**PLAIN | {"max_iter": case.epochs} | theirs))


def regressor(case: Case) -> Callable[[], int]:
    return _fit(case, SGDRegressor(max_iter=case.epochs, **PLAIN))


def perceptron(case: Case) -> Callable[[], int]:
    warnings.simplefilter("ignore", ConvergenceWarning)
    network = MLPClassifier(
        (32,),
        solver="sgd",
        alpha=0,
        batch_size=case.batch,
        learning_rate_init=LEARNING_RATE,
        momentum=0,
        max_iter=case.epochs,
    )
    return _fit(case, network)


def _fit(case: Case, estimator) -> Callable[[], int]:
    x, y = problem(case)

    def work() -> int:
        estimator.fit(x, y)
        return case.epochs * -(-case.n // case.batch)

    return work
