"""One training, one hash: stopped, resumed or streamed at any border of its plan, the same bits."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import batches

ROOT = Path(__file__).parents[2]
N, EPOCHS, KEY = 139, 2, jax.random.key(4)


def convolve(params, x):
    """A small convolutional network of an image [8, 8]."""
    h = jax.lax.conv(x[None, None], params["kernel"], (2, 2), "SAME")
    return jnp.reshape(jax.nn.relu(h), -1) @ params["w"]


def draw(*shape):
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape) / 4, jnp.float32)


MODELS = {
    "linear": (jaxgd.linear, lambda: jaxgd.Linear(draw(64, 3), draw(3)), (64,)),
    "MLP": (jaxgd.mlp, lambda: jaxgd.init_mlp(jax.random.key(0), (64, 8, 3)), (64,)),
    "convolutional": (convolve, lambda: {"kernel": draw(4, 1, 3, 3), "w": draw(64, 3)}, (8, 8)),
}
OPTIMIZERS = {"sgd": optax.sgd(0.1), "adam": optax.adam(0.01)}
CASES = [
    (model, optimizer, b)
    for model, optimizer, b in [
        ("linear", "sgd", 1),
        ("linear", "adam", 7),
        ("MLP", "adam", 1),
        ("MLP", "sgd", 7),
        ("MLP", "adam", 32),
        ("convolutional", "adam", 32),
    ]
]


@pytest.fixture
def short_segments(monkeypatch):
    """Segments of about 64 rows, so that an epoch has several."""
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 64)


def training(model, optimizer):
    """A loss, params, data and an optimizer."""
    predict, init, shape = MODELS[model]
    rng = np.random.default_rng(1)
    data = rng.normal(size=(N, *shape)).astype(np.float32), rng.integers(0, 3, N).astype(np.int32)
    return jaxgd.supervised(predict, jaxgd.cross_entropy), init(), data, OPTIMIZERS[optimizer]


def digest(state, losses):
    """The hash of all bits that a training ends with."""
    bits = hashlib.sha256(np.ascontiguousarray(losses).tobytes())
    for leaf in jax.tree.leaves(state):
        bits.update(np.asarray(leaf).tobytes())
    return bits.hexdigest()


def uninterrupted(model, optimizer, b):
    loss, params, data, descent = training(model, optimizer)
    run = jaxgd.fit(loss, params, data, optimizer=descent, epochs=EPOCHS, batch_size=b, key=KEY)
    return digest(run.state, run.history.loss)


def stopped_at_every_border(model, optimizer, b):
    """A chain of fits, each of which ends after one segment, none of which knows the others."""
    loss, state, data, descent = training(model, optimizer)
    position, losses, fits = jaxgd.Position(0), [], 0
    while position.epoch < EPOCHS:
        state, done, position = jaxgd.fit(
            loss,
            state,
            data,
            optimizer=descent,
            epochs=EPOCHS - position.epoch,
            batch_size=b,
            key=KEY,
            start=position,
            progress=lambda _: True,
        )[1:]
        losses.append(done.loss[~np.isnan(done.loss)])
        fits += 1
    assert fits == EPOCHS * len(batches.plan(data, b)) > EPOCHS
    return digest(state, np.concatenate(losses))


def streamed(model, optimizer, b):
    """The rows of each segment come from NumPy, as a file's would; the loop is written by hand."""
    loss, params, data, descent = training(model, optimizer)
    walked = model == "convolutional"
    epoch = (
        jaxgd.walk(jaxgd.step(loss, descent), b) if walked else jaxgd.minibatch(loss, descent, b)
    )
    epoch = epoch if walked else jax.jit(epoch)
    state, losses = jaxgd.init_state(params, descent), []
    for e in range(EPOCHS):
        order = np.asarray(jaxgd.shuffle(jax.random.fold_in(KEY, e), N))
        for segment in jaxgd.plan(data, b):
            state, out = epoch(state, tuple(leaf[order[segment]] for leaf in data))
            losses.append(out)
    return digest(state, np.concatenate(losses))


@pytest.mark.halved
@pytest.mark.optax_promotion
@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize(("model", "optimizer", "b"), CASES)
def test_one_training_has_one_hash(model, optimizer, b):
    expected = uninterrupted(model, optimizer, b)
    assert stopped_at_every_border(model, optimizer, b) == expected
    assert streamed(model, optimizer, b) == expected


@pytest.mark.optax_promotion
def test_another_process_ends_in_the_same_hash(monkeypatch):
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 64)
    program = (
        "import jax; jax.config.update('jax_num_cpu_devices', 8)\n"
        "from tests.laws.test_one_hash import batches, uninterrupted\n"
        "batches.SEGMENT_ROWS = 64\n"
        "print(uninterrupted('MLP', 'adam', 7))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == uninterrupted("MLP", "adam", 7)


def test_the_hash_sees_a_row_visited_twice():
    """The canary: another order, another hash."""
    loss, params, data, descent = training("linear", "sgd")
    epoch = jax.jit(jaxgd.visit(jaxgd.step(loss, descent), 7))
    order = np.arange(N)
    twice = np.where(order == 5, 4, order)
    state = jaxgd.init_state(params, descent)
    assert digest(*epoch(state, data, order)) != digest(*epoch(state, data, twice))


@pytest.mark.parametrize("n", [1, 5, 63, 64, 65, 127, 128, 129, 1000])
@pytest.mark.parametrize("b", [1, 7, 32, 64])
@pytest.mark.usefixtures("short_segments")
def test_a_plan_covers_the_epoch_in_segments_of_full_batches(n, b):
    if b > n:
        return
    plan = jaxgd.plan(np.zeros((n, 2), np.float32), b)
    assert [row for segment in plan for row in range(n)[segment]] == list(range(n))
    lengths = [segment.stop - segment.start for segment in plan]
    assert len(set(lengths[:-1])) <= 1
    assert all(length % b == 0 for length in lengths[:-1])
    assert all(length >= 2 * b for length in lengths) or lengths == [n]
    assert lengths[-1] < max(2 * (lengths[0]), n + 1)


def test_a_plan_follows_from_shapes_alone():
    shape = jax.ShapeDtypeStruct((60_000, 784), jnp.float32)
    plan = jaxgd.plan(shape, 32)
    assert {segment.stop - segment.start for segment in plan[:-1]} == {5344}
    assert plan == jaxgd.plan(np.zeros((60_000, 784), np.float32), 32)
