"""What was tried and what it gave: `python -m benchmarks.experiments`, all in one process.

Save the last, which needs a device a core: it runs in a process of its own.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxgd
from benchmarks.cases import LEARNING_RATE, Case, problem
from benchmarks.peers.ours import logistic_loss
from jaxgd import batches, linear_row
from jaxgd.blocked import blocked_sgd, rows_in_order
from jaxgd.chunks import in_chunks
from jaxgd.linear_row import dot_in_lanes

OPTIMIZER = optax.sgd(LEARNING_RATE)
GRADIENT = jax.value_and_grad(jaxgd.mean(logistic_loss))
ROUNDS = 15


def main() -> None:
    if sys.argv[1:] == ["devices"]:
        _print(gd_on_two_devices())
        return
    for experiment in EXPERIMENTS:
        _print(experiment())
    own_process = [sys.executable, "-m", "benchmarks.experiments", "devices"]
    subprocess.run(own_process, env=os.environ | {"JAX_NUM_CPU_DEVICES": "2"}, check=True)


def _print(experiment: tuple[str, str, float, dict[str, Callable]]) -> None:
    title, unit, per_second, candidates = experiment
    print(f"| {title} | least {unit} | median |\n|---|---:|---:|")
    for name, costs in _alternate(candidates).items():
        least, median = costs[0] * per_second, costs[len(costs) // 2] * per_second
        print(f"| {name} | {least:.3g} | {median:.3g} |")
    print(flush=True)


def ravelled_carry():
    """One vector in the loop's carry, or the params as they are: the same loop but for that."""
    state, data, order = _start(20_000, 10)
    flat, unravel = ravel_pytree(state.params)

    def descend(params, data, order, *, unravel):
        def update(params, row):
            example = jax.tree.map(lambda a: a[row], data)
            loss = jax.value_and_grad(lambda p: logistic_loss(unravel(p), example))
            value, grad = loss(params)
            return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grad), value

        return jax.lax.scan(update, params, order)

    as_it_is = partial(descend, unravel=lambda params: params)
    candidates = {
        "as it is": _compiled(as_it_is, state.params, data, order),
        "ravelled": _compiled(partial(descend, unravel=unravel), flat, data, order),
    }
    return "carry of per-example SGD, d=10", "ns/example", 1e9 / 20_000, candidates


def block_size(d: int):
    """Rows in order against blocks of them."""
    state, data, order = _start(8192, d)
    link = jaxgd.binary_cross_entropy_with_logits
    candidates = {
        f"block_size={k}": _compiled(
            blocked_sgd(link, LEARNING_RATE, block_size=k), state, data, order
        )
        for k in (1, 4, 8, 16, 32, 64)
    }
    candidates["sgd"] = _compiled(jaxgd.sgd(logistic_loss, OPTIMIZER), state, data, order)
    return f"per-example SGD, d={d}", "ns/example", 1e9 / 8192, candidates


def sums_side_by_side(d: int):
    """The dot product of a row and the weights as one sum or as several, rows as they lie."""
    state, data, _ = _start(20_000, d)
    link = jaxgd.binary_cross_entropy_with_logits
    candidates = {}
    for lanes in (1, 2, 4, 8, 16, 32, 64):
        width = {"NARROW_LANES": lanes, "LANES": lanes}
        with patch.multiple(linear_row, **width):
            in_order = blocked_sgd(link, LEARNING_RATE, block_size=1)
            candidates[f"{lanes} sums"] = _compiled(in_order, state, data)
    with patch.object(rows_in_order, "dot_in_lanes", jnp.dot):
        in_order = blocked_sgd(link, LEARNING_RATE, block_size=1)
        candidates["a dot"] = _compiled(in_order, state, data)
    return f"rows in order, d={d}", "ns/example", 1e9 / 20_000, candidates


def rows_ahead(d: int):
    """How many bytes of rows in order are gathered at once."""
    state, data, order = _start(50_000, d)
    link = jaxgd.binary_cross_entropy_with_logits
    candidates = {}
    for exponent in (12, 15, 17, 18, 20, 22, 24):
        with patch.object(batches, "ROW_GATHER_BYTES", 2**exponent):
            in_order = blocked_sgd(link, LEARNING_RATE, block_size=1)
            name = f"{2**exponent // 1024} KB ahead"
            candidates[name] = _compiled(in_order, state, data, order)
    return f"rows in shuffled order, d={d}", "ns/example", 1e9 / 50_000, candidates


