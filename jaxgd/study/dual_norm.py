"""The noise scale of optimizers that take a sign or orthogonalize."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgd.inputs import count_examples
from jaxgd.objective import Loss
from jaxgd.study.per_row import RowGradients, deviations, row_gradients

Norm = Literal["sign", "spectral"]


class DualNoise(NamedTuple):
    """The size of the gradient and of the noise of one row in a dual norm, and the noise scale."""

    signal: Float[Array, ""]
    noise: Float[Array, ""]
    noise_scale: Float[Array, ""]


def dual_noise_scale(
    loss: Loss, params: PyTree, data: PyTree, *, norm: Norm, chunk: int | None = None
) -> DualNoise:
    """The noise scale in the norm in which an optimizer that is not Euclidean descends.

        (noise / signal)²     rows: the batch whose noise is as large as the gradient

        "sign"       noise = Σ_j σ_j             signal = Σ_j |ḡ_j|       signSGD, Lion, Rprop
        "spectral"   noise = tr (E N Nᵀ)^(1/2)   signal = ‖ḡ‖_nuclear     Muon

    Such steps are steepest in the largest entry or the largest singular value; what a gradient is
    worth to them is told by the dual norm, summed over leaves. σ_j is the deviation of entry j over
    rows, and N a row's gradient less the mean, on the side of the matrix where N Nᵀ is smaller;
    noise / √b bounds the expected dual norm of the noise of b rows.

    The signal is that of the n rows, which noise makes larger: scales near n are told too small,
    and where there is no gradient at all the first is about π n / 2.

    Raises ValueError for another norm, n < 3, and for a "spectral" leaf that is no matrix.
    Source: arXiv 2602.03001.
    """
    if norm not in ("sign", "spectral"):
        raise ValueError(f"norm must be 'sign' or 'spectral'; got {norm!r}. Muon's is 'spectral'.")
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
    if norm == "spectral" and any(len(shape) != 2 for shape in shapes):
        raise ValueError(
            f"params must be matrices in the spectral norm; got shapes {shapes}. Muon leaves other "
            "leaves to another optimizer: measure them apart, with norm='sign' or gradient_noise."
        )
    n = count_examples(data)
    gradients = row_gradients(loss, params, data, chunk, None)
    center = gradients.mean_gradient(params, data)
    squares = gradients.mean_of(
        lambda given, rows: _squares(gradients, given[0], given[1], rows, norm),
        (params, center),
        data,
    )
    sizes = _sizes_of_matrices if norm == "spectral" else _sizes_of_entries
    signal, noise = sizes(jax.tree.leaves(center), [a * (n / (n - 1)) for a in squares])
    return DualNoise(signal, noise, (noise / signal) ** 2)


def _squares(
    gradients: RowGradients, params: PyTree, center: PyTree, rows: PyTree, norm: Norm
) -> list[Array]:
    """Each leaf's mean of N², entry by entry, or of N Nᵀ."""
    away = jax.tree.leaves(deviations(gradients.of(params, rows), center))
    if norm == "sign":
        return [jnp.mean(a * a, axis=0) for a in away]
    wide = [a if a.shape[1] <= a.shape[2] else jnp.swapaxes(a, 1, 2) for a in away]
    return [jnp.einsum("rij,rkj->ik", a, a) / a.shape[0] for a in wide]


def _sizes_of_entries(center: list[Array], squares: list[Array]) -> tuple[Array, Array]:
    signal = [jnp.sum(jnp.abs(c)) for c in center]
    noise = [jnp.sum(jnp.sqrt(a)) for a in squares]
    return jnp.sum(jnp.stack(signal)), jnp.sum(jnp.stack(noise))


def _sizes_of_matrices(center: list[Array], squares: list[Array]) -> tuple[Array, Array]:
    signal = [jnp.sum(jnp.linalg.svdvals(c)) for c in center]
    noise = [jnp.sum(jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(a), 0))) for a in squares]
    return jnp.sum(jnp.stack(signal)), jnp.sum(jnp.stack(noise))
