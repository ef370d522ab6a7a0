"""How a fit makes its updates: by which loss and optimizer, at what rate, on which devices."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import PyTree

from jaxgd.descent import Epoch, State, init_state, strong
from jaxgd.fitting.checks import (
    check_finite,
    check_loss,
    check_optimizer,
    check_precise,
    check_same,
)
from jaxgd.fitting.fingerprint import of_program
from jaxgd.fitting.learning_rates import at_rate
from jaxgd.fitting.program import Program, has_convolution, parallel_program, program_of
from jaxgd.inputs import OfRate, Optimizer, check_state_of
from jaxgd.objective import Loss
from jaxgd.optim import skip_nonfinite
from jaxgd.precision import Precision, in_precision
from jaxgd.remembered import kept
from jaxgd.scale.agreement import Processes
from jaxgd.scale.epochs import DataParallel
from jaxgd.scale.placement import on_mesh


class Traced(NamedTuple):
    """What tracing a method has shown: hashes of loss and optimizer, whether the loss convolves."""

    marks: dict[str, str]
    convolves: bool


@dataclass(frozen=True)
class Method:
    """A loss and an epoch in a precision, an optimizer at a rate.

    `epoch` is one's own, None for that of the batch size. Where it is by several devices `parallel`
    is what was given.
    """

    loss: Loss
    optimizer: Optimizer
    epoch: Epoch | None
    parallel: DataParallel | None
    rate: float | None
    precision: Precision
    skips: bool

    @property
    def processes(self) -> Processes:
        """Those whose devices take part."""
        return Processes(None if self.parallel is None else self.parallel.devices.mesh)

    def place(self, tree: PyTree) -> PyTree:
        """The tree where the state lies."""
        return tree if self.parallel is None else on_mesh(tree, self.parallel.devices.mesh)

    def begin(self, params: PyTree) -> State:
        """The state to begin with: a new one for params, or the given one if it fits."""
        if not isinstance(params, State):
            check_finite(params)
            return init_state(params, self.optimizer)
        check_state_of(params, self.optimizer)
        check_finite(params.params)
        return strong(params)

    def traced(self, params: PyTree, example: PyTree) -> Traced:
        """What it traces to; raises for a loss or an optimizer that cannot be trained with.

        Both of an epoch by several devices must be the same.
        """
        loss = check_loss(self.loss, params, example)
        optimizer = of_program(check_optimizer(self.optimizer, params))
        marks = {"loss": of_program(loss), "optimizer": optimizer}
        if self.parallel is not None:
            theirs = check_loss(in_precision(self.parallel.loss, self.precision), params, example)
            optimizer = of_program(check_optimizer(self.parallel.optimizer, params))
            check_same(marks, {"loss": of_program(theirs), "optimizer": optimizer})
        return Traced(marks, has_convolution(loss))

    def program(self, traced: Traced, batch_size: int | None, on_cpu: bool) -> Program:
        """The program of its updates, compiled already where it was made before."""
        mark = "".join(traced.marks.values())
        if self.parallel is not None and self.epoch is not None:
            return parallel_program(self.loss, self.parallel, self.epoch, mark)
        host = traced.convolves and on_cpu
        return program_of(self.loss, self.optimizer, batch_size, self.epoch, host, mark)


def method_of(
    loss: Loss,
    optimizer: Optimizer | OfRate | str,
    epoch: Any,
    rate: float | None,
    precision: Precision,
    skips: bool,
) -> Method:
    """The method of a loss that is in its precision, and of optimizer and epoch at that rate."""
    optimizer, epoch = at_rate(optimizer, epoch, rate)
    parallel = epoch if isinstance(epoch, DataParallel) else None
    if epoch is not None:
        epoch = check_precise(epoch, precision)
    if skips:
        optimizer = _skipping(optimizer)
    return Method(loss, optimizer, epoch, parallel, rate, precision, skips)


@kept
def _skipping(optimizer: Optimizer) -> Optimizer:
    """The optimizer that skips, the same object each time."""
    return skip_nonfinite(optimizer)
