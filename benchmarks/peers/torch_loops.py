"""PyTorch loops as people write them, timed over a number of updates and given per update."""

from collections.abc import Callable

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.cases import LEARNING_RATE, Case, problem

UPDATES = 300


def with_loader(case: Case) -> Callable[[], int]:
    """Autograd, torch.optim and a shuffling DataLoader."""
    data, step = _autograd(case)

    def work() -> int:
        loader = DataLoader(TensorDataset(*data), batch_size=_batch(case), shuffle=True)
        return _run(case, step, lambda: iter(loader))

    return work


def eager(case: Case) -> Callable[[], int]:
    """Autograd and torch.optim over index tensors."""
    data, step = _autograd(case)
    return lambda: _run(case, step, lambda: _batches(case, data))


def by_hand(case: Case) -> Callable[[], int]:
    """The gradient written out, updated in place: nothing recorded."""
    data = _tensors(case)
    w, b = torch.zeros(data[0].shape[1]), torch.zeros(())

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        g = (torch.sigmoid(torch.mv(x, w).add_(b)) - y).mul_(LEARNING_RATE / len(y))
        w.sub_(g @ x)
        b.sub_(g.sum())

    def work() -> int:
        with torch.no_grad():
            return _run(case, step, lambda: _batches(case, data))

    return work


def compiled(case: Case) -> Callable[[], int]:
    """The hand-written update under torch.compile."""
    data = _tensors(case)

    @torch.compile
    def update(w, b, x, y):
        g = (torch.sigmoid(x @ w + b) - y) * (LEARNING_RATE / len(y))
        return w - g @ x, b - g.sum()

    weights = [torch.zeros(data[0].shape[1]), torch.zeros(())]

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        weights[:] = update(*weights, x, y)

    def work() -> int:
        with torch.no_grad():
            return _run(case, step, lambda: _batches(case, data))

    return work


def _autograd(case: Case):
    data = _tensors(case)
    model = torch.nn.Linear(data[0].shape[1], 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(model(x)[:, 0], y).backward()
        optimizer.step()

    return data, step


def _tensors(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    # Two threads only help where there is work for two: tiny operations would wait for each other.
    torch.set_num_threads(2 if _batch(case) * case.d > 2**14 else 1)
    x, y = problem(case)
    return torch.from_numpy(x), torch.from_numpy(y)


def _batch(case: Case) -> int:
    return case.n if case.kind == "gd" else case.batch


def _batches(case: Case, data):
    if case.kind == "gd":
        yield data
        return
    x, y = data
    order = torch.randperm(case.n)
    for start in range(0, case.n, case.batch):
        rows = order[start : start + case.batch]
        yield x[rows], y[rows]


def _run(case: Case, step, batches) -> int:
    """Whole epochs for the table, where the total counts; else as many updates as give a figure."""
    done = 0
    for _ in range(case.epochs):
        for batch in batches():
            step(*batch)
            done += 1
            if case.kind != "table" and done == UPDATES:
                return done
    return done
