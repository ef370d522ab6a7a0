"""The turns of a tensor that take it from torch's layout to another's."""

from collections.abc import Callable, Mapping

import numpy as np

from jaxgd.interop.torch.bridges.correspondence import Leaf, Path, Positions
from jaxgd.interop.torch.bridges.torch_layers import Layer

Layout = Callable[[Mapping[str, Positions], Layer], dict[Path, Leaf]]
Turn = Callable[[Positions], Positions]


def moved(**leaves: tuple[str, Turn]) -> Layout:
    """The layout that names each tensor anew and turns it: torch's name=(leaf's, turn)."""

    def layout(at: Mapping[str, Positions], _layer: Layer) -> dict[Path, Leaf]:
        return {
            tuple(leaves[role][0].split(".")): Leaf(leaves[role][1](p)) for role, p in at.items()
        }

    return layout


def same(at: Positions) -> Positions:
    """As torch has it."""
    return at


def transposed(at: Positions) -> Positions:
    """[out, in] -> [in, out]."""
    return at.T


def channels_last(at: Positions) -> Positions:
    """[out, in, *space] -> [*space, in, out]."""
    return np.moveaxis(at, (1, 0), (-2, -1))


def flipped(at: Positions) -> Positions:
    """[in, out, *space] of a transposed convolution -> that of the plain one that computes it.

    Torch's is the gradient of a convolution, which reads its kernel from the other end; with
    `lax.conv_transpose` the same kernel stands turned round: [out, in, *space].
    """
    return np.flip(at, axis=tuple(range(2, at.ndim))).swapaxes(0, 1)


def transposed_channels_last(at: Positions) -> Positions:
    """[in, out, *space] of a transposed convolution -> [*space, in, out], turned round."""
    return channels_last(flipped(at))


def with_axes(count: int) -> Turn:
    """[n] -> [n, 1, …], so many axes more."""
    return lambda at: at.reshape(at.shape + (1,) * count)
