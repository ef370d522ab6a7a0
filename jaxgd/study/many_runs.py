"""Runs of many settings and seeds in one compiled program, a few epochs at a time.

A cell is a setting and a seed; cells are [seeds, settings]. Seeds share no rows' order, settings of
one seed do: their batches are gathered once, and their products are one of matrices.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, PyTree

from jaxgd.chunks import in_default_chunks
from jaxgd.descent import State, init_state
from jaxgd.epochs import minibatch
from jaxgd.inputs import Optimizer, count_examples
from jaxgd.objective import Loss, mean
from jaxgd.remembered import kept
from jaxgd.study.memory import taken_bytes
from jaxgd.study.micro_batches import SizedEpoch, by_any_size, by_one_size
from jaxgd.study.rows import rows_at

OptimizerOf = Callable[..., Optimizer]


class Rule(NamedTuple):
    """What a program is made of: it is compiled once for all that is equal.

    `micro` is the size of its micro-batches, and with `alone` the one batch size; keys are of the
    kind `key_impl`, products in the given precision. Devices share the settings, or with `by_seed`
    the seeds.
    """

    loss: Loss
    optimizer: OptimizerOf
    micro: int
    alone: bool
    key_impl: Any
    precision: Any
    devices: tuple[jax.Device, ...]
    by_seed: bool

    def epoch(self, optimizer: Optimizer) -> SizedEpoch:
        """An epoch of one cell."""
        if self.alone:
            return by_one_size(minibatch(self.loss, optimizer, self.micro), self.micro)
        return by_any_size(self.loss, optimizer, self.micro)


class Tried(NamedTuple):
    """Settings as a program takes them: arguments of the optimizer, and batch sizes."""

    points: dict[str, Any]
    sizes: Any


class Outcome(NamedTuple):
    """Of an epoch of each cell: its mean loss, the validation loss after it, and if all is finite.

    Without validation rows the validation loss is None.
    """

    loss: Float[Any, "s k *e"]
    validation_loss: Float[Any, "s k *e"] | None
    finite: Bool[Any, "s k *e"]


@dataclass(frozen=True)
class Program:
    """Programs of many cells, and where their arguments lie.

        init(params, tried, keys)                                      -> states
        advance(states, tried, keys, data, validation, epoch)          -> (states, outcome)

    States are donated.
    """

    init: jax.stages.Wrapped
    advance: jax.stages.Wrapped
    cells: Any
    tried: Any
    keys: Any
    everywhere: Any
    _compiled: dict[Any, jax.stages.Compiled] = field(default_factory=dict)
    _bytes: dict[Any, int] = field(default_factory=dict)

    def compiled(self, *given: PyTree) -> jax.stages.Compiled:
        """`advance` for arguments of these shapes, compiled once."""
        kind = kind_of(given)
        if kind not in self._compiled:
            self._compiled[kind] = self.advance.lower(*given).compile()
        return self._compiled[kind]

    def bytes_of(self, params: PyTree, devices: int, enough: int | float, *given: PyTree) -> int:
        """What a device needs for a call of `advance` with all but the states, new or brought.

        As the compiler says; it is not asked where the states alone need more than `enough`.
        """
        kind = kind_of((params, given))
        if kind not in self._bytes:
            tried, keys, *_ = given
            states = jax.eval_shape(self.init, params, tried, keys)
            held = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(states)) // devices
            if held > enough:
                return held
            states = self.init(params, tried, keys)
            self._bytes[kind] = taken_bytes(self.compiled(states, *given, np.int32(0)))
        return self._bytes[kind]

    def put(self, *trees: PyTree) -> tuple[PyTree, ...]:
        """The trees, whole on each device."""
        return tuple(jax.device_put(tree, self.everywhere) for tree in trees)

    def put_cells(self, states: PyTree) -> PyTree:
        """States of cells on the devices that train them."""
        return jax.device_put(states, self.cells)

    def put_tried(self, tried: Tried, keys: Any) -> tuple[Tried, Array]:
        """Settings and keys on the devices that try them."""
        return jax.device_put(tried, self.tried), jax.device_put(keys, self.keys)


def kind_of(tree: PyTree) -> Any:
    """Structure, shapes and dtypes, all that a program depends on."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, *map(jax.typeof, leaves)


@kept
def program_of(rule: Rule) -> Program:
    """The program of these settings, the same one for the same settings: it stays compiled."""
    init, advance = partial(_init, rule), partial(_advance, rule)
    if len(rule.devices) == 1:
        here = rule.devices[0]
        return Program(jax.jit(init), jax.jit(advance, donate_argnums=0), here, here, here, here)
    mesh = Mesh(np.array(rule.devices), ("runs",))
    every, split = PartitionSpec(), PartitionSpec("runs")
    tried, keys, cells = (
        (every, split, split) if rule.by_seed else (split, every, PartitionSpec(None, "runs"))
    )
    # No device asks another for anything: without check_vma each sees its own cells as all.
    there = partial(jax.shard_map, mesh=mesh, check_vma=False)
    init = there(init, in_specs=(every, tried, keys), out_specs=cells)
    given = (cells, tried, keys, every, every, every)
    advance = there(advance, in_specs=given, out_specs=(cells, cells))
    return Program(
        jax.jit(init),
        jax.jit(advance, donate_argnums=0),
        cells=NamedSharding(mesh, cells),
        tried=NamedSharding(mesh, tried),
        keys=NamedSharding(mesh, keys),
        everywhere=NamedSharding(mesh, every),
    )


def _init(rule: Rule, params: PyTree, tried: Tried, keys: Array) -> State:
    """Every cell's state before its first epoch: all seeds start alike."""
    states = jax.vmap(lambda one: init_state(params, rule.optimizer(**one.points)))(tried)
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (len(keys), *a.shape)), states)


def _advance(
    rule: Rule, states: State, tried: Tried, keys: Array, data: PyTree, held: PyTree, e: Array
) -> tuple[State, Outcome]:
    def of_seed(states: State, raw: Array) -> tuple[State, Outcome]:
        key = jax.random.wrap_key_data(raw, impl=rule.key_impl)
        order = order_of_epoch(key, e, count_examples(data))
        return jax.vmap(partial(_advance_cell, rule, data, held, order))(states, tried)

    return jax.vmap(of_seed)(states, keys)


def _advance_cell(
    rule: Rule, data: PyTree, held: PyTree, order: Array, state: State, tried: Tried
) -> tuple[State, Outcome]:
    state, loss = rule.epoch(rule.optimizer(**tried.points))(state, data, order, tried.sizes)
    held_loss = None if held is None else in_default_chunks(mean(rule.loss))(state.params, held)
    numbers = [loss, *jax.tree.leaves(state.params)]
    finite = jnp.all(jnp.stack([jnp.isfinite(a).all() for a in numbers]))
    return state, Outcome(loss, held_loss, finite)


def order_of_epoch(key: Array, e: Array, n: int) -> Array:
    """The order in which `train` visits the rows in epoch e: `shuffle(fold_in(key, e), n)`.

    By positions, and an even number of them: half as long to compile as all rows at once.
    """
    positions = jnp.minimum(jnp.arange(n + n % 2, dtype=jnp.int32), n - 1)
    return rows_at(key, e, positions, n)[:n]
