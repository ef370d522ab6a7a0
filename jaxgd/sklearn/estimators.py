"""A classifier and a regressor, linear or an MLP, by GD, mini-batch or SGD."""

from typing import Any

import numpy as np

try:
    from scipy.special import log_softmax, softmax
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'jaxgd.sklearn needs scikit-learn: pip install "jaxgd[cli]"', name=error.name
    ) from None

from jaxgd.arguments import Task
from jaxgd.sklearn.class_weights import by_class
from jaxgd.sklearn.learning import GradientDescent


class GradientDescentClassifier(ClassifierMixin, GradientDescent):
    """A linear classifier (logistic or softmax), or an MLP (tanh), trained by gradient descent.

        logits = … tanh(x W₁ + b₁) … W + b,   loss = Σ w_i · cross entropy_i / Σ w_i

    `batch_size=None` is gradient descent over all rows, 1 is SGD, anything between is mini-batch;
    the last, smaller batch is an update of its own. `hidden=()` is linear and begins at 0.
    `optimizer` is one of `jaxgd.optim` by name, with torch's `optimizer_options`, such as
    `{"momentum": 0.9, "weight_decay": 1e-4}`. `learning_rate="auto"` is the rate that short runs
    end lowest with.

    All `epochs` are made, unless `early_stopping` holds a `validation_fraction` of the rows out and
    the loss there has not been lower by `tol` for `n_iter_no_change` epochs; the best params are
    kept. With `warm_start` fit goes on where it stood, optimizer and all: twice 10 epochs are 20,
    to the bit. float32 rows are trained on in float32, others in float64; none is standardised.

    Fitted: `classes_`, `coef_` and `intercept_` if linear, `coefs_` and `intercepts_` one a layer,
    `loss_curve_` (of each epoch, as its updates met it), `validation_loss_curve_`, `n_iter_` (the
    epochs in all), `learning_rate_`, `n_features_in_`, `feature_names_in_`.

    Raises ValueError for rows of one class alone, and settings out of range;
    `jaxgd.Diverged` for a loss that is not finite.

    Departs from scikit-learn's SGDClassifier: batches of any size; no penalty (`weight_decay` is
    the optimizer's, and of the intercept too); a constant learning rate; several classes are one
    softmax, not one against the rest; `partial_fit` keeps the optimizer's state. From
    MLPClassifier: gradient descent over all rows by default; no penalty; torch's start and
    optimizers; tanh alone; every epoch is made, unless told to stop early, by a loss held out.
    """

    classes_: np.ndarray

    def __init__(
        self,
        hidden: Any = (),
        *,
        optimizer: Any = "adam",
        optimizer_options: Any = None,
        learning_rate: Any = 0.05,
        batch_size: Any = None,
        epochs: Any = 200,
        shuffle: Any = True,
        class_weight: Any = None,
        warm_start: Any = False,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        n_iter_no_change: Any = 10,
        tol: Any = 1e-4,
        random_state: Any = None,
        verbose: Any = False,
    ) -> None:
        super().__init__(
            hidden,
            optimizer=optimizer,
            optimizer_options=optimizer_options,
            learning_rate=learning_rate,
            batch_size=batch_size,
            epochs=epochs,
            shuffle=shuffle,
            warm_start=warm_start,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "GradientDescentClassifier":
        """Train on rows X [n, d] and their classes y [n], weighed by `sample_weight` [n]."""
        goes_on = self._goes_on(self.warm_start)
        return self._fit(X, y, None, sample_weight, self.epochs, goes_on)

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "GradientDescentClassifier":
        """Train one more epoch, on these rows; the first call must tell all `classes`."""
        self._check_partial()
        if self.class_weight == "balanced":
            raise ValueError(
                'partial_fit does not see all rows; got class_weight="balanced". Give a dict.'
            )
        goes_on = self._goes_on(True)
        if classes is None and not goes_on:
            raise ValueError("the first partial_fit must be told all classes; got none.")
        return self._fit(X, y, classes, sample_weight, 1, goes_on)

    def _fit(
        self, X: Any, y: Any, classes: Any, sample_weight: Any, epochs: int, goes_on: bool
    ) -> "GradientDescentClassifier":
        x, y, weights = self._checked(X, y, sample_weight, goes_on)
        check_classification_targets(y)
        if goes_on:
            known = self.classes_
            if classes is not None and not np.array_equal(np.unique(classes), known):
                raise ValueError(
                    f"classes must be those of the first call, {known.tolist()}; got "
                    f"{np.unique(classes).tolist()}."
                )
        else:
            known = np.unique(y if classes is None else classes)
        place = np.searchsorted(known, y).clip(max=len(known) - 1).astype(np.int32)
        if (other := known[place] != y).any():
            raise ValueError(
                f"classes must be among {known.tolist()}; got {np.unique(y[other]).tolist()}. "
                "Use warm_start=False, or a new estimator."
            )
        if len(known) < 2:
            raise ValueError(
                f"a classifier must see at least two classes; got one class, {known.tolist()[0]!r}."
            )
        if self.class_weight is not None:
            per_class = by_class(self.class_weight, known, place, weights)[place]
            weights = per_class if weights is None else weights * per_class
        k = len(known)
        task: Task = "binary" if k == 2 else "multiclass"
        outputs = 1 if k == 2 else k
        self._learn(x, place, weights, task, outputs, epochs, goes_on, place)
        self.classes_ = known
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """The logits of rows: [n] of the second of two classes, or [n, k]."""
        outputs = self._outputs(X)
        return outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        logits = self.decision_function(X)
        return self.classes_[logits.argmax(axis=1) if logits.ndim > 1 else (logits > 0) + 0]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Every row's probability of each class [n, k]."""
        return softmax(self._logits(X), axis=1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Its logarithm."""
        return log_softmax(self._logits(X), axis=1)

    def _logits(self, X: Any) -> np.ndarray:
        logits = self.decision_function(X)
        return logits if logits.ndim > 1 else np.stack([np.zeros_like(logits), logits], axis=1)


class GradientDescentRegressor(RegressorMixin, GradientDescent):
    """A linear regression, or an MLP (tanh), trained by gradient descent on the squared error.

        z = … tanh(x W₁ + b₁) … W + b,   loss = Σ w_i · (z_i - (y_i - m) / s)² / Σ w_i

    m and s are the mean and the standard deviation of the targets, as they are weighed, of the
    first call: a learning rate means the same in any unit, and `predict`, `coefs_` and
    `intercepts_` are in the target's own. For the settings and what is fitted see
    `GradientDescentClassifier`.

    Raises what it raises.

    Departs from scikit-learn's SGDRegressor and MLPRegressor: as the classifier does from theirs,
    the target is standardised, its error squared and not halved.
    """

    @property
    def coef_(self) -> np.ndarray:
        """The weights [d] of a linear model."""
        return self._linear(self.coefs_)[:, 0]

    @property
    def intercept_(self) -> Any:
        """The intercept [] of a linear model."""
        return self._linear(self.intercepts_)[0]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "GradientDescentRegressor":
        """Train on rows X [n, d] and their targets y [n], weighed by `sample_weight` [n]."""
        return self._fit(X, y, sample_weight, self.epochs, self._goes_on(self.warm_start))

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "GradientDescentRegressor":
        """Train one more epoch, on these rows."""
        self._check_partial()
        return self._fit(X, y, sample_weight, 1, self._goes_on(True))

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, epochs: int, goes_on: bool
    ) -> "GradientDescentRegressor":
        x, y, weights = self._checked(X, y, sample_weight, goes_on)
        self._learn(x, y.astype(np.float64), weights, "regression", 1, epochs, goes_on, None)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Every row's value [n]."""
        return self._outputs(X)[:, 0]
