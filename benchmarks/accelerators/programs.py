"""The runs that are compiled for every target, as shapes: nothing is made and nothing is run."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxgd
from jaxgd.scale import data_parallel

N, D, CLASSES, HIDDEN, EPOCHS = 65_536, 128, 10, 256, 3
SEGMENT = 16_384
RATES = 64  # learning rates of a sweep

ONE, MANY, EIGHT = "one chip", "several chips", "eight chips at most"
TO_SCALE = "one chip's share of many rows"
ROWS, FLEET = 2**22, (1, 8, 64, 256, 1024, 4096)  # spread over so many chips


class Case(NamedTuple):
    """A run, the shapes that it takes, its number of updates and that of its parameters."""

    run: Callable[..., Any]
    arguments: tuple[Any, ...]
    updates: int
    params: int


class Model(NamedTuple):
    """A model's params, loss and optimizer, and the type of its labels."""

    params: Callable[[], Any]
    loss: Callable[..., Any]
    optimizer: Any
    labels: Any


def logistic(rate: Any = 1e-2) -> Model:
    """Logistic regression by SGD."""
    loss = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)
    return Model(lambda: jaxgd.init_linear(D), loss, jaxgd.optim.sgd(rate), np.float32)


def network() -> Model:
    """A perceptron with one hidden layer, by Adam."""
    loss = jaxgd.supervised(jaxgd.mlp, jaxgd.cross_entropy)
    return Model(
        lambda: jaxgd.init_mlp(jax.random.key(0), (D, HIDDEN, CLASSES)),
        loss,
        jaxgd.optim.adam(1e-3),
        np.int32,
    )


def gd(mesh: Mesh, n: int = N) -> Case:
    model = network()
    return _training(jaxgd.gd(model.loss, model.optimizer), model, mesh, 1, n)


def minibatch_256(mesh: Mesh) -> Case:
    model = network()
    return _training(jaxgd.minibatch(model.loss, model.optimizer, 256), model, mesh, N // 256)


def minibatch_32(mesh: Mesh) -> Case:
    model = logistic()
    return _training(jaxgd.minibatch(model.loss, model.optimizer, 32), model, mesh, N // 32)


def sgd(mesh: Mesh) -> Case:
    model = logistic()
    return _training(jaxgd.sgd(model.loss, model.optimizer), model, mesh, N)


def blocked(mesh: Mesh, **options: Any) -> Case:
    epoch = jaxgd.blocked_sgd(jaxgd.binary_cross_entropy_with_logits, 1e-2, **options)
    return _training(epoch, logistic(), mesh, N)


def sweep(mesh: Mesh) -> Case:
    """Mini-batches of 32 at many learning rates at once; an update is one of each."""
    one = minibatch_32(mesh)

    def at(rate: Any, state: Any, data: Any, key: Any) -> Any:
        model = logistic(rate)
        run = jaxgd.train(jaxgd.minibatch(model.loss, model.optimizer, 32), EPOCHS)
        return run(state, data, key)

    run = jax.vmap(at, in_axes=(0, None, None, None))
    whole = NamedSharding(mesh, PartitionSpec())
    rates = jax.ShapeDtypeStruct((RATES,), np.float32, sharding=whole)
    return Case(run, (rates, *one.arguments), one.updates, RATES * one.params)


def segment(mesh: Mesh) -> Case:
    """A segment of an epoch of mini-batches, its rows gathered already: what a stream hands on."""
    model = network()
    state, data, _ = _arguments(model, mesh, SEGMENT)
    epoch = jaxgd.minibatch(model.loss, model.optimizer, 256)
    return Case(epoch, (state, data), SEGMENT // 256, _numbers(state.params))


def by_all_devices(mesh: Mesh, **options: Any) -> Case:
    """Mini-batches of 256, each worked out by all devices: rows whole on each, or owned by one."""
    model = network()
    epoch = data_parallel(model.loss, model.optimizer, 256, mesh, **options)
    case = _training(epoch, model, mesh, N // 256)
    if options.get("rows") == "owned":
        return case
    state, data, key = case.arguments
    return case._replace(arguments=(state, _placed(data, state.params[0].w.sharding), key))


# By where they make sense: on several chips the rows are spread over them, unless they say where.
PROGRAMS: dict[str, dict[str, Callable[[Mesh], Case]]] = {
    ONE: {
        "GD": gd,
        "mini-batch 256": minibatch_256,
        "streamed segment": segment,
        "mini-batch 32": minibatch_32,
        "sweep of 64 rates": sweep,
        "SGD": sgd,
        "blocked SGD": blocked,
        "blocked SGD, blocks of 64": partial(blocked, block_size=64),
    },
    MANY: {
        "GD": gd,
        "mini-batch 256, rows on all": by_all_devices,
        "mini-batch 256, rows owned": partial(by_all_devices, rows="owned"),
    },
    EIGHT: {"mini-batch 256, deterministic": partial(by_all_devices, deterministic=True)},
    TO_SCALE: {f"GD of {ROWS // chips} rows": partial(gd, n=ROWS // chips) for chips in FLEET},
}


def programs_for(chips: int) -> dict[str, Callable[[Mesh], Case]]:
    """The programs for a target of so many chips."""
    if chips == 1:
        return PROGRAMS[ONE] | PROGRAMS[TO_SCALE]
    return PROGRAMS[MANY] | (PROGRAMS[EIGHT] if chips <= 8 else {})


def _training(
    epoch: Callable[..., Any], model: Model, mesh: Mesh, updates: int, n: int = N
) -> Case:
    arguments = _arguments(model, mesh, n)
    return Case(
        jaxgd.train(epoch, EPOCHS), arguments, EPOCHS * updates, _numbers(arguments[0].params)
    )


def _arguments(model: Model, mesh: Mesh, n: int) -> tuple[Any, Any, Any]:
    """State, data and key: the rows over the devices of the mesh, the rest whole on each."""
    whole = NamedSharding(mesh, PartitionSpec())
    rows = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    state = jax.eval_shape(lambda: jaxgd.init_state(model.params(), model.optimizer))
    key = jax.eval_shape(lambda: jax.random.key(0))
    data = (
        jax.ShapeDtypeStruct((n, D), np.float32, sharding=rows),
        jax.ShapeDtypeStruct((n,), model.labels, sharding=rows),
    )
    return _placed(state, whole), data, _placed(key, whole)


def _placed(tree: Any, sharding: NamedSharding) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree)


def _numbers(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
