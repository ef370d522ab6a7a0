"""Epochs of which every update is worked out by all devices of a mesh axis together."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PyTree

from jaxgd.batches import gather
from jaxgd.chunks import in_default_chunks, wide
from jaxgd.descent import Order, State, descend, strong, visit
from jaxgd.inputs import Optimizer, Padded, check_batch_size, count_spread
from jaxgd.layouts import beside, varying
from jaxgd.objective import Loss, Objective, mean
from jaxgd.scale import shares
from jaxgd.scale.placement import SHARDS, axis_of, lies_spread, on_mesh, spread
from jaxgd.scale.sums import summed, summed_in_order

Where = Literal["whole", "owned"]


class Devices(NamedTuple):
    """Who works: the devices of a mesh axis, in so many parts altogether, and with which rows."""

    mesh: Mesh
    axis: str
    parts: int
    rows: Where
    deterministic: bool

    @property
    def parts_each(self) -> int:
        """How many of the parts are a device's."""
        return self.parts // self.mesh.shape[self.axis]


def data_parallel(
    loss: Loss,
    optimizer: Optimizer,
    batch_size: int | None,
    mesh: Mesh,
    *,
    rows: Where = "whole",
    axis: str | None = None,
    deterministic: bool = False,
) -> "DataParallel":
    """An epoch of `minibatch`, or of `gd` for None, by all devices: `epoch(state, data, order)`.

        θ <- θ + optimizer(1/b Σ_devices Σ_i ∇loss(θ, i)),   i over the batch's rows on the device

    The updates of one device, to rounding: every batch is a real batch, of any size. With
    rows="whole" every device holds all rows, and takes an equal share of each batch. With "owned"
    the rows are spread over the axis (`spread`), and each device takes those of the batch that it
    holds; nothing that grows with the data or the batch is ever sent. Both send P + 1 numbers an
    update, P those of the params, in one all-reduce for each dtype; a batch of one row that all
    hold sends none. Params and optimizer state are whole on each device. An optimizer that uses
    the loss, such as a line search, is given the whole batch's.

    `deterministic` makes the update in 16 shards, two for each device at least, that are added up
    in a fixed order: the same bits on 1, 2, 4 and 8 devices, in one process or several, for the
    same `rows`. It sends as many bytes, in two collectives, and holds 16 / devices gradients.

    `axis` may be left out of a mesh of one. Owned mini-batches take as many passes as the fullest
    device needs, so that they have derivatives in forward mode only.
    Raises ValueError for another axis, rows or number of devices; while tracing for data that are
    not spread evenly, and what `visit` raises.
    Departs from minibatch and gd: nothing beyond rounding.
    """
    axis = axis_of(mesh, axis)
    parts = _check_shards(mesh.shape[axis]) if deterministic else mesh.shape[axis]
    devices = Devices(mesh, axis, parts, _check_rows(rows), deterministic)
    b = None if batch_size is None else check_batch_size(batch_size)
    return DataParallel(loss, optimizer, b, devices)


@dataclass(frozen=True, eq=False)
class DataParallel:
    """The epoch that `data_parallel` makes, and what `fit` asks of it."""

    loss: Loss
    optimizer: Optimizer
    batch_size: int | None
    devices: Devices

    def __call__(
        self, state: State, data: PyTree, order: Order = None
    ) -> tuple[State, Float[Array, "updates"]]:
        """The state after the updates of an order, and the loss before each."""
        n, held = count_spread(data), _rows_held(data, self.devices)
        state = beside(held, strong(state))
        objective = mean(_counted(self.loss))
        fns = objective, jax.value_and_grad(objective)
        if self.batch_size is None:
            chunked = partial(in_default_chunks, objective)
            fns = chunked(), chunked(jax.value_and_grad)
        value, gradient = (partial(_over_devices, fn, self.devices, n, held) for fn in fns)
        update = descend(_with_gradient(value, gradient), self.optimizer, value_and_grad=gradient)
        if self.batch_size is None:
            state, loss = update(state, None)
            return state, loss[None]
        return visit(update, self.batch_size)(state, jnp.arange(n, dtype=jnp.int32), order)

    def mean_of(self, loss: Loss) -> Objective:
        """The mean of a loss over all rows of data that lie as this epoch's, by all devices."""

        def of_rows(params: PyTree, data: PyTree) -> Float[Array, ""]:
            n, held = count_spread(data), _rows_held(data, self.devices)
            params = beside(held, strong(params))
            objective = in_default_chunks(mean(_counted(loss)))
            return _over_devices(objective, self.devices, n, held, params, None)

        return of_rows

    def placed(self, data: PyTree) -> PyTree:
        """The data as this epoch takes them: as they lie if it can, or put on the mesh.

        Owned rows that lie in parts which it cannot take are copied.
        """
        mesh, axis, parts, rows, _ = self.devices
        if rows == "whole":
            return on_mesh(data, mesh)
        fits = isinstance(data, Padded) or lies_spread(data, mesh, axis, parts)
        return data if fits else spread(data, mesh, axis)

    @property
    def mark(self) -> str:
        """What decides its updates, or their bits where it is deterministic, but for the loss."""
        kind = "in a fixed order" if self.devices.deterministic else "in any order"
        return f"data parallel, rows {self.devices.rows}, added up {kind}"