def other_forms_of_a_batch(d: int, b: int):
    """The two products of a mini-batch as they are, as sums in lanes, and row by row."""
    state, data, _ = _start(16_384, d)
    link = jaxgd.binary_cross_entropy_with_logits
    slope = jax.value_and_grad(link)

    def in_lanes(params, batch):
        x, y = batch
        z = jax.vmap(dot_in_lanes, (0, None))(x, params.w) + params.b
        values, g = jax.vmap(slope)(z, y)
        return jnp.mean(values), jaxgd.Linear(jnp.mean(x * g[:, None], axis=0), jnp.mean(g))

    def row_by_row(params, batch):
        def add(sums, example):
            (value, _), grad = linear_row.row_gradient(link)(params, example)
            return jax.tree.map(jnp.add, sums, (value, grad)), None

        sums, _ = jax.lax.scan(add, (0.0, jax.tree.map(jnp.zeros_like, params)), batch)
        return jax.tree.map(lambda a: a / b, sums)

    forms = {"as they are": None, "sums in lanes": in_lanes, "row by row": row_by_row}
    candidates = {"one read (sum)": _compiled(jnp.sum, data[0])}
    for name, gradient in forms.items():
        update = jaxgd.descend(jaxgd.mean(logistic_loss), OPTIMIZER, value_and_grad=gradient)
        candidates[name] = _compiled(jaxgd.visit(update, b), state, data)
    return f"mini-batches of {b} as they lie, d={d}", "µs/update", 1e6 / (16_384 / b), candidates


def batches_ahead(d: int, b: int):
    """Each batch's rows in its own step, or those of several batches at once."""
    state, data, order = _start(8192, d)
    candidates = {}
    for exponent in (0, 14, 16, 17, 18, 20):
        with patch.object(batches, "GATHER_BYTES", 2**exponent):
            in_batches = jaxgd.minibatch(logistic_loss, OPTIMIZER, b)
            name = f"{2**exponent // 1024} KB ahead" if exponent else "each its own"
            candidates[name] = _compiled(in_batches, state, data, order)
    return f"rows of mini-batches of {b}, d={d}", "µs/update", 1e6 / (8192 / b), candidates


def chunk_of_rows(n: int = 60_000, d: int = 784):
    """The rows a GD epoch works on at a time, against one read of them all."""
    state, data, _ = _start(n, d)
    x, _ = data
    candidates = {"one read (sum)": _compiled(jnp.sum, x)}
    for chunk in (None, 300, 600, 1200, 2000, 5000):
        candidates[f"chunk={chunk}"] = _compiled(in_chunks(GRADIENT, chunk), state.params, data)
    return f"GD, n={n} d={d}", "ms", 1e3, candidates


