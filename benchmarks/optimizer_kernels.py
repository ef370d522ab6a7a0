"""`python -m benchmarks.optimizer_kernels [TARGET …]`: an update compiled for accelerators.

The updates of `benchmarks.optimizers`, ours and optax's, for an H100 and a v5e unless told, and not
run: how many kernels are launched, and the bytes that they move against the least.
"""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import optax

from benchmarks import compiled_bytes
from benchmarks.compiled_text import counts, read
from benchmarks.optimizers import LAYERS, OPTAX, OPTIONS, RATE, least, sizes, updating
from benchmarks.topologies import devices
from jaxgd import optim


class Cost(NamedTuple):
    """Launches of one update, and the bytes it moves."""

    kernels: int
    bytes: int


def cost(optimizer: optax.GradientTransformation, leaves: int, dtype: str, device: Any) -> Cost:
    """What one update of ten million parameters costs on a device, by its compiled text."""
    params = [jax.ShapeDtypeStruct((size,), dtype) for size in sizes(leaves)]
    work = read(updating(optimizer, params, device).as_text())
    found = counts(work)
    return Cost(found.kernels + found.library_calls, compiled_bytes.total(work))


def rows(targets: list[str], names: list[str]) -> Iterator[list[str]]:
    for name in names:
        for dtype in ("float32", "bfloat16"):
            for leaves in (1, 2 * LAYERS):
                cells = [name, dtype, str(leaves)]
                for target in targets:
                    [device] = devices(target)
                    mine = optim.by_name(name)(lr=RATE, **OPTIONS.get(name, {}))
                    ours = cost(mine, leaves, dtype, device)
                    with jax.numpy_dtype_promotion("standard"):
                        theirs = cost(OPTAX[name](), leaves, dtype, device)
                    cells += [str(ours.kernels), str(theirs.kernels)]
                    cells += [f"{one.bytes / least(name, dtype):.2f}" for one in (ours, theirs)]
                yield cells


def main() -> None:
    jax.config.update("jax_platforms", "cpu")  # nothing is run, whatever is here
    targets = [word for word in sys.argv[1:] if word not in OPTAX] or ["H100", "v5e"]
    names = [word for word in sys.argv[1:] if word in OPTAX] or list(OPTAX)
    head = ["optimizer", "dtype", "leaves"]
    for target in targets:
        head += [f"{target}: kernels", "optax", "bytes / least", "optax"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for cells in rows(targets, names):
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
