"""A sweep's cells are single runs, whatever program, part or device they were trained in."""

import itertools
import warnings
from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import numpy as np
import optax
import pytest

from jaxgd import init_state, minibatch, optim, train
from jaxgd.study import Advanced, many_runs, sweep
from tests.study.single_runs import LOSS, rows, run, slope, start
from tests.tolerances import SWEEP_F32, SWEEP_F64

pytestmark = pytest.mark.usefixtures("quick_compile")

N, EPOCHS, SEEDS = 24, 3, (3, 1)
ONE = jax.devices()[:1]
FLOAT32_MAX = 3e38


def momentum(lr, momentum):
    return optim.sgd(lr, momentum)


def farthest(found, single_run):
    """How far any finite cell is off its single run, relative to the run's largest loss."""
    worst, settings = 0.0, found.settings
    cells = found.losses.values.reshape(len(settings), len(SEEDS), EPOCHS)
    diverged = found.diverged.values.reshape(len(settings), len(SEEDS))
    for k, (s, seed) in itertools.product(range(len(settings)), enumerate(SEEDS)):
        expected = single_run(settings.point(k), int(settings.sizes[k]), seed)
        assert diverged[k, s] == (not expected.max() < FLOAT32_MAX)
        if not diverged[k, s]:
            worst = max(worst, float(np.abs(cells[k, s] - expected).max() / expected.max()))
    return worst


def in_numpy(n=N, **options):
    return lambda point, b, seed: run(point, b, seed, n, EPOCHS, **options)[0]


def swept(optimizer, grid, n=N, **options):
    """A sweep whose best may lie on the grid's edge."""
    options = {"batch_sizes": (4, 10, N), "seeds": SEEDS, "devices": ONE, **options}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the best setting lies on the grid's edge")
        return unchecked(sweep)(
            LOSS, start(), rows(n), optimizer=optimizer, grid=grid, epochs=EPOCHS, **options
        )


RATES = {"lr": [0.01, 0.05, 1e5], "momentum": [0.9, 0.0, 0.5]}


@pytest.fixture(scope="module")
def found():
    """Two of the rates are good; at the third every run diverges, among the others' lanes."""
    told = []
    made = swept(momentum, RATES, validation=rows(N), progress=told.append)
    return made, told


def test_every_cell_is_its_single_run_and_none_is_poisoned_by_a_neighbour(found):
    found, _ = found
    assert found.losses.dims == ("lr", "momentum", "batch_size", "seed", "epoch")
    assert found.losses.shape == (3, 3, 3, 2, 3)
    assert [str(p) for p in found.programs] == ["batch size 4, 10, 24: by micro-batches of 2"]
    diverged = found.diverged.values
    assert diverged[2].all(where=np.array([True, True, False])[:, None])  # b = n updates thrice
    assert not diverged[:2].any()
    assert farthest(found, in_numpy()) < SWEEP_F32


