"""`jaxgd noise`: what a mini-batch gradient of a table is worth, and which batch size follows."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from tyro.conf import OmitArgPrefixes, arg

from jaxgd.cli.as_json import print_json
from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.files import checked_files
from jaxgd.cli.following import command
from jaxgd.cli.noise_report import Found, Measure, MeasuredRun, as_json, by_epoch, show, suggested
from jaxgd.cli.settings import Keys, keys, optimizer_named
from jaxgd.cli.table_files import table_file
from jaxgd.cli.terminal import show_next
from jaxgd.descent import State, init_state, train, visit
from jaxgd.figures.curves import as_png
from jaxgd.figures.gradient_noise import batch_scatter, hyperbola
from jaxgd.inputs import check_batch_size, check_count
from jaxgd.objective import Loss
from jaxgd.storage.verified_file import write_atomically
from jaxgd.study.batch_scatter import scatter_of_batches
from jaxgd.study.critical_size import CriticalSize, critical_batch_size, updates_at
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

# So many batches are drawn of each size; no size in the runs is larger, and no run longer.
_DRAWS, _LARGEST, _LONGEST = 48, 512, 10_000


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
    table: Path | None = None,
    json: bool = False,
) -> None:
    """Measure the noise of mini-batch gradients, and the batch size up to which larger ones pay.

    Trains as `jaxgd fit` does; measures the noise scale of every epoch from two batch sizes, and of
    single rows after the first and the last; and finds the critical batch size by runs that branch
    after the first epoch and go as far as 16 updates of the largest size. Writes batch-scatter.png,
    critical-batch-size.png and the numbers of each epoch (noise.csv).

    Args:
        source: What to learn from what.
        hidden: Widths of an MLP's hidden layers; by default the model is linear.
        optimizer: One of torch.optim's by its name, such as sgd, adam or rmsprop.
        learning_rate: Learning rate of the training; the runs look for their own from there.
        batch_size: Rows in a batch, at least 2.
        epochs: How often the training sees every row, at least 2.
        critical: Find the critical batch size by training, too.
        seed: Decides the held-out rows, an MLP's start and the order of rows.
        out: Directory for the pictures and the table.
        table: Where the table goes instead: CSV, or Parquet by a name that ends in .parquet.
        json: Print what was found as JSON.
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
    names = {"table": "noise.csv", "scatter": "batch-scatter.png"}
    names |= {"hyperbola": "critical-batch-size.png"} if critical else {}
    files = checked_files(out, names, table, source.data)

    predictor = Predictor(len(dataset.schema.features), dataset.schema.target, hidden)
    data = jax.tree.map(jnp.asarray, dataset.train)
    setting = _Setting(predictor.loss, data, optimizer, learning_rate, batch_size, epochs, run_keys)
    found = _found(setting, predictor.init(run_keys.init), n, critical)
    write_atomically(files["table"], table_file(by_epoch(found), files["table"]))
    write_atomically(files["scatter"], as_png(_scatter(setting, found)))
    if found.runs is not None:
        write_atomically(files["hyperbola"], as_png(_hyperbola(n, found.runs)))

    size, rate = suggested(found, learning_rate)
    shared = {"optimizer": optimizer, "epochs": epochs, "hidden": hidden, "seed": seed}
    options = {"learning_rate": rate, "batch_size": size, **shared}
    commands = {"train at that size": command("fit", source, options)}
    if json:
        print_json(as_json(found), judged_by="training loss", commands=commands, files=files)
        return
    show(found, loaded.source, dataset)
    show_next(commands, files)


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


def _train(setting: _Setting, params: PyTree) -> MeasuredRun:
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
    return MeasuredRun(mean_losses, noise_during(sizes), first, last)


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


def _runs(setting: _Setting, trained: MeasuredRun, n: int) -> CriticalSize:
    """Runs of all sizes from the state after the first epoch."""
    return critical_batch_size(
        setting.loss,
        trained.first.params,
        setting.data,
        optimizer=optimizer_named(setting.optimizer, setting.learning_rate),
        learning_rate=setting.learning_rate,
        batch_sizes=_raced(min(n, _LARGEST)),
        key=setting.keys.order,
        opt_state=trained.first.opt_state,
        most=_LONGEST,
    )


def _raced(end: int) -> list[int]:
    """Sizes a factor of 4 apart; of few rows of 2, since a hyperbola needs three of them."""
    sizes = _powers(4, end)
    return sizes if len(sizes) > 2 else _powers(2, end)


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
    critical = float(runs.critical.value)
    return hyperbola(
        runs.batch_sizes,
        runs.updates,
        n=n,
        fitted=partial(updates_at, n=n, fewest=runs.fewest_updates, critical=critical),
        critical=critical,
        title=f"Updates and examples to a training loss of {runs.target:.4g}",
    )
