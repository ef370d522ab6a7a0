"""What is learned, against NumPy and scikit-learn; weights; errors; and where estimators go."""

import io
import pickle

import jax
import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import jaxgd
from jaxgd.sklearn import GradientDescentClassifier, GradientDescentRegressor
from tests.tolerances import ESTIMATOR_F64, ESTIMATOR_OPTIMUM

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3))
NOISY = X[:, 0] + RNG.normal(size=24)
LABELS = np.where(NOISY > 0, "yes", "no")
THREE = np.digitize(NOISY, (-0.7, 0.7))
TIMES = RNG.integers(0, 4, size=24)  # how often a row is there
GD = {"optimizer": "sgd", "learning_rate": 0.5, "random_state": 0}


@pytest.fixture(scope="module")
def fitted():
    """One fitted estimator for all that look at one."""
    return GradientDescentClassifier(epochs=20, **GD).fit(X, LABELS)


def close(found, expected, bound):
    assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


def test_gd_is_numpys_loop(fitted):
    w, b, y = np.zeros(3), 0.0, LABELS == "yes"
    for _ in range(20):
        slope = 1 / (1 + np.exp(-(X @ w + b))) - y
        w, b = w - 0.5 * X.T @ slope / 24, b - 0.5 * slope.mean()
    close(fitted.coef_[0], w, ESTIMATOR_F64)
    close(fitted.intercept_, b, ESTIMATOR_F64)


@pytest.mark.parametrize("y", [LABELS, np.arange(24) % 3], ids=["binary", "multiclass"])
def test_gd_ends_at_the_optimum_of_logistic_regression(y):
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    found = GradientDescentClassifier(epochs=400, **GD | {"learning_rate": 2.0}).fit(X, y)
    close(found.predict_proba(X), oracle.predict_proba(X), ESTIMATOR_OPTIMUM)


def test_gd_ends_at_the_optimum_of_least_squares():
    y = 1000 * NOISY + 5000
    found = GradientDescentRegressor(epochs=400, **GD | {"learning_rate": 0.3}).fit(X, y)
    oracle = LinearRegression().fit(X, y)
    close(found.coef_, oracle.coef_, ESTIMATOR_F64)
    assert found.score(X, y) == pytest.approx(oracle.score(X, y), rel=ESTIMATOR_F64)


@pytest.mark.parametrize("y", [THREE, NOISY], ids=["classes", "amounts"])
def test_a_weight_of_k_is_the_row_k_times(y):
    kind = GradientDescentRegressor if y is NOISY else GradientDescentClassifier
    weighed = kind(epochs=20, **GD).fit(X, y, sample_weight=TIMES)
    repeated = kind(epochs=20, **GD).fit(X.repeat(TIMES, axis=0), y.repeat(TIMES))
    close(weighed.coef_, repeated.coef_, ESTIMATOR_F64)
    assert np.abs(weighed.coef_ - kind(epochs=20, **GD).fit(X, y).coef_).max() > 0.01


def test_balanced_is_each_class_by_its_rarity(fitted):
    counts = {name: float(np.sum(name == LABELS)) for name in ("no", "yes")}
    told = {name: 24 / (2 * count) for name, count in counts.items()}
    balanced = clone(fitted).set_params(class_weight="balanced").fit(X, LABELS)
    by_dict = clone(fitted).set_params(class_weight=told).fit(X, LABELS)
    close(balanced.coef_, by_dict.coef_, ESTIMATOR_F64)
    assert counts["no"] != counts["yes"]
    assert np.abs(balanced.coef_ - fitted.coef_).max() > 0.001


def test_early_stopping_keeps_the_best_of_the_rows_held_out():
    found = GradientDescentClassifier(
        (4,), epochs=300, early_stopping=True, validation_fraction=0.25, n_iter_no_change=3,
        random_state=0,
    ).fit(X, THREE)  # fmt: skip
    losses = found.validation_loss_curve_
    assert found.n_iter_ == len(losses) == len(found.loss_curve_) < 300
    assert min(losses) == losses[-4]
    assert found.score(X, THREE) > 0.6


def test_an_mlp_has_layers_and_no_coef(tmp_path):
    found = GradientDescentRegressor(
        np.int64(4), epochs=60, random_state=0, optimizer_options={"betas": (0.8, 0.9)}
    )
    y = np.square(X[:, 0])
    found.fit(X.astype(np.float32), y)
    assert [w.shape for w in found.coefs_] == [(3, 4), (4, 1)]
    assert not hasattr(found, "coef_")
    assert found.score(X, y) > 0.8
    found.save(tmp_path / "model.safetensors")
    again = GradientDescentRegressor.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(X), found.predict(X))
    assert again.get_params() == found.get_params()
    table = {f"x{i}": X[:, i] for i in range(3)}
    served = jaxgd.load_model(tmp_path / "model.safetensors").predict(table)
    np.testing.assert_allclose(served, found.predict(X), rtol=1e-4, atol=1e-5)


