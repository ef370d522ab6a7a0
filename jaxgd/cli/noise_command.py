"""`jaxgd noise`: what a mini-batch gradient of a table is worth, and which batch size follows."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from tyro.conf import OmitArgPrefixes, arg

from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.noise_report import Found, Measure, Trained, as_json, by_epoch, next_command, show
from jaxgd.cli.settings import (
    Keys,
    check_replaces_no_input,
    keys,
    make_room,
    optimizer_named,
    writable,
)
from jaxgd.cli.table_files import table_file
from jaxgd.cli.terminal import console
from jaxgd.descent import State, init_state, train, visit
from jaxgd.figures.curves import as_png
from jaxgd.figures.gradient_noise import batch_scatter, hyperbola
from jaxgd.inputs import check_batch_size, check_count
from jaxgd.objective import Loss
from jaxgd.storage.verified_file import write_atomically
from jaxgd.study.batch_scatter import scatter_of_batches
from jaxgd.study.critical_size import CriticalSize, critical_batch_size
from jaxgd.study.dual_norm import dual_noise_scale
from jaxgd.study.estimates import Estimate
from jaxgd.study.noise_scale import GradientNoise, gradient_noise
from jaxgd.study.preconditioning import preconditioner
from jaxgd.study.two_sizes import measured_step, noise_during
from jaxgd.tabular.predictor import Predictor

# In the norms that these descend in, the Euclidean noise scale says little; of others but SGD and
# its average no norm is known.
_EUCLIDEAN = {"sgd", "asgd"}
_PRECONDITIONED = {"adagrad", "adam", "adamax", "adamw", "nadam", "radam", "rmsprop"}
_SIGN = {"rprop"}

# The runs are judged on so many rows; so many batches are drawn of each size; no size in the runs
# is larger but that of all rows, and no run longer.
_JUDGED, _DRAWS, _LARGEST, _LONGEST = 4096, 48, 512, 10_000


class _Setting(NamedTuple):
    """What is trained: the loss of an example, the rows, and how."""

    loss: Loss
    data: PyTree
    optimizer: str
    learning_rate: float
    batch_size: int
    epochs: int
    keys: Keys


def noise(
    source: OmitArgPrefixes[DataOptions],
    *,
    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH …")] = (),
    optimizer: str = "sgd",
    learning_rate: float = 0.05,
    batch_size: int = 32,
    epochs: int = 20,
    critical: bool = True,
    seed: int = 0,
    out: Path = Path("jaxgd-noise"),
    table: Literal["csv", "parquet"] = "csv",
    json_: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Measure the noise of mini-batch gradients, and the batch size up to which larger ones pay.

    Trains as `jaxgd fit` does; measures the noise scale of every epoch from two batch sizes, and of
    single rows after the first and the last; and finds the critical batch size by runs that branch
    after the first epoch and go as far as 16 updates of the largest size. Writes batch-scatter.png,
    critical-batch-size.png and the numbers of each epoch.

    Args:
        source: What to learn from what.
        hidden: Widths of an MLP's hidden layers; by default the model is linear.
        optimizer: One of torch.optim's by its name, such as sgd, adam or rmsprop.
        learning_rate: Learning rate of the training; the runs look for their own from there.
        batch_size: Rows in a batch, at least 2.
        epochs: How often the training sees every row, at least 2.
        critical: Find the critical batch size by training, too.
        seed: Decides the held-out rows, an MLP's start and the order of rows.
        out: Directory for the figures and the numbers.
        table: Kind of file for the numbers.
        json_: Print one JSON object in the place of tables.
    """
    optimizer_named(optimizer, learning_rate)
    if check_count("epochs", epochs) < 2 or check_batch_size(batch_size) < 2:
        raise ValueError(
            "noise is measured over at least 2 epochs of batches of at least 2 rows; got "
            f"epochs={epochs}, batch_size={batch_size}. Use more."
        )
    for width in hidden:
        check_count("every width in hidden", width)
    run_keys = keys(seed)
    loaded = source.table()
    dataset = source.prepare(loaded, run_keys.split)
    n = len(dataset.train.y)
    if 2 * check_batch_size(batch_size, n) > n:
        raise ValueError(
            f"an epoch must have at least 2 batches; got batch_size={batch_size} with n={n}. "
            "Use a smaller --batch-size."
        )
    names = f"noise.{table}", "batch-scatter.png", "critical-batch-size.png"
    files = [writable(out / name) for name in (names if critical else names[:2])]
    for file in files:
        if source.data is not None:
            check_replaces_no_input(file, "--out", source.data)
        make_room(file)

    predictor = Predictor(len(dataset.schema.features), dataset.schema.target, hidden)
    data = jax.tree.map(jnp.asarray, dataset.train)
    setting = _Setting(predictor.loss, data, optimizer, learning_rate, batch_size, epochs, run_keys)
    found = _found(setting, predictor.init(run_keys.init), n, critical)
    write_atomically(files[0], table_file(by_epoch(found), files[0]))
    write_atomically(files[1], as_png(_scatter(setting, found)))
    if found.runs is not None:
        write_atomically(files[2], as_png(_hyperbola(n, found.runs)))

    rest = ["--epochs", f"{epochs}", "--seed", f"{seed}"]
    rest += ["--hidden", *map(str, hidden)] if hidden else []
    following = next_command(source, found, optimizer, learning_rate, rest)
    if json_:
        told = as_json(found) | {"files": [str(file) for file in files], "next": following}
        print(json.dumps(told, ensure_ascii=False))
        return
    show(found, loaded.source, dataset)
    screen = console()
    screen.print(f"written: {', '.join(map(str, files))}", soft_wrap=True)
    screen.print(f"next: {following}", soft_wrap=True)


