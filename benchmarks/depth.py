"""Dependent steps an epoch of per-example SGD: n in order, n / k blocks of some passes each."""

import numpy as np

from benchmarks.cases import LEARNING_RATE, Case, problem

BLOCK_SIZES = (8, 32, 64, 128)


def dependent_steps(n: int = 4096, widths: tuple[int, ...] = (10, 30, 100, 784)) -> list[dict]:
    """Blocks and mean passes a block, counted in NumPy beside the implementation, not with it."""
    rows = []
    for d in widths:
        x, y = (a.astype(np.float64) for a in problem(Case("depth", "sgd", n, d)))
        for k in BLOCK_SIZES:
            passes = _passes(x, y, k)
            rows.append(
                {
                    "d": d,
                    "block_size": k,
                    "blocks": -(-n // k),
                    "passes": round(float(np.mean(passes)), 1),
                    "most passes": max(passes),
                    "rows in order": n,
                }
            )
    return rows


def _passes(x: np.ndarray, y: np.ndarray, k: int) -> list[int]:
    """For each block of k rows, the passes after which its logits stood still."""
    w, b, counts = np.zeros(x.shape[1]), 0.0, []
    for i in range(0, len(x), k):
        rows, labels = x[i : i + k], y[i : i + k]
        coupling = LEARNING_RATE * np.tril(rows @ rows.T + 1, -1)
        start = rows @ w + b
        z, passes, moved = start, 0, True
        while moved:
            new = start - coupling @ (1 / (1 + np.exp(-z)) - labels)
            moved = bool(np.any(new.astype(np.float32) != z.astype(np.float32)))
            z, passes = new, passes + 1
        g = LEARNING_RATE * (1 / (1 + np.exp(-z)) - labels)
        w, b = w - g @ rows, b - g.sum()
        counts.append(passes)
    return counts
