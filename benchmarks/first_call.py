"""Seconds to the first result: `python -m benchmarks.first_call`, each in a process of its own.

Of a run that divides into batches and of one whose last batch is short, which is a program of its
own to compile; without a cache, and again with JAX's persistent compilation cache filled.
"""

import os
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import optax

import jaxgd

ROUNDS, N, D, BATCH = 3, 3200, 30, 32
LINK = jaxgd.binary_cross_entropy_with_logits
LAYERS = {"linear": 0, "12 layers of 64": 12}
DESCENTS = {
    "gd": jaxgd.gd,
    "sgd": jaxgd.sgd,
    "minibatch of 32": lambda loss, optimizer: jaxgd.minibatch(loss, optimizer, BATCH),
}


def first_result(model: str, descent: str, n: int) -> float:
    """Seconds from a lowered call to its result in this process, compilation and all."""
    optimizer = optax.adam(1e-3)
    hidden = [64] * LAYERS[model]
    if hidden:
        params = jaxgd.init_mlp(jax.random.key(0), (D, *hidden, 1))
        loss = jaxgd.supervised(lambda p, x: jaxgd.mlp(p, x)[0], LINK)
    else:
        params, loss = jaxgd.init_linear(D), jaxgd.supervised(jaxgd.linear, LINK)
    with jax.numpy_dtype_promotion("standard"):
        state = jaxgd.init_state(params, optimizer)
        run = jax.jit(jaxgd.train(DESCENTS[descent](loss, optimizer), 1))
        data = (jnp.ones((n, D)), jnp.ones(n))
        jax.block_until_ready((state, data))
        start = time.perf_counter()
        jax.block_until_ready(run(state, data, jax.random.key(0)))
        return time.perf_counter() - start


def elsewhere(*arguments: str, cache: str | None = None) -> float:
    """The same in a fresh process, whose compilation cache lies in a folder or is none."""
    environment = dict(os.environ)
    if cache is not None:
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    command = [sys.executable, "-m", "benchmarks.first_call", *arguments]
    return float(subprocess.check_output(command, env=environment, text=True))


def main() -> None:
    if sys.argv[1:]:
        model, descent, n = sys.argv[1:]
        print(first_result(model, descent, int(n)))
        return
    print(f"jax {jax.__version__}, least of {ROUNDS}, seconds to the first result\n")
    print("| model | descent | it divides | a short last batch | divides, from the cache |")
    print("|---|---|---:|---:|---:|")
    for model in LAYERS:
        for descent in DESCENTS:
            even, ragged = ((model, descent, str(n)) for n in (N, N + 1))
            with tempfile.TemporaryDirectory() as cache:
                elsewhere(*even, cache=cache)
                cells = [
                    min(elsewhere(*even) for _ in range(ROUNDS)),
                    min(elsewhere(*ragged) for _ in range(ROUNDS)),
                    min(elsewhere(*even, cache=cache) for _ in range(ROUNDS)),
                ]
            print(f"| {model} | {descent} | {' | '.join(f'{s:.2f}' for s in cells)} |", flush=True)


if __name__ == "__main__":
    main()
