"""Fitted estimators as model files, and back."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxgd.arguments import Task
from jaxgd.sklearn.standing import Standing
from jaxgd.storage.verified_file import refused_as_misfit
from jaxgd.tabular.model import Model
from jaxgd.tabular.model_file import load_model, save_model
from jaxgd.tabular.predictor import Predictor
from jaxgd.tabular.scaling import unscaled
from jaxgd.tabular.schema import Schema, plain
from jaxgd.tabular.target import Target, class_name


def save_estimator(path: Path, estimator: Any) -> None:
    """Write a fitted estimator as the model of a table of numbers, named as its features are.

    Raises TypeError for classes that are neither text, numbers nor booleans.
    """
    standing: Standing = estimator._standing
    d = estimator.n_features_in_
    names = getattr(estimator, "feature_names_in_", [f"x{i}" for i in range(d)])
    target, classes = Target("y", "regression"), None
    if hasattr(estimator, "classes_"):
        values = estimator.classes_
        task: Task = "binary" if len(values) == 2 else "multiclass"
        target = Target("y", task, tuple(map(class_name, values)))
        classes = {"dtype": values.dtype.str, "values": values.tolist()}
    told = {
        "name": type(estimator).__name__,
        "settings": _plain_settings(estimator.get_params(deep=False)),
        "classes": classes,
        "named": hasattr(estimator, "feature_names_in_"),
        "seed": standing.seed,
        "loss_curve": estimator.loss_curve_,
        "validation_loss_curve": estimator.validation_loss_curve_,
    }
    training = {
        "optimizer": standing.optimizer,
        "learning_rate": standing.learning_rate,
        "batch_size": estimator.batch_size,
        "epochs": standing.epochs,
        "estimator": told,
    }
    schema = Schema(plain(*map(str, names)), target, unscaled(d), estimator._y_scaling)
    predictor = Predictor(d, target, standing.hidden)
    # After early stopping these are the best params, and the standing's as well.
    save_model(path, Model(predictor, standing.params, schema, training))


def loaded_estimator(path: Path, kind: type) -> Any:
    """The estimator of that class in a file; ValueError for another file."""
    model = load_model(path)
    told = model.training.get("estimator")
    if not isinstance(told, dict) or told.get("name") != kind.__name__:
        found = told.get("name") if isinstance(told, dict) else "a table's model"
        raise ValueError(
            f"{path} holds no {kind.__name__}: it is {found}. jaxgd.load_model(path) predicts "
            "tables with any model."
        )
    with refused_as_misfit(path, "saved estimator"):
        training = model.training
        estimator = kind(**_settings(told["settings"]))
        names = [column.name for column in model.schema.columns]
        estimator.n_features_in_ = len(names)
        if told["named"]:
            estimator.feature_names_in_ = np.array(names, object)
        if told["classes"] is not None:
            estimator.classes_ = np.array(
                told["classes"]["values"], np.dtype(told["classes"]["dtype"])
            )
        estimator._y_scaling = model.schema.y_scaling
        estimator._standing = Standing(
            model.params,
            training["epochs"],
            told["seed"],
            training["learning_rate"],
            training["optimizer"],
        )
        estimator.n_iter_ = training["epochs"]
        estimator.learning_rate_ = training["learning_rate"]
        estimator.loss_curve_ = told["loss_curve"]
        estimator.validation_loss_curve_ = told["validation_loss_curve"]
        estimator._take(estimator._standing.layers)
    return estimator


def _plain_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings in JSON's types; of class weights pairs, for their classes need not be text."""
    out = {name: _plain(value) for name, value in settings.items()}
    if not isinstance(settings["random_state"], int | np.integer):
        out["random_state"] = None
    if isinstance(weights := settings.get("class_weight"), dict):
        out["class_weight"] = [[_plain(label), _plain(w)] for label, w in weights.items()]
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value


def _settings(told: dict[str, Any]) -> dict[str, Any]:
    """The settings as they were."""
    out = {name: _with_tuples(value) for name, value in told.items()}
    if isinstance(out.get("class_weight"), tuple):
        out["class_weight"] = dict(map(tuple, told["class_weight"]))
    return out


def _with_tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    if isinstance(value, dict):
        return {name: _with_tuples(inner) for name, inner in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
