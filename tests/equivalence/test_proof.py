"""The proof by induction: honest networks are never accused, and every canary parts."""

import tracemalloc
from functools import partial

import numpy as np
import pytest

from jaxgd.equivalence import (
    NotEquivalent,
    Recipe,
    Update,
    assert_equivalent,
    compare,
    diagnose,
    prove,
)
from tests.equivalence.networks import (
    RECIPE,
    jax_step,
    problem,
    proof,
    torch_pass,
    torch_training,
)
from tests.equivalence.ports.frameworks import FRAMEWORK_PORTS
from tests.equivalence.ports.models import PORTS
from tests.equivalence.ports.porting import proof as proof_of_port

ACTIVATIONS = ("relu", "tanh", "leaky")
PORT = {port.name: port for port in [*PORTS, *FRAMEWORK_PORTS]}


@pytest.mark.parametrize(("activation", "seed"), [*zip(ACTIVATIONS, (0, 1, 0), strict=True)])
def test_honest_small_networks_are_the_same_training(activation, seed):
    found = proof(activation, seed)
    assert found.verdict == "equivalent", str(found)
    assert max(found.resolution.values()) < 1e-4
    assert found.resolution.keys() == {"forward", "loss", "gradient", "parameters"}


def test_in_float64_it_resolves_what_float64_can():
    found = proof("relu", 0, np.float64)
    assert found.verdict == "equivalent"
    assert max(found.resolution.values()) < 1e-11


CANARIES = {
    "loss": ({"scale": 1.0001}, "loss", 1, "the loss is 1.0001 times as large"),
    "rate": ({"rate": 0.03 * 1.0001}, "parameters", 1, "the learning rate is 1.0001 times"),
    "eps": ({"eps": 1e-7}, "parameters", 1, "eps is 1e-07"),
    "beta2": ({"beta2": 0.9991}, "parameters", None, "the second beta is 0.9991"),
    "row": ({"wrong_row_at": 7}, "forward", 7, "unknown"),
}


@pytest.mark.parametrize("activation", ["relu"])
@pytest.mark.parametrize("canary", CANARIES)
def test_every_canary_parts(canary, activation):
    planted, stage, update, cause = CANARIES[canary]
    found = proof(activation, 1, **planted)
    assert (found.verdict, found.stage) == ("parted", stage)
    assert update is None or found.update == update
    assert cause in found.cause


def test_a_free_comparison_misses_what_the_proof_sees():
    """Adam does not see the size of the loss: the trajectories hardly move."""
    step, expected = jax_step("tanh", scale=1.0001), torch_training("tanh", 1)
    params, ours = expected[0].params, [expected[0].params]
    for update in expected:
        params = step(params, update.batch).updated
        ours.append(params)
    theirs = [expected[0].params, *(update.updated for update in expected)]
    report = compare([{k: np.asarray(v) for k, v in p.items()} for p in ours], theirs)
    assert report.verdict == "equivalent"
    assert proof("tanh", 1, scale=1.0001).verdict == "parted"


@pytest.mark.usefixtures("quick_compile_here")
class TestRealPorts:
    def test_biases_before_batch_norm_are_null_directions(self):
        """Adam makes full steps of their rounding, which a free comparison in float32 accuses."""
        found = proof_of_port(PORT["CNN + BatchNorm"])
        assert found.verdict == "equivalent", str(found)
        assert set(found.null_directions) == {"0.bias", "4.bias"}
        assert "cannot change the function" in str(found)

    def test_batch_norms_momentum_shows_in_the_buffers(self):
        found = proof_of_port(PORT["CNN + BatchNorm"], momentum=0.9)
        assert (found.verdict, found.update, found.stage) == ("parted", 1, "buffers")
        assert "momentum 0.9, not 0.1" in found.cause

    def test_a_transformer_is_the_same_and_an_eps_of_its_norms_shows_in_its_outputs(self):
        """The gradients differ by less than their rounding: it is the forward pass that tells."""
        assert proof_of_port(PORT["transformer"]).verdict == "equivalent"
        found = proof_of_port(PORT["transformer"], eps=1e-6)
        assert (found.verdict, found.stage) == ("parted", "forward")
        assert found.layer.layer == "layers.0.norm1"
        assert found.cause == "in 'layers.0.norm1', the norm's eps is 1e-06, not 1e-05"

    def test_a_port_over_a_bridge_is_proven_under_torchs_names(self):
        port = PORT["MLP, Equinox"]
        assert proof_of_port(port).verdict == "equivalent"
        found = proof_of_port(port, **port.faults["GELU"])
        assert (found.verdict, found.update, found.stage) == ("parted", 1, "forward")