def test_a_second_sweep_of_other_values_compiles_nothing(found, monkeypatch):
    def refuse(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    other = {"lr": [0.02, 0.03, 0.01], "momentum": [0.1, 0.2, 0.3]}
    again = swept(momentum, other, batch_sizes=(8, 6, N), seeds=(7, 8), validation=rows(N))
    assert np.isfinite(again.losses.values).all()


def test_validation_losses_are_those_after_the_epoch(found):
    found, _ = found
    point = {"lr": 0.05, "momentum": 0.5}
    _, params = run(point, 10, 1, N, EPOCHS)
    last = found.validation_losses.sel(**point, batch_size=10, seed=1, epoch=EPOCHS)
    np.testing.assert_allclose(last.values, slope(params, *rows(N))[0], rtol=SWEEP_F32)


def test_progress_is_told_after_each_epoch_of_what_is_done(found):
    _, told = found
    assert told == [Advanced(54 * (e + 1), 54 * EPOCHS) for e in range(EPOCHS)]


def test_in_parts_as_memory_allows_it_is_the_same(found):
    whole, _ = found
    program, told = many_runs.program_of(rule_of(momentum)), []
    (compiled,) = program._compiled.values()
    memory = compiled.memory_analysis()
    taken = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    parts = swept(momentum, RATES, validation=rows(N), memory=taken, progress=told.append)
    assert parts.programs[0].parts > 1
    assert told[-1] == Advanced(54 * EPOCHS, 54 * EPOCHS)
    good = ~whole.diverged.values
    np.testing.assert_array_equal(parts.diverged.values, whole.diverged.values)
    off = np.abs(parts.losses.values - whole.losses.values)[good].max()
    assert off < SWEEP_F32 * whole.losses.values[good].max()


def rule_of(optimizer, micro=2, alone=False, devices=tuple(ONE)):
    impl = jax.random.key_impl(jax.random.key(0))
    return many_runs.Rule(LOSS, optimizer, micro, alone, impl, None, devices, False)


def test_a_run_that_fits_in_no_memory_is_refused():
    with pytest.raises(MemoryError, match="a device must have memory for one run; it takes"):
        swept(momentum, RATES, memory=1)


def adam_runs(batch_size):
    """`train(minibatch(…))` itself: one program, a rate and a seed at a time."""

    def run(rate, key):
        optimizer = optim.adam(rate)
        train_ = train(minibatch(LOSS, optimizer, batch_size), EPOCHS)
        return train_(init_state(start(), optimizer), rows(N - 1), key)[1]

    compiled, shares = jax.jit(run), np.diff([*range(0, N - 1, batch_size), N - 1]) / (N - 1)
    return lambda rate, seed: np.asarray(compiled(rate, jax.random.key(seed))) @ shares


def test_over_devices_in_float64_with_adam(x64):
    """Five settings on four devices: three stand there for their number only."""
    devices = jax.devices()[:4]
    rates = [0.01, 0.03, 0.1, 0.2, 0.3]
    found = swept(optim.adam, {"lr": rates}, N - 1, batch_sizes=(8,), seeds=SEEDS, devices=devices)
    single = adam_runs(8)
    assert farthest(found, lambda point, _, seed: single(point["lr"], seed)) < SWEEP_F64
    program = many_runs.program_of(rule_of(optim.adam, 8, alone=True, devices=tuple(devices)))
    (compiled,) = program._compiled.values()
    text = compiled.as_text()
    assert not [word for word in ("all-reduce", "all-gather", "permute(") if word in text]


def test_micro_batches_in_float64_with_adam(x64):
    """The last micro-batch is a single row, the last batch of both sizes is short."""
    found = swept(optim.adam, {"lr": [0.1, 0.2]}, N - 1, batch_sizes=(4, 6), seeds=SEEDS)
    assert found.programs[0].micro_batch == 2
    single = {b: adam_runs(b) for b in (4, 6)}
    assert farthest(found, lambda point, b, seed: single[b](point["lr"], seed)) < SWEEP_F64


def twice(lr):
    """Looks at its batch again, as a line search does: it descends along another point's slope."""

    def update(grads, state, params, *, value_fn, **_):
        elsewhere = jax.grad(value_fn)(jax.tree.map(lambda p: p + 1, params))
        return jax.tree.map(lambda g: -lr * g, elsewhere), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def test_an_optimizer_that_evaluates_its_batch_again_has_a_program_a_size():
    found = swept(twice, {"lr": [0.01, 0.02]}, batch_sizes=(4, 10))
    assert [(p.batch_sizes, p.micro_batch) for p in found.programs] == [((4,), 4), ((10,), 10)]
    assert "evaluates its batch more than once" in str(found.programs[0])
    assert farthest(found, in_numpy(ahead=1.0)) < SWEEP_F32


def test_points_may_name_their_own_batch_sizes():
    points = [
        {"lr": 0.01, "momentum": 0.9, "batch_size": 10},
        {"lr": 0.02, "momentum": 0.0, "batch_size": 4},
        {"lr": 0.03, "momentum": 0.5, "batch_size": 4},
    ]
    found = swept(momentum, points, batch_sizes=None)
    assert found.losses.dims == ("point", "seed", "epoch")
    assert farthest(found, in_numpy()) < SWEEP_F32
    table = found.table()
    assert list(table) == ["point", "lr", "momentum", "batch_size", "seed", "epoch", "loss",
                           "diverged"]  # fmt: skip
    assert table["batch_size"][0] == 10
    assert table["lr"][-1] == 0.03


@pytest.mark.parametrize(
    ("grid", "options", "told"),
    [
        ({"lr": []}, {}, "lr must be one or more finite real numbers"),
        ({"lr": [0.1, 0.1]}, {}, "lr must be one or more different numbers"),
        ({"lr": ["0.1"]}, {}, "lr must be one or more finite real numbers; got '0.1'"),
        ({"lr": [0.1, np.nan]}, {}, "lr must be one or more finite real numbers; got nan"),
        ({"lr": 0.1}, {}, r"lr must be a list of numbers; got 0.1. Use \[0.1\]."),
        ({"lr": "0.1"}, {}, "lr must be a list of numbers; got '0.1'"),
        ({"lr": [0.1], "batch_size": [4]}, {}, "the grid must name arguments of the optimizer"),
        ([{"lr": 0.1}, {"momentum": 0.1}], {}, "points must be one or more, all of the same names"),
        ({"lr": [0.1, -1.0]}, {}, "lr must be finite and at least 0; got lr=-1.0"),
        ({"lr": [0.1], "momentum": [-1.0]}, {}, "momentum must be"),
        ({"lr": [0.1]}, {"batch_sizes": (N + 1,)}, r"batch_size must be in \[1, n\]"),
        ({"lr": [0.1]}, {"batch_sizes": 4}, r"batch_sizes must be a list of numbers; got 4. Use"),
        ({"lr": [0.1]}, {"batch_sizes": None}, "batch_sizes must be given"),
        ({"lr": [0.1]}, {"seeds": ()}, "seeds must be one or more different integers"),
        ({"lr": [0.1]}, {"seeds": 5}, "seeds must be one or more different integers; got 5"),
    ],
)
def test_what_cannot_be_tried_is_refused(grid, options, told):
    with pytest.raises(ValueError, match=told):
        swept(lambda **point: optim.sgd(**point), grid, **options)


@pytest.mark.parametrize(
    ("optimizer", "grid", "options", "told"),
    [
        (optim.sgd, [{"lr": 0.1, "batch_size": 4.7}], {"batch_sizes": None}, "got batch_size=4.7"),
        (optim.sgd, {"lr": [0.1]}, {"batch_sizes": (4.7,)}, "batch_size must be an integer"),
        (optim.sgd, [0.1, 0.2], {}, "the grid must be values by name, or a list of points by name"),
        (optim.sgd, 0.1, {}, "the grid must be values by name, or a list of points by name"),
        (optax.sgd(0.1), {"lr": [0.1]}, {}, "optimizer must be a function that makes one of its"),
        (lambda lr: lr, {"lr": [0.1]}, {}, r"optimizer\(\*\*point\) must return an optax"),
    ],
)
def test_what_is_of_another_kind_is_refused(optimizer, grid, options, told):
    with pytest.raises(TypeError, match=told):
        swept(optimizer, grid, **options)
