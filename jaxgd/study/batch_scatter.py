"""How far mini-batch gradients lie from the gradient of all rows, batch by batch."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from jaxgd.batches import gather
from jaxgd.chunks import in_default_chunks
from jaxgd.inputs import check_batch_size, check_count, count_examples
from jaxgd.keys import Key
from jaxgd.objective import Loss, mean
from jaxgd.order import shuffle


def scatter_of_batches(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    batch_sizes: Sequence[int],
    key: Key,
    draws: int = 64,
) -> Float[Array, "sizes draws"]:
    """|g_b - ḡ|² of so many mini-batches of each size, drawn without replacement.

    Their mean over draws is `batch_variance`, to chance. A pure function. Draw i of every size is
    the beginning of one shuffle of the rows.

    Raises ValueError for a batch size outside [1, n].
    """
    n = count_examples(data)
    sizes = [check_batch_size(b, n) for b in batch_sizes]
    gradient = in_default_chunks(mean(loss), jax.grad)
    center = gradient(params, data)
    keys = jax.random.split(key, check_count("draws", draws))

    def away(rows: Int[Array, "b"]) -> Float[Array, ""]:
        g = gradient(params, gather(data, rows))
        parts = jax.tree.map(lambda x, c: jnp.sum(jnp.square(x - c)), g, center)
        return jnp.sum(jnp.stack(jax.tree.leaves(parts)))

    def draw(key: Key) -> Float[Array, "sizes"]:
        order = shuffle(key, n)
        return jnp.stack([away(order[:b]) for b in sizes])

    return jax.lax.map(draw, keys).T