def small(**changes):
    """The arguments of an honest proof, some of them changed."""
    arguments = {
        "step": jax_step("relu"),
        "expected": torch_training("relu", 0)[:6],
        "reference": torch_pass("relu"),
        "recipe": RECIPE,
        "start": problem(0).start,
    }
    return arguments | changes


def test_another_start_parts_before_the_first_update():
    turned = dict(problem(0).start)
    turned["1.weight"] = turned["1.weight"].T.copy()  # square: only its values tell
    found = prove(**small(start=turned))
    assert (found.verdict, found.update, found.stage) == ("parted", 0, "start")
    assert found.leaf == "1.weight"


def test_the_loaders_batches_are_compared():
    batches = [update.batch for update in torch_training("relu", 0)[:6]]
    reversed_rows = [tuple(part[::-1].copy() for part in batch) for batch in batches]
    assert prove(**small(batches=reversed_rows)).verdict == "equivalent"
    for planted, update in (([*batches[:2], batches[3], *batches[3:]], 3), (batches[:5], 6)):
        found = prove(**small(batches=planted))
        assert (found.verdict, found.update, found.stage) == ("parted", update, "batch")


def test_without_a_recipe_the_steps_are_not_proven():
    found = prove(**small(recipe=None))
    assert found.verdict == "unproven"
    assert "give the recipe" in str(found)
    other = prove(**small(recipe=Recipe("adam", lr=0.02)))
    assert other.verdict == "unproven"
    assert "does not give the reference's own steps" in str(other)


def test_what_is_too_coarse_is_unproven():
    found = prove(**small(resolves=1e-6))
    assert found.verdict == "unproven"
    assert "could hide in the gradient: more than 1e-06" in str(found)


def test_stages_that_are_not_recorded_are_named():
    bare = [u._replace(outputs=None, loss=None) for u in torch_training("relu", 0)[:6]]
    found = prove(**small(expected=bare))
    assert found.verdict == "equivalent"
    assert "Not recorded, and judged by what follows: forward, loss." in str(found)


def test_the_text_of_a_proof():
    assert str(prove(**small())).startswith(
        "The same training, update by update: 6 updates.\n"
        "A difference would have shown from this fraction on: forward "
    )
    parted = str(prove(**small(step=jax_step("relu", rate=0.06)))).splitlines()
    assert parted[0] == "The trainings part in update 1 of 6."
    assert parted[1].startswith("Stage: parameters of '")
    assert parted[2] == "Cause: the learning rate is 2 times as large."


def test_the_assertion_proves_where_a_step_is_given():
    assert assert_equivalent(**small()).verdict == "equivalent"
    with pytest.raises(NotEquivalent, match=r"Stage: loss, .* x what rounding may do"):
        assert_equivalent(**small(step=jax_step("relu", scale=1.001)))
    with pytest.raises(ValueError, match="start belong to a proof, which takes a step; got none"):
        assert_equivalent([1.0], [1.0], start={})
    with pytest.raises(ValueError, match="in the place of a trajectory"):
        assert_equivalent([1.0], **small())


