"""`python -m benchmarks.convolutions`: an update of a convolutional network in a loop and alone.

XLA's CPU backend brings convolutions into the form that its fast kernels take in the entry
computation of a program only (its pass conv_canonicalization), and the body of a loop is none.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd

N, B, ROUNDS = 264, 64, 7
OPTIMIZER = optax.sgd(0.01)


def network(params, x):
    """Logits of an image [3, 32, 32]: two convolutions of stride 2 and a linear layer."""
    for kernel in params["kernels"]:
        x = jax.nn.relu(jax.lax.conv(x[None], kernel, (2, 2), "SAME")[0])
    return x.reshape(-1) @ params["w"]


def main() -> None:
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape) / 10, jnp.float32)

    params = {"kernels": [draw(32, 3, 3, 3), draw(64, 32, 3, 3)], "w": draw(64 * 8 * 8, 10)}
    data = draw(N, 3, 32, 32), jnp.asarray(rng.integers(0, 10, N))
    update = jaxgd.step(jaxgd.supervised(network, jaxgd.cross_entropy), OPTIMIZER)
    state, order = jaxgd.init_state(params, OPTIMIZER), jaxgd.shuffle(jax.random.key(0), N)
    alone, batches = jax.jit(update), [order[i : i + B] for i in range(0, N, B)]

    def by_hand(state, data, _):
        x, y = data
        losses = []
        for rows in batches:
            state, loss = alone(state, (x[rows], y[rows]))
            losses.append(loss)
        return state, losses

    epochs = {
        "visit, one compiled loop": jax.jit(jaxgd.visit(update, B)),
        "walk, from the host": jaxgd.walk(update, B),
        "a loop by hand": by_hand,
    }
    seconds = {name: [] for name in epochs}
    for _ in range(ROUNDS + 1):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            jax.block_until_ready(epoch(state, data, order))
            seconds[name].append(time.perf_counter() - start)
    print(f"| jax {jax.__version__} | ms/update |\n|---|---:|")
    for name, times in seconds.items():
        print(f"| {name} | {min(times[1:]) / len(batches) * 1e3:.1f} |")


if __name__ == "__main__":
    main()
