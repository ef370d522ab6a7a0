"""`python -m benchmarks.cuts`: does it change a training's bits where an epoch is cut?

Cut freely, the pieces are other programs than the whole, and XLA may compile them otherwise; cut as
`jaxgd.plan` says, stopped or not, they are the same programs. One row a version of JAX.
"""

from itertools import product

import jax
import numpy as np
import optax

import jaxgd

N, D, K = 1030, 20, 3
BATCHES = (1, 7, 32, 256)
OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.05, momentum=0.9),
    "adam": optax.adam(0.01),
}
MODELS = {
    "linear": (jaxgd.linear, jaxgd.init_linear(D, K, key=jax.random.key(0))),
    "MLP": (jaxgd.mlp, jaxgd.init_mlp(jax.random.key(0), (D, 16, K))),
}


def free_cuts(b: int) -> list[list[int]]:
    """Five ways of cutting an epoch at borders of batches."""
    borders = list(range(b, N, b))
    rng = np.random.default_rng(b)
    some = sorted(rng.choice(borders, min(5, len(borders)), replace=False).tolist())
    every = borders if len(borders) <= 150 else borders[:: len(borders) // 150]
    return [borders[:1], borders[-1:], borders[len(borders) // 2 :][:1], some, every]


def main() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(N, D)).astype(np.float32), rng.integers(0, K, N).astype(np.int32)
    order, same, tried = rng.permutation(N).astype(np.int32), 0, 0
    for (predict, params), optimizer, b in product(MODELS.values(), OPTIMIZERS.values(), BATCHES):
        loss = jaxgd.supervised(predict, jaxgd.cross_entropy)
        epoch = jax.jit(jaxgd.minibatch(loss, optimizer, b))
        start = jaxgd.init_state(params, optimizer)
        whole = _bits(*epoch(start, data, order))
        for cuts in free_cuts(b):
            state, losses = start, []
            for piece in np.split(order, cuts):
                state, out = epoch(state, data, piece)
                losses.append(out)
            same += _bits(state, np.concatenate(losses)) == whole
            tried += 1
    print(f"| jax {jax.__version__} | {same} of {tried} |")


def _bits(state, losses) -> bytes:
    return b"".join(np.asarray(leaf).tobytes() for leaf in [*jax.tree.leaves(state), losses])


if __name__ == "__main__":
    main()