def test_what_is_refused():
    def elsewhere(params, batch):
        return jax_step("relu")({name: v + 1 for name, v in params.items()}, batch)

    with pytest.raises(ValueError, match="must begin at the parameters it is given"):
        prove(**small(step=elsewhere))
    with pytest.raises(ValueError, match="at least one update; got none"):
        prove(**small(expected=[]))
    with pytest.raises(ValueError, match=r"multiple is positive .* got 0 and 0\.001"):
        prove(**small(multiple=0))
    renamed = [u._replace(outputs={"logits": u.outputs}) for u in torch_training("relu", 0)[:6]]
    with pytest.raises(ValueError, match="same leaves of a stage; '', 'logits' of the forward on"):
        prove(**small(expected=renamed))


def null_run(dtype, jitter, updates=30, lr=0.05):
    """Adam on a quadratic, beside a parameter whose gradient is rounding alone."""
    rng, noise = np.random.default_rng(0), np.random.default_rng(jitter)
    curvature, params = rng.uniform(0.5, 1, 6), {"w": rng.normal(size=6), "b": np.zeros(2)}
    params = {name: p.astype(dtype) for name, p in params.items()}
    mean, square, recording = {"w": 0.0, "b": 0.0}, {"w": 0.0, "b": 0.0}, []
    for t in range(1, updates + 1):
        rounding = np.finfo(dtype).eps * noise.normal(size=2)
        gradient = {"w": (curvature * params["w"]).astype(dtype), "b": rounding.astype(dtype)}
        updated = {}
        for name, g in ((n, g.astype(np.float64)) for n, g in gradient.items()):
            mean[name] = 0.9 * mean[name] + 0.1 * g
            square[name] = 0.999 * square[name] + 0.001 * g * g
            root = np.sqrt(square[name] / (1 - 0.999**t)) + 1e-12
            step = lr * mean[name] / (1 - 0.9**t) / root
            updated[name] = (params[name] - step).astype(dtype)
        recording.append(Update(params, gradient, updated, loss=float((params["w"] ** 2).sum())))
        params = updated
    return recording


def test_free_recordings_that_an_optimizer_amplified_are_told_as_the_same():
    recipe = Recipe("adam", lr=0.05, eps=1e-12)
    found = diagnose(null_run(np.float32, 1), null_run(np.float32, 2), recipe)
    assert found.update is None
    assert str(found).startswith("The same to rounding, amplified by the optimizer")
    faster = diagnose(null_run(np.float32, 1, lr=0.0501), null_run(np.float32, 2), recipe)
    assert (faster.update, faster.stage) == (1, "parameters")


def test_a_step_that_leaves_out_what_the_reference_records_is_refused():
    bare = {"outputs": None, "loss": None}
    omits = "must record what the expected updates record; it gives none of: "
    for side in ("step", "reference"):
        whole = small()[side]
        with pytest.raises(ValueError, match=rf"{side} {omits}forward .Update.outputs., loss"):
            prove(**small(**{side: lambda *args, run=whole: run(*args)._replace(**bare)}))
    means = [u._replace(updated_buffers={"mean": np.ones(2)}) for u in small()["expected"]]
    with pytest.raises(ValueError, match=rf"step {omits}buffers .Update.updated_buffers."):
        prove(**small(expected=means))


def test_buffers_that_nobody_records_are_named():
    kept = [u._replace(buffers={"mean": np.ones(2)}) for u in small()["expected"]]
    sides = {name: small()[name] for name in ("step", "reference")}
    sides = {
        name: lambda params, batch, _, run=run: run(params, batch) for name, run in sides.items()
    }
    found = prove(**small(expected=kept, **sides))
    assert found.not_recorded == ("buffers",)


