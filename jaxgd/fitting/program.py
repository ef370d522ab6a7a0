"""What a fit runs on the device: the segments of an epoch, and the validation loss."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from jaxgd.batches import gather
from jaxgd.descent import Epoch, State, Update, step
from jaxgd.epochs import gd, minibatch
from jaxgd.fitting.checks import all_finite, check_epoch
from jaxgd.fitting.rows import Visit
from jaxgd.host_loop import walk
from jaxgd.inputs import Optimizer, count_examples, count_spread
from jaxgd.objective import Loss, mean
from jaxgd.remembered import kept
from jaxgd.scale.epochs import DataParallel

Segment = Callable[[State, PyTree], tuple[State, Array]]

_ALL_ROWS = 2**31


class Program(NamedTuple):
    """A fit's programs: `segment(state, rows) -> (state, losses)`, its rows as they lie.

    `compile(state, rows)` compiles all that a segment of such rows runs, once it is known to make
    the updates of its batch size; `validate(params, data)` is the mean loss.
    """

    segment: Segment
    compile: Callable[[State, PyTree], None]
    validate: jax.stages.Wrapped


@kept
def program_of(
    loss: Loss,
    optimizer: Optimizer,
    batch_size: int | None,
    epoch: Epoch | None,
    host: bool,
    fingerprint: str,
) -> Program:
    """The program of these settings, the same one for the same settings: it stays compiled.

    A function may have become another one, by a global that it reads: the fingerprint of what loss
    and optimizer trace to tells, and serves for that alone.
    """
    del fingerprint
    validate = jax.jit(mean(loss))
    if host and epoch is None and batch_size is not None:
        return _walked(step(loss, optimizer), batch_size, validate)
    if epoch is None:
        # A chunk at a time is a loop too: for convolutions all rows are one chunk.
        descent = gd(loss, optimizer, chunk=_ALL_ROWS if host else None)
        epoch = minibatch(loss, optimizer, batch_size) if batch_size else descent
    segment = jax.jit(epoch)

    def compile(state: State, rows: PyTree) -> None:
        lowered = segment.lower(state, rows)
        n = count_examples(rows)
        check_epoch(lowered.out_info, n, batch_size or n)
        lowered.compile()
        all_finite.lower(state.params).compile()

    return Program(segment, compile, validate)


@kept
def parallel_program(loss: Loss, parallel: DataParallel, epoch: Epoch, fingerprint: str) -> Program:
    """The program of an epoch by all devices of a mesh, `epoch` being `parallel` in a precision."""
    del fingerprint
    everywhere = NamedSharding(parallel.devices.mesh, PartitionSpec())
    validate = jax.jit(parallel.mean_of(loss), out_shardings=everywhere)
    segment = jax.jit(lambda state, visit: epoch(state, *visit), out_shardings=everywhere)

    def compile(state: State, visit: Visit) -> None:
        lowered = segment.lower(state, visit)
        n = count_spread(visit.data) if visit.order is None else len(visit.order)
        check_epoch(lowered.out_info, n, parallel.batch_size or n)
        lowered.compile()
        all_finite.lower(state.params).compile()

    return Program(segment, compile, validate)


def has_convolution(traced: ClosedJaxpr) -> bool:
    """Whether a traced program convolves, in whatever it calls."""
    return any(e.primitive.name == "conv_general_dilated" for e in _equations(traced.jaxpr))


def _walked(update: Update, b: int, validate: jax.stages.Wrapped) -> Program:
    def compile(state: State, rows: PyTree) -> None:
        n = count_examples(rows)
        for size in {min(b, n), n % b} - {0}:
            batch = jax.eval_shape(gather, rows, jnp.arange(size))
            jax.jit(update).lower(state, batch).compile()
        all_finite.lower(state.params).compile()

    return Program(walk(update, b), compile, validate)


def _equations(jaxpr: Jaxpr) -> Iterable[Any]:
    """Every equation of a program, those of its inner programs too."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: isinstance(p, ClosedJaxpr | Jaxpr)
        ):
            if isinstance(value, ClosedJaxpr | Jaxpr):
                yield from _equations(value.jaxpr if isinstance(value, ClosedJaxpr) else value)
