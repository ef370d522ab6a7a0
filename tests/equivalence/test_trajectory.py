"""What counts as a run, and what is refused."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxgd.equivalence import compare
from jaxgd.equivalence.recordings.pytree import as_numpy, leaves_of, like, with_leaves
from jaxgd.equivalence.recordings.trajectory import read_trajectory

WALK = np.cumsum(np.ones((4, 3, 2), np.float32), axis=0)


class State(NamedTuple):
    params: dict
    count: object


@dataclasses.dataclass
class Layer:
    weight: object
    bias: object = None


def same(actual, expected):
    return compare(actual, expected).verdict == "equivalent"


def test_a_list_is_one_pytree_per_update_and_anything_else_is_stacked():
    sequence = [{"w": w} for w in WALK]
    assert same(sequence, {"w": WALK.copy()})
    assert same(list(WALK), WALK.copy())
    assert read_trajectory((WALK, WALK), "actual").leaves.keys() == {"0", "1"}


def test_containers_match_by_the_names_they_hold():
    nested = {"params": {"layers": [{"weight": WALK}, {"weight": 2 * WALK}]}, "count": WALK}
    flat = {"params.layers.0.weight": WALK, "params.layers.1.weight": 2 * WALK, "count": WALK}
    named = State({"layers": (Layer(WALK), Layer(2 * WALK))}, WALK)
    assert same(nested, flat)
    assert same(named, flat)


def test_paths_agree_with_jax():
    state = optax.adam(0.1).init({"w": jnp.ones(2), "b": jnp.ones(())})
    expected = {
        ".".join(str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", None)))) for k in keys)
        for keys, _ in jax.tree_util.tree_flatten_with_path(state)[0]
    }
    assert read_trajectory([state], "actual").leaves.keys() == expected


def test_takes_jax_torch_and_numpy_in_one_comparison():
    torch_run = [{"w": torch.tensor(w, requires_grad=True)} for w in WALK]
    jax_run = {"w": jnp.asarray(WALK)}
    assert same(torch_run, jax_run)
    assert same(jax_run, torch_run)


def test_takes_leaves_that_lie_on_several_devices():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    assert same({"w": jax.device_put(WALK, sharding)}, {"w": WALK})


def test_bfloat16_crosses_from_torch_to_jax():
    numbers = np.linspace(-3, 3, 12).reshape(4, 3)
    ours, theirs = jnp.asarray(numbers, jnp.bfloat16), torch.tensor(numbers, dtype=torch.bfloat16)
    (leaf,) = compare((ours,), (theirs,)).leaves
    assert leaf.dtype == "bfloat16"
    assert not leaf.error.any()


def test_python_numbers_take_the_other_sides_dtype():
    losses = np.linspace(1, 0, 5, dtype=np.float32)
    items = [float(x) for x in losses]
    assert compare(items, losses).leaves[0].dtype == "float32"
    assert compare(losses, items).leaves[0].dtype == "float32"
    assert compare(items, list(items)).leaves[0].dtype == "float32"  # as tensor.item() gives
    assert compare([0.1, 0.2], [0.1, 0.2]).leaves[0].dtype == "float64"


def test_integers_of_any_width_are_integers():
    assert compare([1, 2, 3], np.arange(1, 4, dtype=np.int32)).parted_at is None
    assert compare([1, 2, 4], np.arange(1, 4, dtype=np.int64)).parted_at == 2


def test_a_list_of_live_tensors_is_refused():
    live = torch.zeros(3)
    with pytest.raises(ValueError, match=r"actual\[0\] and actual\[1\] share .* Record tensor"):
        compare([{"w": live.detach()} for _ in range(3)], [{"w": np.zeros(3)}] * 3)


@pytest.mark.parametrize(
    ("actual", "error", "message"),
    [
        ({"w": WALK}, ValueError, r"same leaves; 'b' only in expected\. Rename"),
        ({"w": WALK, "b": WALK, "c": WALK}, ValueError, "'c' only in actual"),
        ({"w": WALK.swapaxes(1, 2), "b": WALK}, ValueError, r"'w' is float32\[4, 2, 3\] in actual"),
        ({"w": WALK[:3], "b": WALK[:3]}, ValueError, "actual has 3 entries and expected 4"),
        ({"w": WALK[:3], "b": WALK}, ValueError, "'w' has 3 and 'b' has 4"),
        ({"w": WALK.astype(np.float64), "b": WALK}, TypeError, "'w' is float64 in actual and fl"),
        ({"w": WALK.astype(np.int32), "b": WALK}, TypeError, "'w' is int32 in actual"),
        ({"w": WALK.astype(complex), "b": WALK}, TypeError, "'w' in actual is ndarray of dtype c"),
        ({"w": "adam", "b": WALK}, TypeError, "real numbers; 'w' in actual is str"),
        ({"w": jax.random.key(0), "b": WALK}, TypeError, "'w' in actual cannot become a NumPy"),
        ({"w": np.float32(1), "b": WALK}, ValueError, "'w' in actual is a scalar"),
        ([{"w": WALK}, {"b": WALK}], ValueError, r"actual\[1\] and actual\[0\] differ in 'b', 'w'"),
        ([WALK, WALK[0]], ValueError, r"float32\[4, 3, 2\] in actual\[0\] and float32\[3, 2\]"),
        ([], ValueError, r"at least one leaf and one update; got 0 leaves and 0 updates in actual"),
        ({}, ValueError, "at least one leaf"),
        ({"w.x": WALK, "w": {"x": WALK}}, ValueError, "'w.x' in actual names two"),
    ],
)
def test_what_does_not_match_is_named(actual, error, message):
    with pytest.raises(error, match=message):
        compare(actual, {"w": WALK, "b": WALK})


@dataclasses.dataclass(frozen=True)
class Module:
    """As Equinox's: a dataclass whose static fields, and functions, are no leaves."""

    weight: object
    activation: object = np.tanh
    name: str = dataclasses.field(default="linear", metadata={"static": True})
    width: int = dataclasses.field(default=2, metadata={"static": True})


def test_static_fields_and_functions_are_no_leaves():
    assert read_trajectory(Module(WALK), "actual").leaves.keys() == {"weight"}
    assert same(Module(WALK), {"weight": WALK.copy()})


def test_a_tree_keeps_its_containers_when_its_leaves_change():
    tree = {"m": Module(np.ones(2)), "s": State({"w": torch.ones(1)}, None), "l": [jnp.ones(3)]}
    doubled = with_leaves(tree, lambda path, leaf: like(leaf, 2 * as_numpy(leaf)))
    assert isinstance(doubled["m"], Module)
    assert (doubled["m"].activation, doubled["m"].name) == (np.tanh, "linear")
    assert isinstance(doubled["s"], State)
    assert isinstance(doubled["s"].params["w"], torch.Tensor)
    assert isinstance(doubled["l"][0], jax.Array)
    assert leaves_of(doubled, "tree").keys() == leaves_of(tree, "tree").keys()
    assert all((leaf == 2).all() for leaf in leaves_of(doubled, "tree").values())


def test_a_run_is_not_compared_with_itself():
    run = {"w": WALK}
    with pytest.raises(ValueError, match=r"same object\. Run both sides"):
        compare(run, run)