def products(params, batch, *, length, order=1, factor=1.0, layers=True):
    """Two products over a sequence whose first axis is time, and their mean; `order` of adding."""
    data = np.random.default_rng(0).normal(size=(9, 16, length, 8)).astype(np.float32)
    x = data[batch[0] // 16][np.asarray(batch) % 16].swapaxes(0, 1)
    a, b = np.asarray(params["a"]), np.asarray(params["b"])
    u = (x[..., ::order] @ a[::order]) * np.float32(factor)
    y = u[..., ::order] @ b[::order]
    mean = y.mean(axis=0)
    back = np.broadcast_to(2 * mean / (mean.size * length), y.shape).astype(np.float32)
    into = (back @ b.T) * np.float32(factor)
    gradient = {"a": np.einsum("tbi,tbj->ij", x, into), "b": np.einsum("tbi,tbj->ij", u, back)}
    updated = {name: params[name] - np.float32(0.01) * g for name, g in gradient.items()}
    told = {"a": {"output": u, "inputs": (x,)}, "b": {"output": y, "inputs": (u,)}, "mean": mean}
    loss = np.asarray((mean**2).mean(), np.float32)
    return Update(
        params, gradient, updated, batch, mean, loss, activations=told if layers else None
    )


def of_products(length, step, updates=9, **options):
    """The proof of those, against a reference that is given by its options."""
    rng, recording = np.random.default_rng(1), []
    params = {"a": rng.normal(size=(8, 6)), "b": rng.normal(size=(6, 3))}
    params = start = {name: p.astype(np.float32) for name, p in params.items()}
    for at in range(updates):
        recording.append(products(params, np.arange(16) + 16 * at, length=length))
        params = recording[-1].updated
    reference = partial(products, length=length, **options)
    return prove(step, recording, reference, Recipe("sgd", lr=0.01), start=start)


@pytest.mark.parametrize("length", [15, 16])
def test_the_rows_are_found_where_a_sequence_is_as_long_as_the_batch(length):
    found = of_products(length, partial(products, length=length, factor=1.001))
    assert (found.stage, found.layer.layer) == ("forward", "a")
    assert found.layer.bound < 1e-4
    assert found.cause == "in 'a', the output is 1.001 times as large"


def test_layers_that_the_reference_does_not_record_are_not_examined():
    found = of_products(15, partial(products, length=15, order=-1), layers=False)
    assert found.verdict == "equivalent", str(found)


def test_the_layers_of_updates_that_agree_are_let_go():
    """Each pass gives 1 MB of layers; a proof of 9 takes what one of 2 takes, and little more."""

    def step(params, batch):
        wide = {"wide": {"output": np.ones(125_000)}}
        return products(params, batch, length=2, layers=False)._replace(activations=wide)

    peaks = []
    for updates in (2, 9):
        tracemalloc.start()
        assert of_products(2, step, updates).verdict == "equivalent"
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2e6


def of_buffers(variance, sign=1.0, updates=6):
    """Adam's family aside: a parameter whose gradients are 1e-6 of the other's, and a variance."""
    rng, recording = np.random.default_rng(0), []
    params = {name: rng.normal(size=40).astype(np.float32) for name in "ab"}
    for t in range(updates):
        gradient = {name: rng.normal(size=40).astype(np.float32) for name in "ab"}
        gradient["b"] *= np.float32(sign * 1e-6)
        updated = {n: p - np.float32(1e-3) * np.sign(gradient[n]) for n, p in params.items()}
        before, after = ({"running_var": np.full(4, 1 + variance * (t + i))} for i in (0, 1))
        recording.append(
            Update(params, gradient, updated, buffers=before, updated_buffers=after, loss=1.0)
        )
        params = updated
    return recording


def test_recordings_buffers_are_compared():
    found = diagnose(of_buffers(5.0), of_buffers(1.0))
    assert (found.update, found.stage) == (1, "buffers")
    assert diagnose(of_buffers(1.0), of_buffers(1.0)).update is None


def test_a_small_gradient_is_judged_unless_both_sides_are_independent():
    found = diagnose(of_buffers(1.0, sign=-1.0), of_buffers(1.0))
    assert (found.update, found.stage) == (1, "gradient")
    recipe = Recipe("adam", lr=0.05, eps=1e-12)
    rounding = diagnose(null_run(np.float32, 1), null_run(np.float32, 2), recipe)
    assert rounding.not_judged == ("b",)
    assert str(rounding).endswith("as no more than rounding may show there: 'b'.")
