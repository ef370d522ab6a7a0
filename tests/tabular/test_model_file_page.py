"""docs/model-file.md: its plain NumPy predicts what the model does, from a messy table."""

import hashlib
import json
import re
from pathlib import Path
from typing import get_args

import jax
import numpy as np
import pytest

import jaxgd
from jaxgd.arguments import Activation
from jaxgd.tabular import Model, Predictor, prepare, read_table
from tests.tolerances import MODEL_PAGE

PAGE = (Path(__file__).parents[2] / "docs" / "model-file.md").read_text()
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)

HEADER = "no,Größe,weight,colour,shape,member,seen,bought,sort,price,risk\n"


def table(path, n, seed, colours):
    """Rows with missing numbers, texts and dates, rare levels, booleans, days and times."""
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(n):
        missing = rng.uniform(size=4) < 0.2
        size, weight = rng.normal(1e4, 300), rng.normal(size=1)[0]
        seen = np.datetime64("2020-02-28") + np.timedelta64(int(rng.integers(900)), "D")
        bought = np.datetime64("1965-01-01T00:00:00") + np.timedelta64(
            int(rng.integers(2**31)), "s"
        )
        cells = [
            i, size, "" if missing[0] else weight, "" if missing[1] else rng.choice(colours),
            rng.choice(["round", "with, comma"]), rng.choice(["true", "false"]),
            "" if missing[2] else seen, bought, rng.choice(["a", "b", "c"]), rng.normal(50, 9),
            rng.choice(["high", "low"]),
        ]  # fmt: skip
        lines.append(",".join(f'"{c}"' if "," in str(c) else str(c) for c in cells) + "\n")
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def served():
    names = {}
    exec(compile(PROGRAM, "docs/model-file.md", "exec"), names)
    return names


@pytest.mark.parametrize(
    ("target", "hidden", "activation"),
    [
        *((target, (), "relu") for target in ("risk", "sort", "price")),
        *zip(
            ["risk", "sort", "price", "risk", "sort"],
            [(4, 3)] * 5,
            get_args(Activation),
            strict=True,
        ),
    ],
)
def test_numpy_predicts_what_the_model_does(tmp_path, served, target, hidden, activation):
    path = table(tmp_path / "train.csv", 120, 0, ["red", "green"] * 12 + ["rare"])
    data = prepare(read_table(path), target=target, id="no", key=jax.random.key(0))
    predictor = Predictor(len(data.schema.features), data.schema.target, hidden, activation)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
        jax.eval_shape(predictor.init, jax.random.key(0)),
    )
    Model(predictor, params, data.schema).save(tmp_path / "model")
    kinds = set(data.schema.kinds.values())
    assert kinds == {"number", "category", "boolean", "date"}
    assert {c.name for c in data.schema.columns if c.indicator} == {"weight", "colour", "seen"}
    more = table(tmp_path / "more.csv", 50, 2, ["red", "green", "never seen"])
    expected = jaxgd.load_model(tmp_path / "model").predict(more)
    found = served["predict"](tmp_path / "model", served["read_rows"](more))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= MODEL_PAGE * np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 0.01


def test_the_digest_is_what_the_page_says(tmp_path, served):
    path = table(tmp_path / "train.csv", 120, 0, ["red", "green"])
    data = prepare(read_table(path), target="risk", id="no", key=jax.random.key(0))
    predictor = Predictor(len(data.schema.features), data.schema.target)
    params = jax.tree.map(np.asarray, predictor.init(jax.random.key(0)))
    Model(predictor, params, data.schema).save(str(tmp_path / "model"))
    content = (tmp_path / "model").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    told = header["__metadata__"]
    _, arrays = served["read_model"](tmp_path / "model")
    digest = hashlib.sha256(told["note"].encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    assert digest.hexdigest() == told["sha256"]