def _found(setting: _Setting, params: PyTree, n: int, critical: bool) -> Found:
    trained = _train(setting, params)
    measure = partial(_measured, setting, jax.jit(partial(gradient_noise, setting.loss)))
    ends = measure(trained.first), measure(trained.last)
    geometry: str | None = "Euclidean"
    if setting.optimizer in _PRECONDITIONED:
        geometry = f"preconditioned as {setting.optimizer}"
    elif setting.optimizer in _SIGN:
        geometry = "in the dual norm of signs"
    elif setting.optimizer not in _EUCLIDEAN:
        geometry = None
    if not critical:
        return Found(n, geometry, trained, ends, None, None)
    runs = _runs(setting, trained, n)
    return Found(n, geometry, trained, ends, runs, measure(runs.reached))


def _train(setting: _Setting, params: PyTree) -> Trained:
    transformation = optimizer_named(setting.optimizer, setting.learning_rate)(
        setting.learning_rate
    )
    epoch = visit(measured_step(setting.loss, transformation), setting.batch_size)
    one, rest = (jax.jit(train(epoch, count)) for count in (1, setting.epochs - 1))
    key = setting.keys.order
    first, outs = one(init_state(params, transformation), setting.data, key)
    last, more = rest(first, setting.data, key, 1)
    losses, sizes = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outs, more)
    mean_losses = np.asarray(losses, np.float64).mean(axis=1)
    if not np.isfinite(mean_losses).all():
        raise FloatingPointError("the training diverged. Use a smaller --learning-rate.")
    return Trained(mean_losses, noise_during(sizes), first, last)


def _measured(setting: _Setting, noise: Callable[..., GradientNoise], state: State) -> Measure:
    """The noise of single rows, and as the optimizer measures it."""
    plain = own = noise(state.params, setting.data)
    if setting.optimizer in _SIGN:
        dual = dual_noise_scale(setting.loss, state.params, setting.data, norm="sign").noise_scale
        return Measure(plain, Estimate(dual, dual, dual), float(dual))
    if setting.optimizer in _PRECONDITIONED:
        scaled_by = preconditioner(state.opt_state)
        own = noise(state.params, setting.data, preconditioner=scaled_by)
    return Measure(plain, own.noise_scale, float(own.rows.noise_scale))


def _runs(setting: _Setting, trained: Trained, n: int) -> CriticalSize:
    """Runs of all sizes from the state after the first epoch."""
    judged = jax.tree.map(lambda a: a[:: -(-n // _JUDGED)], setting.data)
    return critical_batch_size(
        setting.loss,
        trained.first.params,
        setting.data,
        optimizer=optimizer_named(setting.optimizer, setting.learning_rate),
        learning_rate=setting.learning_rate,
        batch_sizes=_powers(4, min(n, _LARGEST)),
        key=setting.keys.order,
        opt_state=trained.first.opt_state,
        judged=judged,
        most=_LONGEST,
    )


def _powers(base: int, end: int) -> list[int]:
    """Half the base times its powers below the end, none of them close to it, and the end."""
    sizes = [b for i in range(1, 40) if 1.4 * (b := base**i // 2) < end]
    return [*sizes, end]


def _scatter(setting: _Setting, found: Found) -> Any:
    sizes, rows = _powers(2, found.n), found.ends[1].euclidean.rows
    draw = partial(scatter_of_batches, setting.loss, batch_sizes=sizes, draws=_DRAWS)
    return batch_scatter(
        np.asarray(sizes),
        np.asarray(jax.jit(draw)(found.trained.last.params, setting.data, key=setting.keys.order)),
        n=found.n,
        trace=float(rows.trace),
        squared_norm=float(rows.squared_norm),
        title=f"Gradients of mini-batches after the last epoch: noise scale {rows.noise_scale:.3g}",
    )


def _hyperbola(n: int, runs: CriticalSize) -> Any:
    return hyperbola(
        runs.batch_sizes,
        runs.updates,
        n=n,
        fewest=runs.fewest_updates,
        critical=float(runs.critical.value),
        title=f"Updates and examples to a training loss of {runs.target:.4g}",
    )
