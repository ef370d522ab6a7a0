"""An exported run is the run, bit for bit; what does not fit is refused in a line."""

from collections import OrderedDict, defaultdict
from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd.interop import load_predictor
from jaxgd.storage.verified_file import load_arrays, save_arrays
from tests.laws.problem import EPOCHS, KEY, B, N, data, leaves, loss, start

LINK_LOSS = jaxgd.binary_cross_entropy_with_logits
ADAM = jaxgd.optim.adam(0.01)
RUN = jaxgd.train(EPOCHS["minibatch"](loss, ADAM), 2)


def same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(leaves(ours), leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def exported():
    return jaxgd.export_run(RUN, start(ADAM), data(), KEY)


@pytest.fixture(scope="module")
def path(exported, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a.jaxgd"
    exported.save(path)
    return path


def test_it_is_the_run_bit_for_bit_and_goes_on_from_a_state(path):
    again, run = jaxgd.load_run(path), jax.jit(RUN)
    for e in (0, 2):
        same(again(start(ADAM), data(), KEY, e), run(start(ADAM), data(), KEY, e))


def test_an_array_may_stand_for_its_values(exported):
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (start(ADAM), data()))
    assert jaxgd.export_run(RUN, *shapes, KEY).header == exported.header


def test_any_state_and_outs_and_no_key():
    def update(state, batch):
        (total, key), drawn = state, {}
        key, use = jax.random.split(key)
        drawn["noise"] = [jax.random.normal(use), (None, jnp.sum(batch[0]))]
        return (total + drawn["noise"][0], key), drawn

    run = jaxgd.train(jaxgd.visit(update, B), 2, order=None)
    state = jnp.zeros(()), jax.random.key(3, impl="rbg")
    ours, outs = jaxgd.export_run(run, state, data(), platforms=["cpu"])(state, data())
    expected, of_run = jax.jit(run)(state, data())
    same((ours[0], jax.random.key_data(ours[1])), (expected[0], jax.random.key_data(expected[1])))
    assert ours[1].dtype == state[1].dtype
    same(outs, of_run)


def run_of(outs):
    """A run that returns these outs, none of them computed from the state."""
    return lambda state, data, key=None, start=0: (state, jax.tree.map(jnp.asarray, outs))


@pytest.mark.parametrize(
    "outs",
    [
        OrderedDict(z=1.0, a=2.0),
        {10: 1.0, 9: {"b": 2.0, "a": 3.0}},
        defaultdict(list, {"y": [1.0, None, ()], "x": {}}),
        [OrderedDict({3: 1.0, 2: OrderedDict(b=2.0, a=3.0)}), 4.0],
    ],
    ids=["ordered", "integers", "default", "nested"],
)
def test_outs_come_back_by_their_keys(outs, tmp_path):
    jaxgd.export_run(run_of(outs), jnp.zeros(()), jnp.zeros(2), platforms=["cpu"]).save(
        tmp_path / "a"
    )
    _, found = jaxgd.load_run(tmp_path / "a")(jnp.zeros(()), jnp.zeros(2))
    assert found == outs


def test_keys_that_json_would_change_are_refused():
    with pytest.raises(ValueError, match=r"keys of outs must be text or int.*; got \(1, 2\) of"):
        jaxgd.export_run(run_of({(1, 2): 0.0}), jnp.zeros(()), jnp.zeros(2))


def test_a_state_is_taken_by_name_in_another_order():
    def run(state, data, key=None, start=0):
        return type(state)((name, 10 * value) for name, value in state.items()), data

    state = OrderedDict(z=jnp.ones(()), a=jnp.zeros(()))
    exported = jaxgd.export_run(run, state, jnp.zeros(2), platforms=["cpu"])
    turned = OrderedDict(reversed(state.items()))
    assert exported(turned, jnp.zeros(2))[0] == OrderedDict(a=0, z=10)


def test_blocked_sgd_exports():
    run, sgd = jaxgd.train(jaxgd.blocked_sgd(LINK_LOSS, 0.1), 1), jaxgd.optim.sgd(0.1)
    exported = jaxgd.export_run(run, start(sgd), data(), KEY)
    same(exported(start(sgd), data(), KEY), jax.jit(run)(start(sgd), data(), KEY))


OTHER = {
    "rows": (lambda: (start(ADAM), data(N - 1), KEY), r"data\[0\] must be float32\[25, 5\]; got"),
    "dtype": (lambda: (start(ADAM), (data()[0], jnp.zeros(N, int)), KEY), r"data\[1\] must be fl"),
    "state": (lambda: (start(jaxgd.optim.sgd(0.1)), data(), KEY), r"missing are state.opt_state"),
    "params": (lambda: (start(ADAM).params, data(), KEY), "not expected state.b, state.w. Pass"),
    "no key": (lambda: (start(ADAM), data()), "key must have the leaves that were exported; miss"),
}


@pytest.mark.parametrize("name", OTHER)
def test_other_arguments_are_refused(exported, name):
    arguments, message = OTHER[name]
    with pytest.raises(ValueError, match=message):
        unchecked(type(exported).__call__)(exported, *arguments())


def prints(params, example):
    jax.debug.print("{}", example[1])
    return loss(params, example)


def of_devices():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.PartitionSpec("data")

    def run(state, data, key, start=0):
        return state, jax.shard_map(lambda a: a, mesh=mesh, in_specs=split, out_specs=split)(data)

    return run, jnp.zeros(8)


def test_what_cannot_be_exported_is_refused():
    run = jaxgd.train(EPOCHS["minibatch"](prints, ADAM), 2)
    with pytest.raises(ValueError, match="must not call back into Python; got one that does"):
        jaxgd.export_run(run, start(ADAM), data(), KEY, platforms=["cpu"])
    with pytest.raises(ValueError, match=r"platforms must be some of .*; got gpu. NVIDIA's is cu"):
        jaxgd.export_run(RUN, start(ADAM), data(), KEY, platforms=["gpu"])
    run, rows = of_devices()
    with pytest.raises(ValueError, match="must be of one device; got one of 8"):
        jaxgd.export_run(run, jnp.zeros(()), rows, platforms=["cpu"])
    with pytest.raises(ValueError, match=r"must return \(state, outs\), the state as it was"):
        jaxgd.export_run(lambda state, *_: (state.params, 0.0), start(ADAM), data(), KEY)


def test_without_flatbuffers_it_says_so(monkeypatch, path):
    monkeypatch.setitem(__import__("sys").modules, "flatbuffers", None)
    with pytest.raises(ModuleNotFoundError, match=r'needs flatbuffers: pip install "jaxgd\[exp'):
        jaxgd.load_run(path)


def test_a_damaged_file_is_refused(path, tmp_path):
    content, bad = path.read_bytes(), tmp_path / "bad.jaxgd"
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (content[:-1], flipped, b"", content[:100]):
        bad.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged|truncated"):
            jaxgd.load_run(bad)
    with pytest.raises(ValueError, match="is a run, not a predictor"):
        load_predictor(path)


REWRITTEN = {
    "no program": (lambda note: None, "no_program", "is not as a jaxgd export is written"),
    "not a program": (lambda note: None, "program", "by jax .*, cannot be read by jax"),
    "arguments": (lambda note: note.update(arguments=[[1]]), "program", "must be names and forms"),
    "outs": (lambda note: note.update(outs={"tuple": []}), "program", "more outs than places"),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_a_file_with_a_right_digest_that_is_no_run_is_refused(path, tmp_path, name):
    change, array, message = REWRITTEN[name]
    arrays, note = load_arrays(path, kind="jaxgd export", version=1)
    change(note)
    program = arrays["program"] if name == "outs" else np.zeros(9, np.uint8)
    bad = tmp_path / "bad.jaxgd"
    save_arrays(bad, {array: program}, note, kind="jaxgd export", version=1)
    with pytest.raises(ValueError, match=message):
        jaxgd.load_run(bad)
