"""`python -m benchmarks.parallel [--devices 8]`: what an update costs on several devices.

On a CPU the devices share its cores, so that the times are those of the work and the overhead
together; collectives and their bytes are read from the compiled program, and so is the memory.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from benchmarks.compiled_text import COLLECTIVES, kind, read, result_bytes
from jaxgd.scale import data_parallel, on_mesh, spread

N, B = 4096, 256
MODELS = {
    "logistic, 21": (jaxgd.linear, lambda: jaxgd.init_linear(20), 20),
    "MLP, 101,770": (jaxgd.mlp, lambda: jaxgd.init_mlp(jax.random.key(0), (784, 128, 10)), 784),
}
WAYS = {
    "one device": {},
    "whole rows": {"rows": "whole"},
    "owned rows": {"rows": "owned"},
    "whole, deterministic": {"rows": "whole", "deterministic": True},
    "owned, deterministic": {"rows": "owned", "deterministic": True},
}


def case(model: str, way: str, b: int | None, devices: int) -> tuple[Callable, tuple]:
    """An epoch, and what it is called with."""
    predict, init, d = MODELS[model]
    two = predict is jaxgd.linear
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, d)).astype(np.float32)
    y = rng.integers(0, 2, N).astype(np.float32 if two else np.int32)
    loss = jaxgd.supervised(
        predict, jaxgd.binary_cross_entropy_with_logits if two else jaxgd.cross_entropy
    )
    optimizer = optax.sgd(0.01, momentum=0.9)
    state, order = jaxgd.init_state(init(), optimizer), jaxgd.shuffle(jax.random.key(1), N)
    if way == "one device":
        epoch = jaxgd.minibatch(loss, optimizer, b) if b else jaxgd.gd(loss, optimizer)
        return epoch, (state, (jnp.asarray(x), jnp.asarray(y)), order)
    mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])
    rows = spread((x, y), mesh) if WAYS[way]["rows"] == "owned" else on_mesh((x, y), mesh)
    epoch = data_parallel(loss, optimizer, b, mesh, **WAYS[way])
    return epoch, (on_mesh(state, mesh), rows, on_mesh(order, mesh))


def measure(model: str, way: str, b: int | None, devices: int, rounds: int) -> dict:
    """Microseconds an update, least of the rounds; collectives an update, bytes sent and held."""
    epoch, arguments = case(model, way, b, devices)
    compiled = jax.jit(epoch).lower(*arguments).compile()
    updates, seconds = N // b if b else 1, []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - began)
    each = [(t, i) for t, i in read(compiled.as_text()).each() if kind(i) in COLLECTIVES]
    return {
        "microseconds": min(seconds) / updates * 1e6,
        "collectives": sum(t for t, _ in each) / updates,
        "sent": sum(t * result_bytes(i) for t, i in each) / updates,
        "held": compiled.memory_analysis().temp_size_in_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parallel", description=__doc__)
    parser.add_argument("--devices", type=int, nargs="+", default=[8])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if jax.default_backend() == "cpu" and jax.device_count() < max(options.devices):
        parser.error("set JAX_NUM_CPU_DEVICES to as many devices")
    print("| params | batch | devices | | µs an update | collectives | bytes | MB held |")
    print("|---|---:|---:|---|---:|---:|---:|---:|")
    for model in MODELS:
        for b in (None, B):
            for way in WAYS:
                for devices in [1] if way == "one device" else options.devices:
                    row = measure(model, way, b, devices, options.rounds)
                    what = f"{model} | {b or 'all'} | {devices} | {way} | {row['microseconds']:.0f}"
                    cost = f"{row['collectives']:g} | {row['sent']:,.0f} | {row['held'] / 1e6:.1f}"
                    print(f"| {what} | {cost} |", flush=True)


if __name__ == "__main__":
    main()
