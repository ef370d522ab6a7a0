"""What processes that train together tell each other between two programs.

All of them call the same things in the same order; a mesh of one process sends nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Shaped

from jaxgd.scale.hosts import Lost, end_together, peers_needed

# Of what one process tells all others, so much at a time.
_PIECE_BYTES = 2**24


class FailedElsewhere(RuntimeError):
    """Another process has stopped with an error, which it tells itself; this one stops with it."""

    def __init__(self, index: int) -> None:
        super().__init__(f"process {index} has stopped with an error, which it tells itself")
        self.index = index


@dataclass(frozen=True)
class Processes:
    """Those whose devices make up a mesh; without a mesh this one alone."""

    mesh: Mesh | None = None

    @property
    def indices(self) -> tuple[int, ...]:
        """Their indices, ascending."""
        if self.mesh is None:
            return (jax.process_index(),)
        return tuple(sorted({device.process_index for device in self.mesh.devices.flat}))

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return len(self.indices) > 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return jax.process_index() == self.indices[0]

    def gathered(self, given: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "processes ..."]:
        """The arrays of all processes, of one shape and dtype, to the bit."""
        if not self.several:
            return given[None]
        told = _bits(given)
        every = self._of_devices(told, _laid_out)
        owners = [device.process_index for device in _row(self.mesh).devices.flat]
        rows = [owners.index(index) for index in self.indices]
        return every[rows].view(given.dtype).reshape(len(rows), *given.shape)

    def from_first(self, content: bytes | None) -> bytes | None:
        """What the first process gives, bytes or None; of the others nothing is read."""
        if not self.several:
            return content
        length = -1 if content is None else len(content)
        length = int(self.gathered(np.array(length))[0])
        if length < 0:
            return None
        own = np.zeros(length, np.uint8)
        if self.is_first:
            own[:] = np.frombuffer(content or b"", np.uint8)
        pieces = [own[at : at + _PIECE_BYTES] for at in range(0, length, _PIECE_BYTES)]
        return b"".join(self._of_devices(piece, _highest).tobytes() for piece in pieces)

    @contextmanager
    def or_none(self) -> Iterator[None]:
        """The block, in all processes or in none: what fails in one ends the others with it."""
        if not self.several:
            yield
            return
        try:
            yield
        except Exception:
            self.tell(np.array(True))
            raise
        self.check(self.gathered(np.array(False)))

    def check(self, failed: Shaped[np.ndarray, "processes"]) -> None:
        """FailedElsewhere with the first process that has failed."""
        if failed.any():
            end_together()
            raise FailedElsewhere(self.indices[int(failed.argmax())])

    def tell(self, failed: Shaped[np.ndarray, ""]) -> None:
        """Have all others know that this one has failed, unless one is gone."""
        if not self.several:
            return
        with suppress(Lost):
            self.gathered(failed)
            end_together()

    def _of_devices(self, told: Shaped[np.ndarray, "bytes"], program: Any) -> np.ndarray:
        """What a program makes of an array with a row for each device, its process's `told`."""
        row = _row(self.mesh)
        everywhere = NamedSharding(row, PartitionSpec(row.axis_names))
        shape = (row.size, *told.shape)
        with peers_needed():
            rows = jax.make_array_from_callback(shape, everywhere, lambda _: told[None])
            return np.asarray(program(row)(rows))


def _bits(array: np.ndarray) -> Shaped[np.ndarray, "bytes"]:
    """The bytes of an array: JAX would cut 64 bits to 32."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


@lru_cache
def _row(mesh: Any) -> Mesh:
    """The mesh's devices in one row."""
    return Mesh(mesh.devices.reshape(-1), ("device",))


@lru_cache
def _laid_out(row: Mesh) -> Any:
    return jax.jit(lambda a: a, out_shardings=NamedSharding(row, PartitionSpec()))


@lru_cache
def _highest(row: Mesh) -> Any:
    return jax.jit(lambda a: jnp.max(a, 0), out_shardings=NamedSharding(row, PartitionSpec()))