def _over_devices(
    fn: Objective, devices: Devices, n: int, data: PyTree, params: PyTree, rows: Array | None
) -> PyTree:
    """The mean of fn over a batch, given by its row numbers, or over all n rows for None."""
    everywhere = PartitionSpec()
    of_data = PartitionSpec(devices.axis) if devices.rows == "owned" else everywhere
    return jax.shard_map(
        partial(_on_a_device, fn, devices, n),
        mesh=devices.mesh,
        in_specs=(everywhere, of_data, everywhere),
        out_specs=everywhere,
    )(params, data, rows)


def _on_a_device(
    fn: Objective, devices: Devices, n: int, params: PyTree, data: PyTree, rows: Array | None
) -> PyTree:
    """What one device does of it, and the whole that it comes to, the same on all devices."""
    if rows is not None and rows.size == 1 and devices.rows == "whole":
        return fn(params, (gather(data, rows), jnp.ones(1, bool)))
    of_batch = partial(fn, varying(params, {devices.axis}))
    first = jax.lax.axis_index(devices.axis) * devices.parts_each
    if devices.rows == "whole":
        share, slots = shares.of_whole_rows(of_batch, data, rows, devices.parts)
    else:
        share, slots = shares.of_owned_rows(
            of_batch, data, n, rows, devices.parts, devices.parts_each, first
        )
    like = jax.eval_shape(share, first)
    share = partial(_widened, share)  # half precision is added up in float32
    if devices.deterministic:
        total = summed_in_order(share, first, devices.parts_each, devices.axis)
    else:
        total = summed(share(first), devices.axis)
    scale = slots / (n if rows is None else rows.size)
    return jax.tree.map(lambda a, like: (a * scale).astype(like.dtype), total, like)


def _widened(share: shares.OfPart, part: Array) -> PyTree:
    return jax.tree.map(wide, share(part))


def _counted(loss: Loss) -> Loss:
    """The loss of (example, counted): zero where it does not count, and so is its gradient."""

    def of_counted(params: PyTree, example_and_counted: Any) -> Array:
        example, counted = example_and_counted
        value = loss(params, example)
        return counted.astype(value.dtype) * value

    return of_counted


def _with_gradient(value: Objective, gradient: Objective) -> Objective:
    """The objective with this value, whose derivatives are those of `gradient`, in both modes.

    So a line search that differentiates the objective itself has them added up the same way.
    """
    objective = jax.custom_jvp(value)

    @objective.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        loss, grad = gradient(*primals)
        slopes = jax.tree.map(lambda g, t: jnp.sum(g * t).astype(loss.dtype), grad, tangents[0])
        return loss, sum(jax.tree.leaves(slopes), jnp.zeros_like(loss))

    return objective


def _rows_held(data: PyTree, devices: Devices) -> PyTree:
    """The arrays of the data; ValueError where they do not lie as `rows` says."""
    if devices.rows == "whole":
        if isinstance(data, Padded):
            raise ValueError('data are spread; got rows="whole". Use rows="owned".')
        return data
    held = data.rows if isinstance(data, Padded) else data
    if (rows := count_spread(held)) % devices.parts:
        raise ValueError(
            f"owned rows must divide into {devices.parts} equal parts; got n={rows}. "
            "Use jaxgd.scale.spread(data, mesh), which pads them and remembers n."
        )
    return held


def _check_rows(rows: Any) -> Where:
    if rows not in ("whole", "owned"):
        raise ValueError(
            f'rows must be "whole", all on each device, or "owned", spread over them; got {rows!r}.'
        )
    return rows


def _check_shards(devices: int) -> int:
    if SHARDS % devices or 2 * devices > SHARDS:
        raise ValueError(
            f"deterministic sums must be of {SHARDS} shards, two or more for each device; got "
            f"{devices} devices. Use 1, 2, 4 or {SHARDS // 2}."
        )
    return SHARDS