def test_a_pickle_holds_no_jax_array(fitted):
    """And one of joblib, and a clone that is not fitted."""
    content = pickle.dumps(fitted)
    assert b"jaxlib" not in content
    assert not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(fitted._standing.state))
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    for again in (pickle.loads(content), joblib.load(file)):
        np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
        further, here = again.partial_fit(X, LABELS), pickle.loads(content).partial_fit(X, LABELS)
        np.testing.assert_array_equal(further.coef_, here.coef_)
    assert not hasattr(clone(fitted), "classes_")


@pytest.mark.parametrize("kind", ["str", "int", "bool", "object"])
def test_what_is_saved_is_what_is_loaded(fitted, tmp_path, kind):
    path = tmp_path / "model.safetensors"
    classes = {
        "str": fitted.classes_, "int": np.array([-3, 70]), "bool": np.array([False, True]),
        "object": np.array(["no", "yes"], object),
    }[kind]  # fmt: skip
    one = pickle.loads(pickle.dumps(fitted))
    one.classes_ = classes
    one.set_params(class_weight={classes[0]: 2.0})
    one.save(path)
    again = GradientDescentClassifier.load(path)
    assert again.get_params() == one.get_params()
    assert again.classes_.dtype == classes.dtype
    np.testing.assert_array_equal(again.predict(X), one.predict(X))
    np.testing.assert_array_equal(again.predict_proba(X), one.predict_proba(X))
    assert (again.n_iter_, again.loss_curve_) == (20, one.loss_curve_)
    model = jaxgd.load_model(path)
    assert model.schema.target.classes == tuple(map(str, classes.tolist()))
    with pytest.raises(ValueError, match="holds no GradientDescentRegressor: it is GradientDesc"):
        GradientDescentRegressor.load(path)


def test_a_pipeline_with_text_in_a_grid_of_two_threads():
    rows = np.column_stack([NOISY.round(2).astype(object), np.where(THREE == 1, "a", "b")])
    encoder = make_column_transformer((StandardScaler(), [0]), (OneHotEncoder(), [1]))
    pipeline = make_pipeline(encoder, GradientDescentClassifier(epochs=20, **GD))
    name = "gradientdescentclassifier__learning_rate"
    rates = {name: np.array([1e-6, 0.5])}
    grid = GridSearchCV(pipeline, rates, cv=2, n_jobs=2, scoring="neg_log_loss")
    with joblib.parallel_backend("threading"):
        grid.fit(rows, LABELS)
    assert grid.best_params_ == {name: 0.5}
    assert cross_val_score(grid.best_estimator_, rows, LABELS, cv=2).mean() > 0.9


def test_a_rate_that_is_found_is_kept():
    found = GradientDescentClassifier(
        epochs=20, optimizer="sgd", learning_rate="auto", batch_size=8, random_state=0
    )
    found.fit(X, LABELS)
    rate = found.learning_rate_
    assert found.loss_curve_[-1] < found.loss_curve_[0]
    assert found.partial_fit(X, LABELS).learning_rate_ == rate > 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"hidden": (0,)}, "every width in hidden must be an integer of at least 1"),
        ({"optimizer": "adm"}, "optimizer must be one of .* Use 'adam'"),
        ({"optimizer_options": {"momentun": 1}}, "momentun"),
        ({"learning_rate": -1.0}, 'learning_rate must be "auto", or finite'),
        ({"learning_rate": None}, 'learning_rate must be "auto" or a number'),
        ({"optimizer": "schedule_free_sgd"}, "optimizer must be one of"),
        ({"batch_size": 0}, "batch_size must be in"),
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"class_weight": "even"}, 'class_weight must be "balanced", a dict or None'),
        ({"class_weight": {"nein": 1}}, "class_weight must be of the classes .*'nein'"),
        ({"class_weight": {"no": -1}}, "a class's weight must be at least 0"),
        ({"early_stopping": True, "validation_fraction": 2.0}, "test_size"),
        ({"early_stopping": True, "tol": -1.0}, "min_change must be a number of at least 0"),
    ],
)
def test_settings_that_cannot_be(settings, told):
    with pytest.raises((ValueError, TypeError), match=told):
        GradientDescentClassifier(**settings).fit(X, LABELS)


def test_what_a_training_cannot_go_on_with(fitted):
    one = pickle.loads(pickle.dumps(fitted))
    with pytest.raises(ValueError, match=r"classes must be among \['no', 'yes'\]; got \['maybe'\]"):
        one.partial_fit(X, np.where(NOISY > 0, "maybe", "no"))
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        one.partial_fit(X, LABELS, classes=["no", "yes", "maybe"])
    with pytest.raises(ValueError, match="partial_fit does not see all rows"):
        one.set_params(class_weight="balanced").partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="has no rows to hold out"):
        one.set_params(class_weight=None, early_stopping=True).partial_fit(X, LABELS)
    with pytest.raises(ValueError, match=r"goes on with its optimizer and hidden widths"):
        one.set_params(early_stopping=False, hidden=(3,)).partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="must be told all classes"):
        GradientDescentClassifier().partial_fit(X, LABELS)


def test_a_rate_that_is_too_large_says_so():
    with pytest.raises(jaxgd.Diverged, match="learning rate"):
        GradientDescentRegressor(**GD | {"learning_rate": 1e9}).fit(X, NOISY)