def several_chunks_in_flight(n: int = 60_000, d: int = 784):
    """A loop over chunks one by one, or over several that do not wait for each other."""
    state, data, _ = _start(n, d)
    candidates = {"one read (sum)": _compiled(jnp.sum, data[0])}
    for rows, chunks in ((2000, 1), (1000, 2), (500, 4), (250, 8), (125, 16)):

        def loop(params, data, rows=rows, chunks=chunks):
            def add(i, sums):
                return _add(sums, params, _take(data, i * rows, rows))

            return jax.lax.fori_loop(0, n // rows, add, _zeros(params), unroll=chunks)

        candidates[f"{chunks} of {rows} rows"] = _compiled(loop, state.params, data)
    return f"GD, n={n} d={d}, chunks at a time", "ms", 1e3, candidates


def other_forms_of_gd(n: int = 60_000, d: int = 784):
    """What might keep both cores reading: two loops, reading a chunk ahead, no copy of a chunk."""
    state, data, _ = _start(n, d)
    link = jaxgd.binary_cross_entropy_with_logits

    def two_loops(params, data, rows=300):
        def over(first):
            def add(i, sums):
                return _add(sums, params, _take(data, first + i * rows, rows))

            return jax.lax.fori_loop(0, n // 2 // rows, add, _zeros(params))

        return jax.tree.map(jnp.add, over(0), over(n // 2))

    def read_ahead(params, data, rows=500):
        def add(i, carry):
            sums, (first, second) = carry
            start = jnp.minimum(2 * (i + 1) * rows, n - 2 * rows)
            sums = _add(sums, params, first)
            first = _take(data, start, rows)
            sums = _add(sums, params, second)
            return sums, (first, _take(data, start + rows, rows))

        ahead = _take(data, 0, rows), _take(data, rows, rows)
        return jax.lax.fori_loop(0, n // rows // 2, add, (_zeros(params), ahead))[0]

    def no_dot_products(params, data, rows=2000, lanes=16):
        """Sums of products, which XLA fuses with the slice they read."""

        def add(i, sums):
            x, y = _take(data, i * rows, rows)
            parts = jnp.sum((x * params.w).reshape(rows, -1, lanes), axis=1)
            z = jnp.sum(jax.lax.optimization_barrier(parts), axis=1) + params.b
            values, slopes = jax.vmap(jax.value_and_grad(link))(z, y)
            g = jax.lax.optimization_barrier(slopes)
            part = jnp.sum(values), jaxgd.Linear(jnp.sum(g[:, None] * x, axis=0), jnp.sum(g))
            return jax.tree.map(jnp.add, sums, part)

        return jax.lax.fori_loop(0, n // rows, add, _zeros(params))

    def in_one_pass(params, data):
        """Row by row, its product and its share of the gradient while it is in the first cache."""

        def add(sums, example):
            (value, _), grad = linear_row.row_gradient(link)(params, example)
            return jax.tree.map(jnp.add, sums, (value, grad)), None

        return jax.lax.scan(add, _zeros(params), data)[0]

    def halved(params, data, rows=500):
        """Rows kept in half precision, worked on in float32: half the bytes."""

        def add(i, sums):
            x, y = _take(data, i * rows, rows)
            return _add(sums, params, (x.astype(jnp.float32), y))

        return jax.lax.fori_loop(0, n // rows, add, _zeros(params))

    forms = {
        "chunks of 500 rows": in_chunks(GRADIENT, 500),
        "chunks of 2000 rows": in_chunks(GRADIENT, 2000),
        "one pass, row by row": in_one_pass,
        "two loops, each over half the rows": two_loops,
        "the next chunk read ahead": read_ahead,
        "sums of products, no dot products": no_dot_products,
    }
    candidates = {name: _compiled(form, state.params, data) for name, form in forms.items()}
    small = (data[0].astype(jnp.bfloat16), data[1])
    candidates["rows in bfloat16, chunks of 500"] = _compiled(halved, state.params, small)
    candidates["one read (sum)"] = _compiled(jnp.sum, data[0])
    return f"forms of GD, n={n} d={d}", "ms", 1e3, candidates


def gd_on_two_devices(n: int = 60_000, d: int = 784):
    """A device a core, each with its half of the rows in chunks of its own."""
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    split, same = PartitionSpec("rows"), PartitionSpec()
    state, data, _ = _start(n, d)
    params = jax.device_put(state.params, NamedSharding(mesh, same))
    data = jax.device_put(data, NamedSharding(mesh, split))
    candidates = {"one read (sum)": _compiled(jnp.sum, data[0])}
    for chunk in (None, 75, 300, 600):

        def half(params, data, chunk=chunk):
            value = in_chunks(GRADIENT, chunk)(params, data)
            return jax.tree.map(lambda a: jax.lax.pmean(a, "rows"), value)

        both = jax.shard_map(
            half, mesh=mesh, in_specs=(same, split), out_specs=same, check_vma=False
        )
        candidates[f"chunk={chunk}"] = _compiled(both, params, data)
    return f"GD on two CPU devices, n={n} d={d}", "ms", 1e3, candidates


def shuffled_order(n: int):
    """An order without a sort, against JAX's permutation."""
    key = jax.random.key(0)
    candidates = {
        "jaxgd.shuffle": _compiled(lambda key: jaxgd.shuffle(key, n), key),
        "jax.random.permutation": _compiled(lambda key: jax.random.permutation(key, n), key),
    }
    return f"order of n={n} rows", "ms", 1e3, candidates


def _take(data, start, rows: int):
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, rows), data)


def _add(sums, params, part):
    return jax.tree.map(jnp.add, sums, GRADIENT(params, part))


def _zeros(params):
    return 0.0, jax.tree.map(jnp.zeros_like, params)


def _start(n: int, d: int):
    data = jax.tree.map(jnp.asarray, problem(Case("experiment", "sgd", n, d)))
    state = jaxgd.init_state(jaxgd.init_linear(d), OPTIMIZER)
    return state, data, jaxgd.shuffle(jax.random.key(0), n)


def _compiled(fn: Callable, *arguments) -> Callable[[], object]:
    program = jax.jit(fn).lower(*arguments).compile()
    return lambda: program(*arguments)


def _alternate(candidates: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """The sorted seconds of each over alternating rounds, the first of which warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for done in range(ROUNDS + 1):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            jax.block_until_ready(candidate())
            if done:
                seconds[name].append(time.perf_counter() - start)
    return {name: sorted(costs) for name, costs in seconds.items()}


BATCHES = ((30, 1), (784, 1), (784, 2), (30, 8), (30, 32), (100, 32), (784, 32))

EXPERIMENTS = [
    ravelled_carry,
    *(partial(sums_side_by_side, d) for d in (10, 30, 100, 784)),
    *(partial(rows_ahead, d) for d in (10, 30, 100, 784)),
    *(partial(block_size, d) for d in (30, 100, 784)),
    *(partial(batches_ahead, *of) for of in BATCHES),
    *(partial(other_forms_of_a_batch, *of) for of in ((30, 8), (784, 8), (784, 32), (784, 256))),
    chunk_of_rows,
    several_chunks_in_flight,
    other_forms_of_gd,
    *(partial(shuffled_order, n) for n in (10**6, 999_983)),
]


if __name__ == "__main__":
    main()
