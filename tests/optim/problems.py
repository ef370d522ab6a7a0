"""The problems every optimizer is driven over, and the gradients torch gives for them.

The gradients are recorded once a precision, along torch's own mini-batch SGD, and then fed to
both sides ("open loop"): what differs is the optimizer's arithmetic, and nothing else.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch

UPDATES = 200
ROWS, BATCH, FEATURES, HIDDEN = 64, 8, 8, 16

Arrays = dict[str, np.ndarray]  # leaf name -> values

# Three blocks of four features, 12 orders of magnitude apart: one where eps is as large as the
# gradient, one ordinary, one where an f32 square is still finite.
SCALES = {"tiny": 1e-8, "unit": 1.0, "huge": 1e4}


def logistic(params: Mapping[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    logits = x @ params["logistic/weight"] + params["logistic/bias"]
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, y)


def mlp(params: Mapping[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    hidden = torch.tanh(x @ params["mlp/0/weight"].T + params["mlp/0/bias"])
    out = hidden @ params["mlp/2/weight"].T + params["mlp/2/bias"]
    return torch.nn.functional.mse_loss(out[:, 0], y)


def ill_scaled(
    params: Mapping[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    blocks = torch.split(x[:, :6], 2, dim=1)
    out = sum(
        scale * (block @ params[f"ill_scaled/{name}"])
        for (name, scale), block in zip(SCALES.items(), blocks, strict=True)
    )
    # The residual is squashed, so that the huge block has gradients near its scale and no more.
    return torch.nn.functional.smooth_l1_loss(out, y)


PROBLEMS: dict[str, Callable[..., torch.Tensor]] = {
    "logistic": logistic,
    "mlp": mlp,
    "ill_scaled": ill_scaled,
}

SHAPES: dict[str, tuple[int, ...]] = {
    "logistic/weight": (FEATURES,),
    "logistic/bias": (),
    "mlp/0/weight": (HIDDEN, FEATURES),
    "mlp/0/bias": (HIDDEN,),
    "mlp/2/weight": (1, HIDDEN),
    "mlp/2/bias": (1,),
    **{f"ill_scaled/{name}": (2,) for name in SCALES},
}


@functools.cache
def batches() -> tuple[np.ndarray, np.ndarray]:
    """Each update's mini-batch: x[UPDATES, BATCH, FEATURES], y[UPDATES, BATCH] in {0, 1}."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES))
    y = (x @ rng.normal(size=FEATURES) + rng.normal(size=ROWS) > 0).astype(float)
    rows = rng.integers(ROWS, size=(UPDATES, BATCH))
    return x[rows], y[rows]


@functools.cache
def init() -> Arrays:
    """The parameters every run starts from, in float64."""
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape) for name, shape in SHAPES.items()}


@functools.cache
def gradients(dtype: str) -> Arrays:
    """Torch's gradients of every leaf along its SGD in that precision: leaf -> [UPDATES, ...]."""
    torch_dtype = getattr(torch, dtype)
    params = {k: torch.tensor(v, dtype=torch_dtype, requires_grad=True) for k, v in init().items()}
    optimizer = torch.optim.SGD(params.values(), lr=0.05)
    stream = []
    for x, y in zip(*batches(), strict=True):
        optimizer.zero_grad()
        batch = torch.tensor(x, dtype=torch_dtype), torch.tensor(y, dtype=torch_dtype)
        sum(loss(params, *batch) for loss in PROBLEMS.values()).backward()
        stream.append({name: param.grad.numpy().copy() for name, param in params.items()})
        optimizer.step()
    return {name: np.stack([grads[name] for grads in stream]) for name in SHAPES}
