"""The reader of compiled programs, on programs of this CPU and on texts of other targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from benchmarks import compiled_bytes, compiled_products
from benchmarks.compiled_text import counts, read

# What a v5e and an H100 are given, cut to what is read: a TPU's loop tells no trips, its scalars
# are no kernels and its scratchpad no memory; the H100's collective is started and awaited.
TPU = """
HloModule jit_run, is_scheduled=true

%body (t: (s32[], f32[256,128])) -> (s32[], f32[256,128]) {
  %t = (s32[]{:T(128)}, f32[256,128]{1,0:T(8,128)S(1)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%t), index=0
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%i, %one), metadata={op_name="jit(run)/sort (of)/add"}
  %x = f32[256,128]{1,0:T(8,128)S(1)} get-tuple-element(%t), index=1
  %sum = f32[256,128]{1,0:T(8,128)S(1)} all-reduce(%x), channel_id=1, to_apply=%add
  ROOT %out = (s32[]{:T(128)}, /*index=1*/f32[256,128]{1,0:T(8,128)S(1)}) tuple(%next, %sum)
}

%condition (c: (s32[], f32[256,128])) -> pred[] {
  %c = (s32[]{:T(128)}, f32[256,128]{1,0:T(8,128)S(1)}) parameter(0)
  %j = s32[]{:T(128)} get-tuple-element(%c), index=0
  %most = s32[]{:T(128)} constant(7)
  ROOT %lt = pred[]{:T(512)} compare(%j, %most), direction=LT
}

