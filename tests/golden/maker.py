"""Makes the golden trajectories with torch: `python -m tests.golden.maker FOLDER`."""

import sys
from pathlib import Path

import numpy as np
import torch

from tests.golden.cases import BATCH, FEATURES, HIDDEN, ROWS, UPDATES, VERSION, Case, cases
from tests.golden.format import Golden, write


def start(network: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The parameters before the first update; a tanh network, its matrices alone, or a table."""
    if network == "embedding":
        return {"table": rng.normal(size=(ROWS, HIDDEN))}
    shapes = {"0.weight": (HIDDEN, FEATURES), "2.weight": (1, HIDDEN)}
    if network == "mlp":
        shapes |= {"0.bias": (HIDDEN,), "2.bias": (1,)}
    return {name: rng.uniform(-0.5, 0.5, shape) for name, shape in sorted(shapes.items())}


def loss(params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean squared error of the network on a batch; x holds rows of a table's numbers."""
    if "table" in params:
        rows = torch.nn.functional.embedding(x, params["table"], sparse=True)
        return ((rows.sum(dim=1) - y) ** 2).mean()
    hidden = x @ params["0.weight"].T + params.get("0.bias", 0.0)
    out = torch.tanh(hidden) @ params["2.weight"].T + params.get("2.bias", 0.0)
    return ((out[:, 0] - y) ** 2).mean()


def make(case: Case) -> Golden:
    """Torch's run, update by update."""
    rng = np.random.default_rng(0)
    dtype = getattr(torch, case.dtype)
    features = rng.normal(size=(ROWS, FEATURES))
    target = np.sin(features @ rng.normal(size=FEATURES))
    sparse = case.network == "embedding"
    x = torch.arange(ROWS) if sparse else torch.tensor(features, dtype=dtype)
    y = torch.tensor(target, dtype=dtype)
    params = {
        name: torch.tensor(value, dtype=dtype).requires_grad_()
        for name, value in start(case.network, rng).items()
    }
    order = np.stack([rng.permutation(ROWS)[:BATCH] for _ in range(UPDATES)])
    optimizer = getattr(torch.optim, case.optimizer)(params.values(), **_options(case.options))
    scheduler = None
    if case.scheduler:
        make_scheduler = getattr(torch.optim.lr_scheduler, case.scheduler)
        scheduler = make_scheduler(optimizer, **case.scheduler_options)
    rows: list[dict[str, np.ndarray]] = [_copies(params)]
    gradients: list[dict[str, np.ndarray]] = []
    losses, rates = [], []
    for batch in order:
        at = torch.tensor(batch)

        def closure(at: torch.Tensor = at) -> torch.Tensor:
            optimizer.zero_grad()
            value = loss(params, x[at], y[at])
            value.backward()
            return value

        value = closure()
        rates.append(optimizer.param_groups[0]["lr"])
        gradients.append({n: _dense(p.grad) for n, p in params.items()})
        losses.append(value.item())
        optimizer.step(closure) if case.optimizer == "LBFGS" else optimizer.step()
        if scheduler is not None:
            scheduler.step()
        rows.append(_copies(params))
    return Golden(
        params={n: np.stack([row[n] for row in rows]) for n in params},
        gradient={n: np.stack([g[n] for g in gradients]) for n in params},
        x=x.numpy(),
        y=y.numpy(),
        order=order,
        loss=np.array(losses),
        lr=np.array(rates),
    )


def _options(options: dict) -> dict:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}


def _dense(grad: torch.Tensor) -> np.ndarray:
    return (grad.to_dense() if grad.is_sparse else grad).numpy().copy()


def _copies(params: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy().copy() for name, p in params.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    folder = Path(sys.argv[1])
    write(folder, VERSION, torch.__version__, [(case, make(case)) for case in cases()])
