"""The proof by induction: honest networks are never accused, and every canary parts."""

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


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("seed", range(2))
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
    "beta2": ({"beta2": 0.9991}, "parameters", None, "unknown"),
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

    def test_a_transformer_is_the_same_and_an_eps_of_its_norms_shows_in_its_outputs(self):
        """The gradients differ by less than their rounding: it is the forward pass that tells."""
        assert proof_of_port(PORT["transformer"]).verdict == "equivalent"
        found = proof_of_port(PORT["transformer"], eps=1e-6)
        assert (found.verdict, found.stage) == ("parted", "forward")

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
