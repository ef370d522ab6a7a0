"""Our optimizers reproduce torch's golden trajectories at every update, without torch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from jaxgd import optim
from jaxgd.equivalence import Recipe, Update
from jaxgd.equivalence.recordings.optimizer_view import moves
from jaxgd.equivalence.rule.following import follows
from jaxgd.optim import schedules
from jaxgd.optim.registry import REGISTRY
from tests import tolerances
from tests.golden.cases import SCHEDULES, UPDATES, VERSION, Case, cases
from tests.golden.format import FOLDER, manifest, read

ROW = {row.torch_class: name for name, row in REGISTRY.items()}
GOLDEN = read()


def transformation(case: Case) -> optax.GradientTransformationExtraArgs:
    options = {n: tuple(v) if isinstance(v, list) else v for n, v in case.options.items()}
    if case.scheduler:
        options["lr"] = schedule(case)
    return optax.with_extra_args_support(optim.by_name(ROW[case.optimizer])(**options))


def schedule(case: Case):
    named = {
        "StepLR": schedules.step_lr,
        "CosineAnnealingLR": schedules.cosine_annealing_lr,
        "ExponentialLR": schedules.exponential_lr,
    }
    options = dict(case.scheduler_options)
    if case.scheduler == "OneCycleLR":
        options.pop("cycle_momentum")
        return schedules.one_cycle_lr(**options)
    return named[case.scheduler](case.options["lr"], **options)


def loss(params, x, y):
    """The network of the recordings: `tests/golden/maker.py` has torch's."""
    if "table" in params:
        return jnp.mean((params["table"][x].sum(axis=1) - y) ** 2)
    hidden = x @ params["0.weight"].T
    if "0.bias" in params:
        hidden = hidden + params["0.bias"][None]
    out = (jnp.tanh(hidden) @ params["2.weight"].T)[:, 0]
    return jnp.mean((out + params.get("2.bias", jnp.zeros(1, out.dtype)) - y) ** 2)


def by_leaf(case: Case) -> bool:
    """Whether the rule looks at shapes, or at the loss: all others see one vector."""
    return REGISTRY[ROW[case.optimizer]].axes != "any" or case.optimizer == "LBFGS"


# Of each optimizer the first case; the other options of float32 are for `-m exhaustive`.
FIRST = {(case.optimizer, case.dtype): case.name for case in reversed(cases())}


def is_first(case: Case) -> bool:
    return FIRST[case.optimizer, case.dtype] == case.name


def each() -> list:
    rest = pytest.mark.exhaustive
    return [
        pytest.param(c, marks=() if c.dtype == "float64" or is_first(c) else rest, id=c.name)
        for c in cases()
    ]


@functools.cache
def runs(dtype: str, first: bool) -> dict[str, dict[str, np.ndarray]]:
    """Our parameters at every update of each case along torch's gradients, in one program.

    LBFGS evaluates the loss itself. Muon's bfloat16 is chaotic: it begins each update where torch
    did, and is compared update by update.
    """
    chosen = [case for case in cases() if case.dtype == dtype and is_first(case) == first]
    with jax.enable_x64(dtype == "float64"):

        @jax.jit
        def run(golden):
            return {case.name: _run(case, golden[case.name]) for case in chosen}

        return jax.tree.map(np.asarray, run({c.name: GOLDEN[c.name]._asdict() for c in chosen}))


def _run(case, golden):
    tx, x, y = transformation(case), golden["x"], golden["y"]
    recorded = golden["params"]
    start = jax.tree.map(lambda leaf: leaf[0], recorded)
    flatten = (lambda tree: tree) if by_leaf(case) else (lambda tree: ravel_pytree(tree)[0])
    unflatten = (lambda tree: tree) if by_leaf(case) else ravel_pytree(start)[1]

    def update(carry, now):
        params, state = carry
        gradient, before, batch = now
        extra = {}
        if case.optimizer == "LBFGS":

            def of_batch(params):
                return loss(params, x[batch], y[batch])

            value, gradient = jax.value_and_grad(of_batch)(params)
            extra = {"value": value, "value_fn": of_batch}
        if case.optimizer == "Muon":
            params = before
        if case.optimizer == "SparseAdam":
            extra = {
                "touched": {"table": jnp.zeros(len(before["table"]), bool).at[batch].set(True)}
            }
        step, state = tx.update(flatten(gradient), state, flatten(params), **extra)
        params = unflatten(optax.apply_updates(flatten(params), step))
        return (params, state), params

    before = jax.tree.map(lambda leaf: leaf[:-1], recorded)
    carry = start, tx.init(flatten(start))
    return jax.lax.scan(update, carry, (golden["gradient"], before, golden["order"]))[1]


