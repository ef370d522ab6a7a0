"""A sweep's cells are single runs, whatever program, part or device they were trained in."""

import warnings
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgd import (
    Linear,
    init_state,
    linear,
    minibatch,
    optim,
    squared_error,
    supervised,
    train,
)
from jaxgd.study import Advanced, many_runs, sweep
from tests.tolerances import SWEEP_F32, SWEEP_F64

N, EPOCHS, SEEDS = 23, 3, (3, 1)
LOSS = supervised(linear, squared_error)
ONE = jax.devices()[:1]


def rows(n=N, d=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    return tuple(a.astype(jnp.asarray(0.0).dtype) for a in (x, x @ rng.normal(size=d) + 1))


def start():
    return Linear(jnp.array([1.0, 0.0, -1.0]), jnp.array(2.0))


def momentum(lr, momentum):
    return optim.sgd(lr, momentum)


@cache
def single_runs(optimizer, batch_size, loss=LOSS):
    """`train(minibatch(…))` of one point and seed: each epoch's mean loss, and the params' end."""

    def run(point, seed):
        made = optimizer(**point)
        state = init_state(start(), made)
        key = jax.random.key(seed)
        state, losses = train(minibatch(loss, made, batch_size), EPOCHS)(state, rows(), key)
        sizes = np.diff([*range(0, N, batch_size), N]).astype(losses.dtype)
        return losses @ sizes / N, state.params

    return jax.jit(run)


def farthest(found, optimizer, loss=LOSS):
    """How far any finite cell is off its single run, relative to the run's largest loss."""
    worst, dtype = 0.0, found.losses.values.dtype
    for b in sorted(set(found.settings.sizes.tolist())):
        run = single_runs(optimizer, b, loss)
        for k in np.flatnonzero(found.settings.sizes == b):
            for s, seed in enumerate(SEEDS):
                point = {n: dtype.type(v) for n, v in found.settings.point(k).items()}
                expected, params = run(point, seed)
                cell = found.losses.values.reshape(-1, len(SEEDS), EPOCHS)[k, s]
                lost = found.diverged.values.reshape(-1, len(SEEDS))[k, s]
                finite = all(bool(jnp.isfinite(p).all()) for p in params)
                assert lost == (not finite)
                if finite:
                    off = np.abs(cell - expected).max() / np.abs(expected).max()
                    worst = max(worst, float(off))
    return worst


def swept(optimizer, grid, **options):
    """A sweep whose best may lie on the grid's edge."""
    options = {"batch_sizes": (4, 6, N), "seeds": SEEDS, "devices": ONE, **options}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the best setting lies on the grid's edge")
        return sweep(
            LOSS, start(), rows(), optimizer=optimizer, grid=grid, epochs=EPOCHS, **options
        )


RATES = {"lr": [0.01, 0.05, 1e5], "momentum": [0.9, 0.0, 0.5]}


@pytest.fixture(scope="module")
def found():
    """Two of the rates are good; at the third every run diverges, among the others' lanes."""
    told = []
    made = swept(momentum, RATES, validation=rows(), progress=told.append)
    return made, told


def test_every_cell_is_its_single_run_and_none_is_poisoned_by_a_neighbour(found):
    found, _ = found
    assert found.losses.dims == ("lr", "momentum", "batch_size", "seed", "epoch")
    assert found.losses.shape == (3, 3, 3, 2, 3)
    assert [str(p) for p in found.programs] == ["batch size 4, 6, 23: by micro-batches of 2"]
    diverged = found.diverged.values
    assert diverged[2].all(where=np.array([True, True, False])[:, None])  # b = n updates thrice
    assert not diverged[:2].any()
    assert farthest(found, momentum) < SWEEP_F32


def test_a_second_sweep_of_other_values_compiles_nothing(found, monkeypatch):
    def refuse(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    other = {"lr": [0.02, 0.03, 0.01], "momentum": [0.1, 0.2, 0.3]}
    again = swept(momentum, other, batch_sizes=(8, 10, N), seeds=(7, 8), validation=rows())
    assert np.isfinite(again.losses.values).all()


def test_validation_losses_are_those_after_the_epoch(found):
    found, _ = found
    at = {"lr": 0.05, "momentum": 0.5, "batch_size": 6}
    _, params = single_runs(momentum, 6)({"lr": np.float32(0.05), "momentum": np.float32(0.5)}, 1)
    x, y = rows()
    expected = np.mean((x @ params.w + params.b - y) ** 2)
    last = found.validation_losses.sel(**at, seed=1, epoch=EPOCHS)
    np.testing.assert_allclose(last.values, expected, rtol=SWEEP_F32)


def test_progress_is_told_after_each_epoch_of_what_is_done(found):
    _, told = found
    assert told == [Advanced(54 * (e + 1), 54 * EPOCHS) for e in range(EPOCHS)]


def test_in_parts_as_memory_allows_it_is_the_same(found):
    whole, _ = found
    program, told = many_runs.program_of(rule_of(momentum)), []
    (compiled,) = program._compiled.values()
    memory = compiled.memory_analysis()
    taken = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    parts = swept(momentum, RATES, validation=rows(), memory=taken, progress=told.append)
    assert parts.programs[0].parts > 1
    assert told[-1] == Advanced(54 * EPOCHS, 54 * EPOCHS)
    good = ~whole.diverged.values
    np.testing.assert_array_equal(parts.diverged.values, whole.diverged.values)
    off = np.abs(parts.losses.values - whole.losses.values)[good].max()
    assert off < SWEEP_F32 * whole.losses.values[good].max()


def rule_of(optimizer):
    impl = jax.random.key_impl(jax.random.key(0))
    return many_runs.Rule(LOSS, optimizer, 2, False, impl, None, tuple(ONE), False)


def test_a_run_that_fits_in_no_memory_is_refused():
    with pytest.raises(MemoryError, match="a device must have memory for one run; it takes"):
        swept(momentum, RATES, memory=1)


@pytest.fixture
def adam_in_f64(x64):
    return swept(optim.adam, {"lr": [0.01, 0.1, 0.3]}, devices=jax.devices()[:4])


def test_over_devices_in_float64_with_adam(adam_in_f64):
    """Nine settings on four devices: three stand there for their number only."""
    assert farthest(adam_in_f64, optim.adam) < SWEEP_F64
    program = many_runs.program_of(rule_of(optim.adam)._replace(devices=tuple(jax.devices()[:4])))
    (compiled,) = program._compiled.values()
    text = compiled.as_text()
    assert not [word for word in ("all-reduce", "all-gather", "permute(") if word in text]


def twice(lr):
    """Looks at its batch again, as a line search does: it descends along another point's slope."""

    def update(grads, state, params, *, value_fn, **_):
        elsewhere = jax.grad(value_fn)(jax.tree.map(lambda p: p + 1, params))
        return jax.tree.map(lambda g: -lr * g, elsewhere), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def test_an_optimizer_that_evaluates_its_batch_again_has_a_program_a_size():
    found = swept(twice, {"lr": [0.01, 0.02]}, batch_sizes=(4, 12))
    assert [(p.batch_sizes, p.micro_batch) for p in found.programs] == [((4,), 4), ((12,), 12)]
    assert "evaluates its batch more than once" in str(found.programs[0])
    assert farthest(found, twice) < SWEEP_F32


def test_points_may_name_their_own_batch_sizes():
    points = [
        {"lr": 0.01, "momentum": 0.9, "batch_size": 6},
        {"lr": 0.02, "momentum": 0.0, "batch_size": 4},
        {"lr": 0.03, "momentum": 0.5, "batch_size": 4},
    ]
    found = swept(momentum, points, batch_sizes=None)
    assert found.losses.dims == ("point", "seed", "epoch")
    assert farthest(found, momentum) < SWEEP_F32
    table = found.table()
    assert list(table) == ["point", "lr", "momentum", "batch_size", "seed", "epoch", "loss",
                           "diverged"]  # fmt: skip
    assert table["batch_size"][0] == 6
    assert table["lr"][-1] == 0.03


@pytest.mark.parametrize(
    ("grid", "options", "told"),
    [
        ({"lr": []}, {}, "lr must be one or more real numbers"),
        ({"lr": [0.1, 0.1]}, {}, "lr must be one or more different numbers"),
        ({"lr": ["0.1"]}, {}, "lr must be one or more real numbers; got '0.1'"),
        ({"lr": [0.1], "batch_size": [4]}, {}, "the grid must name arguments of the optimizer"),
        ([{"lr": 0.1}, {"momentum": 0.1}], {}, "points must be one or more, all of the same names"),
        ({"lr": [-1.0]}, {}, "lr must be finite and at least 0"),
        ({"lr": [0.1]}, {"batch_sizes": (N + 1,)}, r"batch_size must be in \[1, n\]"),
        ({"lr": [0.1]}, {"batch_sizes": None}, "batch_sizes must be given"),
        ({"lr": [0.1]}, {"seeds": ()}, "seeds must be one or more different integers"),
    ],
)
def test_what_cannot_be_tried_is_refused(grid, options, told):
    with pytest.raises(ValueError, match=told):
        swept(lambda **point: optim.sgd(**point), grid, **options)
