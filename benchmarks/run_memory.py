"""`python -m benchmarks.run_memory`: what the gradient of a run holds in memory.

The gradient of a run's last loss in its learning rate, by way of differentiating it and by the
number of updates: the bytes of XLA's buffers beside arguments and results, and the seconds.
"""

import math
import time
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd

N, BATCH = 250, 32  # seven full batches and one of 26
UPDATES = math.ceil(N / BATCH)


def nested(epoch, *lengths):
    """A run of as many epochs as the product of lengths, its states kept level by level."""
    if not lengths:
        return jaxgd.train(epoch, 1)
    below = jax.checkpoint(nested(epoch, *lengths[1:]))

    def run(state, data, key, start=0):
        starts = start + math.prod(lengths[1:]) * jnp.arange(lengths[0])
        return jax.lax.scan(lambda state, e: below(state, data, key, e), state, starts)

    return run


# Each makes a run of 4 ** k epochs.
RUNS: dict[str, Callable] = {
    "train(epoch, E)": lambda epoch, k: jaxgd.train(epoch, 4**k),
    "train(jax.checkpoint(epoch), E)": lambda epoch, k: jaxgd.train(jax.checkpoint(epoch), 4**k),
    "nested(epoch, √E, √E)": lambda epoch, k: nested(epoch, 2**k, 2**k),
    "nested(epoch, 2, 2, …, 2)": lambda epoch, k: nested(epoch, *[2] * (2 * k)),
}
FORWARD = "jax.jvp of train(epoch, E)"


def problem() -> tuple:
    """Start, data and key: a small network on numbers drawn once."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 64)).astype(np.float32)
    y = jnp.asarray(np.argmax(x @ rng.normal(size=(64, 10)), 1))
    return jaxgd.init_mlp(jax.random.key(0), (64, 32, 10)), (jnp.asarray(x), y), jax.random.key(1)


def slope(way: str, k: int) -> Callable:
    """The compiled-to-be gradient of a run's loss in the learning rate, for 4 ** k epochs."""
    loss = jaxgd.supervised(jaxgd.mlp, jaxgd.cross_entropy)

    def final(rate, params, data, key):
        optimizer = optax.sgd(rate)
        run = RUNS.get(way, RUNS["train(epoch, E)"])(jaxgd.minibatch(loss, optimizer, BATCH), k)
        state, _ = run(jaxgd.init_state(params, optimizer), data, key)
        return jaxgd.mean(loss)(state.params, data)

    if way != FORWARD:
        return jax.jit(jax.grad(final))
    return jax.jit(
        lambda rate, *rest: jax.jvp(lambda r: final(r, *rest), (rate,), (jnp.ones_like(rate),))[1]
    )


def measure(
    ways: Iterable[str] = (*RUNS, FORWARD), exponents: Iterable[int] = (1, 2, 3, 4, 5)
) -> list:
    """One row for each way and number of updates."""
    arguments, rows = (jnp.float32(0.01), *problem()), []
    for way in ways:
        for k in exponents:
            compiled = slope(way, k).lower(*arguments).compile()
            seconds, gradient = [], 0.0
            for _ in range(3):
                began = time.perf_counter()
                gradient = float(compiled(*arguments))
                seconds.append(time.perf_counter() - began)
            rows.append(
                {
                    "way": way,
                    "updates": UPDATES * 4**k,
                    "bytes": compiled.memory_analysis().temp_size_in_bytes,
                    "seconds": min(seconds),
                    "gradient": gradient,
                }
            )
    return rows


def table(rows: list[dict]) -> str:
    """Markdown: megabytes by way and number of updates, and the seconds of the longest run."""
    updates = sorted({row["updates"] for row in rows})
    lines = [
        f"| MB after … updates | {' | '.join(map(str, updates))} | seconds |",
        f"|---|{'---:|' * (len(updates) + 1)}",
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        here = {row["updates"]: row for row in rows if row["way"] == way}
        cells = [f"{here[u]['bytes'] / 1e6:.1f}" for u in updates]
        lines.append(f"| `{way}` | {' | '.join(cells)} | {here[updates[-1]]['seconds']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    measured = measure()
    print(table(measured))
    print("\ngradients after so many updates, every way:")
    for u in sorted({row["updates"] for row in measured}):
        print(u, [f"{row['gradient']:.5f}" for row in measured if row["updates"] == u])
