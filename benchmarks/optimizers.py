"""`python -m benchmarks.optimizers [wall|cpu] [NAME …]`: one update of ten million parameters.

Of ours, optax's and torch's, in one leaf and in 94 (47 matrices of 207 x 1,024 and 47 vectors of
1,024), in float32 and bfloat16. Parameters and state are donated, so that they may be updated in
place. Times are the least of rounds, of the wall's clock or of the processors', which a busy
machine disturbs less; a peer is called twice in a round and timed once, since whoever comes after
another's temporaries finds a cold cache. Bytes are those that XLA counts in the compiled program,
against the least that an update must move: gradients in, parameters and buffers in and out.
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import SingleDeviceSharding

from jaxgd import optim
from jaxgd.optim.registry import REGISTRY

WIDTH, LAYERS, ROUNDS = 1024, 47, 12
PARAMETERS = LAYERS * 208 * WIDTH  # 10 M; sizes that no lane divides are slow in all of XLA
RATE = 1e-3

# What one would take of optax for each that works number by number.
OPTAX: dict[str, Callable[[], optax.GradientTransformation]] = {
    "sgd": lambda: optax.sgd(RATE, momentum=0.9),
    "adam": lambda: optax.adam(RATE),
    "adamw": lambda: optax.adamw(RATE, weight_decay=1e-2),
    "adamax": lambda: optax.adamax(RATE),
    "nadam": lambda: optax.nadam(RATE),
    "radam": lambda: optax.radam(RATE),
    "rmsprop": lambda: optax.rmsprop(RATE),
    "adagrad": lambda: optax.adagrad(RATE),
    "adadelta": lambda: optax.adadelta(RATE),
    "rprop": lambda: optax.rprop(RATE),
}
OPTIONS = {"sgd": {"momentum": 0.9}}


def sizes(leaves: int) -> list[int]:
    if leaves == 1:
        return [PARAMETERS]
    return [rows * WIDTH for _ in range(LAYERS) for rows in (207, 1)]


def updating(optimizer: optax.GradientTransformation, params: Any, device: Any = None) -> Any:
    """The compiled update of params, or of their shapes, whose arguments are donated."""

    def update(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = jax.eval_shape(optimizer.init, params)
    there = {} if device is None else {"in_shardings": SingleDeviceSharding(device)}
    return jax.jit(update, donate_argnums=(0, 1), **there).lower(params, state, params).compile()


def in_jax(optimizer: optax.GradientTransformation, leaves: int, dtype: str) -> Any:
    """The compiled update, what a call of it takes, and how to make a call."""
    params = [jnp.full(size, 0.5, dtype) for size in sizes(leaves)]
    grads = [jnp.full(size, 0.01, dtype) for size in sizes(leaves)]

    held = [params, optimizer.init(params)]
    compiled = updating(optimizer, held[0])

    def call() -> None:
        held[:] = compiled(*held, grads)
        jax.block_until_ready(held)

    return compiled, call


def in_torch(name: str, leaves: int, dtype: str, kernel: str) -> Callable[[], None] | None:
    """A call of torch's step with one of its kernels, if it has that and is installed."""
    try:
        import torch
    except ImportError:
        return None
    params = [
        torch.full((size,), 0.5, dtype=getattr(torch, dtype), requires_grad=True)
        for size in sizes(leaves)
    ]
    for param in params:
        param.grad = torch.full_like(param, 0.01)
    cls = getattr(torch.optim, REGISTRY[name].torch_class)
    try:
        optimizer = cls(params, lr=RATE, **OPTIONS.get(name, {}) | {kernel: True})
    except (TypeError, RuntimeError):
        return None
    return optimizer.step


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def measured(name: str, leaves: int, dtype: str, clock: Callable[[], float]) -> dict[str, Any]:
    """Seconds of each peer, and what XLA says of the two programs."""
    ours, call = in_jax(optim.by_name(name)(lr=RATE, **OPTIONS.get(name, {})), leaves, dtype)
    with jax.numpy_dtype_promotion("standard"):
        theirs, their_call = in_jax(OPTAX[name](), leaves, dtype)
    calls = {"jaxgd": call, "optax": their_call}
    for kernel in ("fused", "foreach"):
        step = in_torch(name, leaves, dtype, kernel)
        if step is not None:
            calls[f"torch {kernel}"] = step
    taken: dict[str, float] = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for peer, one in calls.items():
            one()
            start = clock()
            one()
            taken[peer] = min(taken[peer], clock() - start)
    return taken | {
        "moved": moved(ours) / least(name, dtype),
        "moved by optax": moved(theirs) / least(name, dtype),
        "temporary": ours.memory_analysis().temp_size_in_bytes / 1e6,
    }


def moved(compiled: Any) -> float:
    """The bytes that XLA counts for one call."""
    analysis = compiled.cost_analysis()
    return (analysis[0] if isinstance(analysis, list) else analysis)["bytes accessed"]


def least(name: str, dtype: str) -> float:
    """The bytes that an update has to move, each buffer in the parameters' own type."""
    state = jax.eval_shape(
        optim.by_name(name)(**OPTIONS.get(name, {})).init, jnp.ones(100, jnp.float32)
    )
    buffers = sum(leaf.size == 100 for leaf in jax.tree.leaves(state))
    return (1 + 2 * (1 + buffers)) * PARAMETERS * jnp.dtype(dtype).itemsize


def rows(names: list[str], clock: Callable[[], float]) -> Iterator[str]:
    for name in names:
        for dtype in ("float32", "bfloat16"):
            for leaves in (1, 2 * LAYERS):
                found = measured(name, leaves, dtype, clock)
                ours = found["jaxgd"]
                others = [
                    f"{found[peer] / ours:.2f}" if peer in found else "none"
                    for peer in ("optax", "torch fused", "torch foreach")
                ]
                cells = [name, dtype, str(leaves), f"{ours * 1e3:.2f}", *others]
                cells += [f"{found[key]:.2f}" for key in ("moved", "moved by optax")]
                cells.append(f"{found['temporary']:.0f}")
                yield f"| {' | '.join(cells)} |"


def main() -> None:
    names = [name for name in sys.argv[1:] if name not in CLOCKS]
    clock = CLOCKS["cpu" if "cpu" in sys.argv else "wall"]
    head = ["optimizer", "dtype", "leaves", "ms", "optax ×", "torch fused ×", "torch foreach ×"]
    head += ["bytes / least", "optax", "temporary MB"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for row in rows(names or list(OPTAX), clock):
        print(row, flush=True)


if __name__ == "__main__":
    main()
