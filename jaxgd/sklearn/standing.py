"""A training of an estimator's model: it begins, descends, and stands where it may go on."""

from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgd.arguments import Task, check_count
from jaxgd.fitting import History, fit
from jaxgd.fitting.learning_rates import LearningRate
from jaxgd.inputs import OfRate
from jaxgd.losses import supervised
from jaxgd.models import Linear, init_mlp, linear, mlp
from jaxgd.objective import Loss
from jaxgd.optim import by_name
from jaxgd.optim.registry import REGISTRY
from jaxgd.stopping import Patience
from jaxgd.tabular.predictor import LINK_LOSSES
from jaxgd.tabular.weights import weighted


class Standing(NamedTuple):
    """Where a training stands, in NumPy's arrays: all that it takes to go on.

    `state` is a `State`, or params from which an optimizer begins anew.
    """

    state: PyTree
    epochs: int
    seed: int
    learning_rate: LearningRate
    optimizer: str

    @property
    def params(self) -> PyTree:
        """The params: a `Linear`, or a tuple of them, one a layer."""
        return getattr(self.state, "params", self.state)

    @property
    def layers(self) -> tuple[Linear, ...]:
        """The params as layers."""
        return (self.params,) if isinstance(self.params, Linear) else tuple(self.params)

    @property
    def hidden(self) -> tuple[int, ...]:
        """The widths of the hidden layers."""
        return tuple(layer.w.shape[1] for layer in self.layers[:-1])


class Descent(NamedTuple):
    """How to go on from a standing: `fit`'s arguments, but for the loss, the rows and the start."""

    task: Task
    optimizer: OfRate | str
    batch_size: int | None
    shuffle: bool
    patience: Patience | None
    verbose: bool

    def go_on(
        self, standing: Standing, rows: tuple, validation: tuple | None, epochs: int
    ) -> tuple[Standing, History]:
        """The standing after so many more epochs, and their history.

        Rows are (x, y), or (x, y, weight), in the float that the training is in. After a patience
        it goes on from the best params.
        """
        x, deep = rows[0], len(standing.layers) > 1
        batch_size = self.batch_size if self.batch_size is None else min(self.batch_size, len(x))
        with in_float(x.dtype):
            found = fit(
                loss_of(self.task, deep, len(rows) == 3),
                jax.device_put(standing.state),
                rows,
                optimizer=self.optimizer,
                learning_rate=standing.learning_rate,
                epochs=epochs,
                batch_size=batch_size,
                key=_keys(np.uint32(standing.seed))[1],
                shuffle=self.shuffle,
                start=standing.epochs,
                validation=validation,
                patience=self.patience,
                progress=self.verbose,
            )
        state = found.state if self.patience is None else found.params
        state, rate = jax.tree.map(np.asarray, state), found.history.learning_rate
        assert rate is not None
        end = standing._replace(state=state, epochs=found.position.epoch, learning_rate=rate)
        return end, found.history


def begun(
    sizes: tuple[int, ...],
    task: Task,
    dtype: np.dtype,
    seed: int,
    learning_rate: LearningRate,
    optimizer: str,
) -> Standing:
    """A training before its first update: zeros for a linear model, torch's draw for an MLP.

        init_key, order_key = jax.random.split(jax.random.key(seed))

    `sizes` is (features, hidden, …, outputs).
    """
    sizes = tuple(check_count("every width in hidden", width) for width in sizes)
    params: Any
    if len(sizes) == 2:
        outputs = sizes[1:] if task == "multiclass" else ()
        zeros: Any = partial(np.zeros, dtype=dtype)
        params = Linear(zeros((sizes[0], *outputs)), zeros(outputs))
    else:
        with in_float(dtype):
            drawn = _drawn(_keys(np.uint32(seed))[0], sizes)
        params = jax.tree.map(np.asarray, drawn)
    return Standing(params, 0, seed, learning_rate, optimizer)


def in_float(dtype: np.dtype) -> Any:
    """The context in which JAX's default float is this one."""
    return jax.enable_x64(dtype == np.float64)


@cache
def loss_of(task: Task, deep: bool, weighed: bool) -> Loss:
    """The loss of an example (x, y), or (x, y, weight): the same object for the same task."""
    if not deep:
        predict: Any = linear
    else:
        predict = mlp if task == "multiclass" else _lone_output
    loss = supervised(predict, LINK_LOSSES[task])
    return weighted(loss) if weighed else loss


def optimizer_of(name: str, options: tuple[tuple[str, Any], ...]) -> OfRate | str:
    """The optimizer as a function of its rate, or its name; ValueError for a name that is none.

    It is the same object for the same options: a program is kept for it.
    """
    by_name(name, REGISTRY)  # of others the params are not the answer
    return _with_options(name, options) if options else name


@lru_cache
def _with_options(name: str, options: tuple[tuple[str, Any], ...]) -> OfRate:
    return partial(_at, name, options)


def _at(name: str, options: tuple[tuple[str, Any], ...], rate: Any) -> Any:
    return by_name(name)(lr=rate, **dict(options))


def _lone_output(params: tuple[Linear, ...], x: Float[Array, "d"]) -> Float[Array, ""]:
    return mlp(params, x).reshape(())


@jax.jit
def _keys(seed: Array) -> tuple[Array, Array]:
    init_key, order_key = jax.random.split(jax.random.key(seed))
    return init_key, order_key


@partial(jax.jit, static_argnums=1)
def _drawn(key: Array, sizes: tuple[int, ...]) -> tuple[Linear, ...]:
    return init_mlp(key, sizes)
