"""Faults upstream of the optimizer: the start, the rows, the model, the loss, the gradient."""

from functools import partial

import numpy as np
import torch

from jaxgd.equivalence import Recipe
from tests.equivalence.pairs import BOTH, Pair
from tests.equivalence.planting import (
    ADAM,
    MOMENTUM,
    MOMENTUM_RECIPE,
    in_torch,
)
from tests.equivalence.trainings import (
    ROWS,
    batches,
    data,
    epoch_orders,
    start,
)


def summed(outputs, y):
    return torch.nn.functional.mse_loss(outputs, y, reduction="sum")


def summed_over_rows(outputs, y):
    return ((outputs - y) ** 2).mean(axis=1).sum()


def summed_over_outputs(outputs, y):
    return ((outputs - y) ** 2).sum(axis=1).mean()


def divided_by_a_full_batch(outputs, y):
    return ((outputs - y) ** 2).mean(axis=1).sum() / 16


def weighted(outputs, y):
    return torch.nn.functional.mse_loss(outputs, y) + 0.01 * (outputs**2).mean()


def orders_from_the_third_epoch_on():
    return [*epoch_orders()[:2], *epoch_orders(seed=9)[2:]]


def with_a_row_twice():
    planted = list(batches())
    planted[4] = np.concatenate([planted[4][:-1], planted[4][:1]])
    return planted


def _upstream(name, stage, make, cause="unknown", update=1, dtypes=BOTH, recipe=MOMENTUM_RECIPE):
    return [Pair(name, dtype, make, recipe, update, update, stage, cause) for dtype in dtypes]


def loss_and_gradient():
    plain = partial(in_torch, expected=MOMENTUM, actual=MOMENTUM)
    adam = partial(in_torch, expected=partial(ADAM, lr=0.02), actual=partial(ADAM, lr=0.02))
    over_both = "summed over the batch and the outputs, not averaged"
    yield from _upstream("loss summed", "loss", partial(plain, loss=summed), over_both)
    yield from _upstream(
        "loss summed, Adam",
        "loss",
        partial(adam, loss=summed),
        over_both,
        recipe=Recipe("adam", lr=0.02),
    )
    yield from _upstream(
        "loss summed over the rows",
        "loss",
        partial(plain, loss=summed_over_rows),
        "summed over the batch, not averaged",
    )
    yield from _upstream(
        "loss averaged where it was summed",
        "loss",
        partial(plain, shared={"loss": summed_over_rows}, loss=torch.nn.functional.mse_loss),
        "averaged over the batch, not summed",
    )
    yield from _upstream(
        "loss summed over the outputs",
        "loss",
        partial(plain, loss=summed_over_outputs),
        "summed over the outputs of a row, not averaged",
    )
    yield from _upstream(
        "smaller batch divided by a full one",
        "loss",
        partial(plain, loss=divided_by_a_full_batch),
        "a smaller batch is averaged as if it were full",
        update=3,
    )
    yield from _upstream("loss with a penalty", "loss", partial(plain, loss=weighted))
    yield from _upstream(
        "gradient not set to zero",
        "gradient",
        partial(plain, zero_grad=False),
        "added to the gradient of the update before",
        update=2,
    )
    yield from _upstream("ReLU for tanh", "forward", partial(plain, activation=torch.nn.ReLU))


def batches_and_start():
    plain = partial(in_torch, expected=MOMENTUM, actual=MOMENTUM)
    other, dropped = "the rows come in another order", list(batches(drop_last=True))
    yield from _upstream(
        "other order", "batch", partial(plain, rows=list(batches(epoch_orders(seed=9)))), other
    )
    yield from _upstream(
        "other order from epoch 3 on",
        "batch",
        partial(plain, rows=list(batches(orders_from_the_third_epoch_on()))),
        other,
        update=7,
    )
    yield from _upstream(
        "not shuffled",
        "batch",
        partial(plain, rows=list(batches([np.arange(ROWS)] * len(epoch_orders())))),
        other,
    )
    yield from _upstream(
        "last batch dropped",
        "batch",
        partial(plain, rows=dropped),
        "the last, smaller batch is dropped",
        update=3,
    )
    yield from _upstream(
        "last batch not dropped",
        "batch",
        partial(plain, shared={"rows": dropped}, rows=list(batches())),
        "the last, smaller batch is not dropped",
        update=3,
    )
    yield from _upstream(
        "a row twice in a batch", "batch", partial(plain, rows=with_a_row_twice()), update=5
    )
    scaled = data(np.float64).x * 1.001
    yield from _upstream("features scaled", "batch", partial(_scaled, x=scaled))
    for dtype in BOTH:
        init = {name: value * dtype(1.001) for name, value in start(dtype).items()}
        yield Pair("other start", dtype, partial(plain, init=init), MOMENTUM_RECIPE, 0, 0, "start")


def _scaled(dtype, x):
    return in_torch(dtype, MOMENTUM, MOMENTUM, x=x.astype(dtype))