ENTRY %main (p: f32[256,128]) -> f32[256,128] {
  %p = f32[256,128]{1,0:T(8,128)} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %near = (f32[256,128]{1,0:T(8,128)S(1)}, f32[256,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%p)
  %here = f32[256,128]{1,0:T(8,128)S(1)} copy-done(%near)
  %both = (s32[]{:T(128)}, f32[256,128]{1,0:T(8,128)S(1)}) tuple(%zero, %here)
  %loop = (s32[], f32[256,128]{1,0:T(8,128)S(1)}) while(%both), condition=%condition, body=%body
  %last = f32[256,128]{1,0:T(8,128)S(1)} get-tuple-element(%loop), index=1
  %home = f32[256,128]{1,0:T(8,128)S(5)} copy(%last)
  ROOT %done = f32[256,128]{1,0:T(8,128)} copy(%home)
}
"""
NVIDIA = """
%fused (q: f32[8]) -> f32[8] {
  %q = f32[8]{0} parameter(0)
  ROOT %sort.1 = f32[8]{0} sort(%q), dimensions={0}, to_apply=%less
}

ENTRY %main (p: f32[8,4], k: f32[8]) -> f32[8,8] {
  %p = f32[8,4]{1,0} parameter(0)
  %k = f32[8]{0} parameter(1)
  %start = (f32[8,4]{1,0}, f32[16,4]{1,0}) all-gather-start(%p), dimensions={0}
  %done = f32[16,4]{1,0} all-gather-done(%start)
  %sorted = (f32[8]{0}, u8[100]{0}) custom-call(%k), custom_call_target="__cub$DeviceRadixSort"
  %too = f32[8]{0} fusion(%k), kind=kCustom, calls=%fused
  ROOT %product = f32[16,16]{1,0} custom-call(%done, %p), custom_call_target="__cublas$gemm"
}
"""


def work_of(fn, *args):
    compiled = jax.jit(fn).lower(*args).compile()
    return read(compiled.as_text()), compiled


def test_loops_multiply_what_they_hold():
    def fn(x, w):
        def one(x, _):
            inner = jax.lax.fori_loop(0, 5, lambda _, x: x @ w, x)
            return jnp.roll(inner, 1, axis=0), None

        return jax.lax.scan(one, x, length=7)[0]

    work, _ = work_of(fn, jnp.ones((600, 600)), jnp.ones((600, 600)))
    found = [(times, loop.trips, loop.exact) for times, loop in work.all_loops()]
    assert found == [(7, 7, True), (35, 5, True)]
    assert counts(work).library_calls == 7 * 5
    assert 7 <= counts(work).kernels < 200


def test_the_most_trips_of_a_loop_that_the_data_end():
    def fn(x):
        def goes_on(carry):
            i, x = carry
            return (i < 11) & (jnp.max(x) < 3)

        return jax.lax.while_loop(goes_on, lambda c: (c[0] + 1, c[1] * 1.5), (0, x))

    work, _ = work_of(fn, jnp.ones(5000))
    [(_, loop)] = work.all_loops()
    assert (loop.trips, loop.exact) == (11, False)


def test_sorts_are_found():
    assert counts(work_of(jnp.sort, jnp.ones(3000))[0]).sorts == 1
    assert counts(work_of(jnp.cumsum, jnp.ones(3000))[0]).sorts == 0


def test_calls_of_the_host_are_found():
    def fn(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    assert counts(work_of(fn, jnp.ones(3))[0]).host_transfers == 1


def test_products_are_counted_with_their_loops():
    def fn(x, w):
        return jax.lax.fori_loop(0, 5, lambda _, x: jnp.tanh(x @ w), x)

    work, _ = work_of(fn, jnp.ones((30, 40)), jnp.ones((40, 40)))
    assert compiled_products.flops(work) == 5 * 2 * 30 * 40 * 40


@pytest.mark.parametrize(("precision", "found"), [("highest", 0), ("default", 1)])
def test_a_product_without_the_highest_precision_is_found(precision, found):
    x = jnp.ones((300, 300))
    with jax.default_matmul_precision(precision):
        text = jax.jit(jnp.dot).lower(x, x).compile().as_text()
    assert len(compiled_products.rounded(text)) == found


def test_a_loop_that_the_data_end_can_be_told_to():
    def fn(x):
        return jax.lax.while_loop(lambda x: (x < 9).all(), lambda x: x @ x, x)

    work, _ = work_of(fn, jnp.ones((600, 600)))
    once, thrice = (counts(work.ending_after(k)).library_calls for k in (1, 3))
    assert (once, thrice) == (1, 3)


def test_collectives_and_their_bytes():
    mesh = Mesh(np.array(jax.devices()), ("data",))
    rows = PartitionSpec("data")

    def fn(x):
        total = jax.lax.psum(x, "data")
        return jax.lax.fori_loop(0, 3, lambda _, t: jax.lax.psum(t, "data") / 8, total)

    sharded = jax.shard_map(
        fn, mesh=mesh, in_specs=rows, out_specs=PartitionSpec(), check_vma=False
    )
    found = counts(work_of(sharded, jnp.ones((len(jax.devices()) * 10, 4)))[0])
    assert found.collectives == {"all-reduce": 4}
    assert found.collective_bytes == {"all-reduce": 4 * 10 * 4 * 4}


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jnp.sin(x) * x + 1,
        lambda x: jax.lax.dynamic_slice_in_dim(x, 17, 50),
        lambda x: x.sum(0) + x.max(0),
        lambda x: (x[:200] @ x[:200].T)[:, :10],
    ],
    ids=["elementwise", "slice", "sums", "product"],
)
def test_bytes_are_those_that_xla_counts(fn):
    """Of programs without a loop: XLA counts the body of one once."""
    work, compiled = work_of(fn, jnp.ones((300, 100)))
    assert compiled_bytes.total(work) == pytest.approx(
        compiled.cost_analysis()["bytes accessed"], rel=0.01
    )


def test_of_a_gather_the_rows_count_alone():
    work, _ = work_of(lambda x, rows: x[rows] * 2, jnp.ones((300, 100)), jnp.arange(10))
    assert compiled_bytes.total(work) == pytest.approx(2 * 10 * 400, rel=0.02)


def test_a_buffer_written_in_place_counts_as_its_update():
    def fn(x, row):
        return jax.lax.dynamic_update_slice_in_dim(x, row[None] * 2, 5, axis=0)

    x, row = jnp.ones((1000, 50)), jnp.ones(50)
    compiled = jax.jit(fn, donate_argnums=0).lower(x, row).compile()
    assert 2 * 200 <= compiled_bytes.total(read(compiled.as_text())) < 1000


def test_a_program_for_a_tpu():
    work, size = read(TPU), 256 * 128 * 4
    [(_, loop)] = work.all_loops()
    assert (loop.trips, loop.exact) == (7, True)
    found = counts(work)
    assert found.collectives == {"all-reduce": 7}
    assert found.collective_bytes == {"all-reduce": 7 * size}
    assert (found.kernels, found.library_calls, found.sorts) == (1, 0, 0)
    assert found.host_transfers == 1
    assert sum(map(compiled_bytes.moved, loop.instructions)) == 0


def test_a_program_for_nvidia():
    found = counts(read(NVIDIA))
    assert found.collectives == {"all-gather": 1}
    assert found.collective_bytes == {"all-gather": 16 * 4 * 4}
    assert (found.kernels, found.library_calls, found.sorts) == (1, 2, 2)


def test_a_line_that_does_not_end_is_told():
    with pytest.raises(ValueError, match="parentheses must close"):
        read("ENTRY %main () -> f32[] {\n  ROOT %a = f32[] add(%b, %c\n}")
