"""The three descents as PyTorch users write them, over a row order that the caller gives.

for epoch in range(epochs):
    for batch in batches(order[epoch]):
        optimizer.zero_grad(); loss = criterion(model(x), y); loss.backward(); optimizer.step()
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

Criterion = Callable[[Tensor, Tensor], Tensor]
Order = Sequence[Sequence[int]] | Tensor


class Trajectory(NamedTuple):
    """What a run left behind, one entry an update.

    `losses` is the batch loss before each update; `params` the parameters after it, by name.
    """

    losses: list[float]
    params: list[dict[str, Tensor]]


def gd(
    model: nn.Module,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    epochs: int,
) -> Trajectory:
    """A run of full-batch gradient descent: one update an epoch, on all rows as they lie."""
    return _descend(model, criterion, optimizer, ((x, y) for _ in range(epochs)))


def sgd(
    model: nn.Module,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    order: Order,
) -> Trajectory:
    """A run of stochastic gradient descent: one update a row, in the order [epochs, n]."""
    return minibatch(model, criterion, optimizer, x, y, order, 1)


def minibatch(
    model: nn.Module,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    order: Order,
    batch_size: int,
) -> Trajectory:
    """A run of mini-batch descent in the order [epochs, n]; the last batch may be smaller."""
    batches = (
        (x[rows], y[rows])
        for epoch_order in torch.as_tensor(order)
        for rows in epoch_order.split(batch_size)
    )
    return _descend(model, criterion, optimizer, batches)


def _descend(
    model: nn.Module,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
) -> Trajectory:
    trajectory = Trajectory([], [])
    for x, y in batches:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        trajectory.losses.append(loss.item())
        trajectory.params.append({name: p.detach().clone() for name, p in model.named_parameters()})
    return trajectory