def bound(case: Case) -> float:
    if case.optimizer == "Muon":
        return tolerances.GOLDEN_MUON
    if case.optimizer == "LBFGS":
        return tolerances.GOLDEN_LBFGS[case.dtype]
    return tolerances.GOLDEN[case.dtype]


def worst(ours, theirs, case: Case) -> float:
    """The largest distance of a parameter at any update, by the farthest its leaf has gone."""
    errors = []
    for path, values in theirs.items():
        far = np.abs(values - values[0]).max()
        if case.optimizer == "Muon":  # of a step
            far = np.abs(np.diff(values, axis=0)).max()
        errors.append(np.abs(ours[path].astype(np.float64) - values[1:]).max() / far)
    return float(max(errors))


@pytest.mark.optax_promotion
@pytest.mark.parametrize("case", each())
def test_our_optimizer_makes_torchs_steps(case):
    golden, ours = GOLDEN[case.name], runs(case.dtype, is_first(case))[case.name]
    assert worst(ours, golden.params, case) <= bound(case)


def test_a_rate_off_by_a_ten_thousandth_would_fail():
    """The gate bites along every trajectory, in both precisions; Muon's, at half as much again."""
    for case in cases():
        off = {"Muon": 0.5, "LBFGS": 2e-3}.get(case.optimizer, 1e-4)
        values = {path: leaf.astype(np.float64) for path, leaf in GOLDEN[case.name].params.items()}
        faster = {path: leaf[1:] + off * np.diff(leaf, axis=0) for path, leaf in values.items()}
        if case.optimizer != "Muon":
            faster = {path: leaf[1:] + off * (leaf[1:] - leaf[0]) for path, leaf in values.items()}
        assert worst(faster, values, case) > 1.5 * bound(case)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_our_gradients_are_torchs_at_its_parameters(case):
    golden = GOLDEN[case.name]
    with jax.enable_x64(case.dtype == "float64"):
        before = {path: leaf[:-1] for path, leaf in golden.params.items()}
        x, y = golden.x[golden.order], golden.y[golden.order]
        values, gradient = jax.tree.map(np.asarray, gradients()(before, x, y))
    eps = float(np.finfo(case.dtype).eps)
    np.testing.assert_allclose(values, golden.loss, rtol=0, atol=32 * eps * golden.loss.max())
    for path, leaf in golden.gradient.items():
        np.testing.assert_allclose(gradient[path], leaf, rtol=0, atol=32 * eps * np.abs(leaf).max())


@functools.cache
def gradients():
    return jax.jit(jax.vmap(jax.value_and_grad(loss)))


@pytest.mark.parametrize("name", ["nadam", "radam-decoupled", "adamax", "adadelta-decay"])
def test_a_recipe_of_the_registry_gives_torchs_steps(name):
    """What a proof asks of torch's own recording, without torch; and a larger rate is refused."""
    (case,) = (case for case in cases() if case.name == f"{name}-float64")
    golden, options = GOLDEN[case.name], dict(case.options)
    recorded = moves(
        [
            Update(*({n: leaf[t + i] for n, leaf in x.items()} for x, i in stages(golden)))
            for t in range(UPDATES)
        ]
    )
    rate = options.pop("lr")
    options = {n: tuple(v) if isinstance(v, list) else v for n, v in options.items()}
    assert follows(Recipe(ROW[case.optimizer], rate, options=options), recorded)
    assert not follows(Recipe(ROW[case.optimizer], 1.0001 * rate, options=options), recorded)


def stages(golden):
    """Parameters before, gradient, parameters after; and how far into their rows each begins."""
    return (golden.params, 0), (golden.gradient, 0), (golden.params, 1)


def test_the_recordings_are_whole():
    told = manifest(FOLDER)
    assert told["version"] == VERSION
    assert [case["name"] for case in told["cases"]] == [case.name for case in cases()]
    assert {case.optimizer for case in cases()} == set(ROW)
    assert {case.scheduler for case in cases()} - {""} == {name for name, _ in SCHEDULES.values()}
    for case in cases():
        for values in GOLDEN[case.name].params.values():
            assert values.dtype == case.dtype
            assert len(values) == UPDATES + 1
            assert np.isfinite(values).all()
            assert (values[1:] != values[:-1]).any()
