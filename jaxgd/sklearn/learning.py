"""What the classifier and the regressor share: rows checked and weighed, a descent, outputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxgd.arguments import Patience, Task, check_batch_size, check_count, check_patience
from jaxgd.fitting.learning_rates import LearningRate
from jaxgd.sklearn.saved_estimators import loaded_estimator, save_estimator
from jaxgd.sklearn.standing import Descent, Standing, begun, optimizer_of
from jaxgd.tabular.scaling import Standardizer, standardizer, unscaled


class GradientDescent(BaseEstimator):
    """What both estimators do: rows checked and weighed, a descent, outputs in plain NumPy."""

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    loss_curve_: list[float]
    validation_loss_curve_: list[float]
    n_iter_: int
    learning_rate_: LearningRate
    n_features_in_: int
    _standing: Standing
    _y_scaling: Standardizer

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
        warm_start: Any = False,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        n_iter_no_change: Any = 10,
        tol: Any = 1e-4,
        random_state: Any = None,
        verbose: Any = False,
    ) -> None:
        self.hidden = hidden
        self.optimizer = optimizer
        self.optimizer_options = optimizer_options
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

    def save(self, path: Path | str) -> None:
        """Write the fitted model to a model file, without pickle: see docs/model-file.md.

        `load` makes the estimator again, with the same predictions to the bit, and
        `jaxgd.load_model(path)` a model that predicts tables, in JAX's default float. The
        optimizer's state, and a `random_state` that is no number, are not kept.
        """
        check_is_fitted(self)
        save_estimator(Path(path), self)

    @classmethod
    def load(cls, path: Path | str) -> Any:
        """The estimator that `save` wrote; `partial_fit` begins its optimizer anew.

        Raises ValueError for another file, and OSError where it cannot be read.
        """
        return loaded_estimator(Path(path), cls)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coefs_")

    @property
    def coef_(self) -> np.ndarray:
        """The weights of a linear model, [1, d] or [k, d] of a classifier, [d] of a regressor."""
        return self._linear(self.coefs_).T

    @property
    def intercept_(self) -> Any:
        """The intercepts of a linear model, [1] or [k] of a classifier, [] of a regressor."""
        return self._linear(self.intercepts_)

    def _linear(self, layers: list[np.ndarray]) -> np.ndarray:
        if len(layers) > 1:
            raise AttributeError("an MLP has coefs_ and intercepts_, one of each a layer.")
        return layers[0]

    def _goes_on(self, wanted: bool) -> bool:
        return wanted and hasattr(self, "_standing")

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, goes_on: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The rows as scikit-learn wants them, dense and finite, in a float; and their weights."""
        dtype: Any = self.coefs_[0].dtype if goes_on else [np.float64, np.float32]
        numeric = isinstance(self, RegressorMixin)
        x, y = validate_data(self, X, y, reset=not goes_on, dtype=dtype, y_numeric=numeric)
        if sample_weight is None:
            return x, y, None
        weights = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        return x, y, weights

    def _learn(
        self,
        x: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None,
        task: Task,
        outputs: int,
        epochs: int,
        goes_on: bool,
        classes_of: np.ndarray | None,
    ) -> None:
        """Descend on checked rows, from the start or on from where the training stands."""
        descent, epochs = self._descent(task), check_count("epochs", epochs)
        standing = self._gone_on() if goes_on else self._begun(x, task, outputs)
        train, held = self._split(len(x), classes_of, standing.seed)
        if not goes_on:
            self._y_scaling = unscaled()
            if task == "regression":
                self._y_scaling = _target_scaling(y[train], _of_mean_1(weights, train))
        if task == "regression":
            y = self._y_scaling.apply(y).astype(x.dtype)

        def part(rows: Any) -> tuple:
            w = _of_mean_1(weights, rows)
            return (x[rows], y[rows]) if w is None else (x[rows], y[rows], w.astype(x.dtype))

        validation = None if held is None else part(held)
        self._standing, history = descent.go_on(standing, part(train), validation, epochs)
        before = (self.loss_curve_, self.validation_loss_curve_) if goes_on else ([], [])
        losses = [] if history.validation_loss is None else history.validation_loss.tolist()
        self.loss_curve_ = [*before[0], *history.epoch_loss.tolist()]
        self.validation_loss_curve_ = [*before[1], *losses]
        self.n_iter_, self.learning_rate_ = self._standing.epochs, self._standing.learning_rate
        self._take(self._standing.layers)

    def _take(self, layers: Sequence[Any]) -> None:
        """Take the layers as those of outputs in the target's own unit."""
        self.coefs_ = [w if w.ndim == 2 else w[:, None] for w, _ in layers]
        self.intercepts_ = [np.atleast_1d(b) for _, b in layers]
        dtype = self.coefs_[0].dtype
        mean, scale = self._y_scaling
        self.coefs_[-1] = (self.coefs_[-1] * scale).astype(dtype)
        self.intercepts_[-1] = (self.intercepts_[-1] * scale + mean).astype(dtype)

    def _outputs(self, X: Any) -> np.ndarray:
        """The outputs [n, k] of rows: logits, or values."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, dtype=self.coefs_[0].dtype)
        *inner, (w, b) = zip(self.coefs_, self.intercepts_, strict=True)
        for w_in, b_in in inner:
            x = np.tanh(x @ w_in + b_in)
        return x @ w + b

    def _descent(self, task: Task) -> Descent:
        options = tuple(
            (name, tuple(value) if isinstance(value, list) else value)
            for name, value in sorted((self.optimizer_options or {}).items())
        )
        patience = None
        if self.early_stopping:
            patience = check_patience(Patience(self.n_iter_no_change, self.tol))
        batch_size = None if self.batch_size is None else check_batch_size(self.batch_size)
        optimizer = optimizer_of(self.optimizer, options)
        return Descent(task, optimizer, batch_size, self.shuffle, patience, bool(self.verbose))

    def _widths(self) -> tuple[int, ...]:
        one = isinstance(self.hidden, int | np.integer)
        widths = (self.hidden,) if one else self.hidden
        return tuple(w.item() if isinstance(w, np.integer) else w for w in widths)

    def _seed(self) -> int:
        """`random_state` where it is a number, else one that it draws."""
        if isinstance(self.random_state, int | np.integer):
            check_random_state(self.random_state)
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**32, dtype=np.int64))

    def _begun(self, x: np.ndarray, task: Task, outputs: int) -> Standing:
        sizes = (x.shape[1], *self._widths(), outputs)
        return begun(sizes, task, x.dtype, self._seed(), self._rate(), self.optimizer)

    def _gone_on(self) -> Standing:
        """Where the training stands, at the rate that is set now."""
        before = self._standing.optimizer, self._standing.hidden
        now = self.optimizer, self._widths()
        if before != now:
            raise ValueError(
                f"a training goes on with its optimizer and hidden widths, {before}; got {now}. "
                "Use warm_start=False, or a new estimator."
            )
        if self.learning_rate == "auto":
            return self._standing
        return self._standing._replace(learning_rate=self._rate())

    def _rate(self) -> LearningRate:
        rate = self.learning_rate
        if rate is None:
            raise ValueError('learning_rate must be "auto" or a number; got None. Use 0.05 or so.')
        return rate.item() if isinstance(rate, np.generic) else rate

    def _split(self, n: int, classes_of: Any, seed: int) -> tuple[Any, np.ndarray | None]:
        """The rows to train on, and those that early stopping holds out, classes in their parts."""
        if not self.early_stopping:
            return slice(None), None
        train, held = train_test_split(
            np.arange(n),
            test_size=self.validation_fraction,
            stratify=classes_of,
            random_state=seed,
        )
        return train, held

    def _check_partial(self) -> None:
        if self.early_stopping:
            raise ValueError(
                "partial_fit has no rows to hold out; got early_stopping=True. Use fit."
            )


def _of_mean_1(weights: np.ndarray | None, rows: Any) -> np.ndarray | None:
    """The weights of some rows, so that their mean is 1; ValueError if they are all 0."""
    if weights is None:
        return None
    own = weights[rows]
    if not own.any():
        raise ValueError(
            f"sample weights must not be all zero; got {len(own)} rows of weight zero to learn "
            "from, or to hold out. Weigh some."
        )
    return own / own.mean()


def _target_scaling(y: np.ndarray, weights: np.ndarray | None) -> Standardizer:
    """The standardizer of targets as they are weighed."""
    if weights is None:
        return standardizer(y)
    return standardizer(
        y, total=lambda v: np.sum(weights * v, axis=0), most=lambda v: np.max(v[weights > 0])
    )
