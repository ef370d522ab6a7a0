"""|G|², tr Σ and their ratio: unbiased by enumeration, covered as stated, bounded in memory."""

import re
from functools import partial
from itertools import combinations, permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd.study import batch_variance, gradient_noise, measured_step, noise_during
from tests import tolerances
from tests.laws import problem
from tests.study import gradients


def population(g):
    """|G|² and tr Σ of a population that these rows are all of."""
    return np.sum(g.mean(0) ** 2), g.var(0).sum()


def test_both_figures_are_unbiased_over_all_samples(x64):
    """Over all 5³ samples of 3 rows of a population of 5, each drawn anew; by leaf as well."""
    data = gradients.rows(5)
    samples = jnp.asarray(list(product(range(5), repeat=3)))
    measure = partial(gradient_noise, gradients.loss, gradients.params(), chunk=2)
    found = jax.jit(jax.vmap(lambda r: measure(jax.tree.map(lambda a: a[r], data))))(samples)
    g = gradients.matrix(data)
    parts = {"b": g[:, :1], "w": g[:, 1:]}
    cases = [(found, g), *((found.leaves[name], part) for name, part in parts.items())]
    for noise, part in cases:
        means = [float(x.value.mean()) for x in (noise.squared_norm, noise.trace)]
        np.testing.assert_allclose(means, population(part), rtol=tolerances.PARITY_F64)


def test_the_law_over_all_subsets(x64):
    """E|g_b - ḡ|² over all C(7, b) batches, b from 1 to n, of a logistic regression."""
    data, params = problem.data(7), problem.start(problem.SGD).params
    noise = jax.jit(partial(gradient_noise, problem.loss))(params, data)
    gradient = jax.grad(jaxgd.mean(problem.loss))
    whole = np.concatenate([a.ravel() for a in problem.leaves(gradient(params, data))])
    for b in range(1, 8):
        subsets = jnp.asarray(list(combinations(range(7), b)))
        batches = jax.tree.map(lambda a, s=subsets: a[s], data)
        found = jax.jit(jax.vmap(gradient, (None, 0)))(params, batches)
        flat = np.concatenate([a.reshape(len(subsets), -1) for a in problem.leaves(found)], axis=1)
        variance = np.mean(np.sum((flat - whole) ** 2, axis=1))
        law = float(batch_variance(noise.rows.trace, 7, b))
        np.testing.assert_allclose(law, variance, rtol=tolerances.PARITY_F64, atol=1e-16)
    assert law == 0
    assert float(batch_variance(noise.rows.trace, 7, 1)) == float(noise.rows.trace)


@pytest.mark.parametrize("m", [4, 5], ids=["even", "ragged"])
def test_two_sizes_are_unbiased_over_all_batches(x64, m):
    """Over every ordered batch of m of 6 rows: what all six say by single rows."""
    data, params = gradients.rows(6), gradients.params()
    update = measured_step(gradients.loss, optax.sgd(0.1))
    orders = jnp.asarray(list(permutations(range(6), m)))
    state = jaxgd.init_state(params, optax.sgd(0.1))
    _, (_, sizes) = jax.jit(jax.vmap(lambda o: update(state, jax.tree.map(lambda a: a[o], data))))(
        orders
    )
    whole = jax.jit(partial(gradient_noise, gradients.loss))(params, data)
    for found, wanted in (
        (sizes.trace, whole.trace.value),
        (sizes.squared_norm, whole.squared_norm.value),
    ):
        np.testing.assert_allclose(found.mean(), wanted, rtol=tolerances.PARITY_F64)


def test_the_measured_step_is_the_step(x64):
    data, optimizer = problem.data(), problem.MOMENTUM
    run = [
        jaxgd.train(jaxgd.visit(update, 8), 2)
        for update in (
            jaxgd.step(problem.loss, optimizer),
            measured_step(problem.loss, optimizer, pieces=3),
        )
    ]
    state = problem.start(optimizer)
    (one, losses), (two, (same, sizes)) = (jax.jit(r)(state, data, problem.KEY) for r in run)
    for a, b in zip(problem.leaves((one, losses)), problem.leaves((two, same)), strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerances.PARITY_F64, atol=1e-15)
    assert np.isnan(sizes.trace[:, -1]).all()  # n = 25: the last batch is a single row
    assert np.isfinite(noise_during(sizes).trace.value).all()


REPETITIONS, N, SCALES = 1500, 64, (2.0, 30.0, 300.0)


def repeated(measure, confidence):
    """Coverage of each interval over fixed-key samples, at each noise scale, in one program."""
    spread = jnp.asarray(np.arange(1, 7) ** -0.5, jnp.float32)
    traces = {"b": 1.0, "w": float(jnp.sum(spread**2))}

    def one(key, scale):
        for_b, for_w = jax.random.split(key)
        b, w = jax.random.normal(for_b, (N,)), jax.random.normal(for_w, (N, 6))
        rows = {"b": b + jnp.sqrt(traces["b"] / scale),
                "w": w * spread[None] + jnp.sqrt(traces["w"] / scale / 6)}  # fmt: skip
        return measure(rows, confidence)

    keys = jax.random.split(jax.random.key(16), REPETITIONS)
    found = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(keys, jnp.asarray(SCALES))
    truth = {"noise_scale": np.asarray(SCALES)}
    truth["trace"] = sum(traces.values()) * np.ones(3)
    truth["squared_norm"] = truth["trace"] / truth["noise_scale"]
    return found, traces, truth


def coverage(estimate, truth):
    return np.mean((np.asarray(estimate.low) <= truth) & (truth <= np.asarray(estimate.high)), 0)


@pytest.mark.parametrize(("confidence", "least", "most"), [(0.95, 0.93, 0.985), (0.8, 0.76, 0.9)])
def test_intervals_hold_the_truth_as_often_as_they_say(confidence, least, most):
    """1500 Gaussian samples of 64 rows, from a strong gradient to one that noise hides.

    The binomial deviation is 0.006 at 0.95. Of all and of each leaf, a scalar and a vector.
    """

    def measure(rows, c):
        return gradient_noise(gradients.loss, gradients.params(), rows, confidence=c)

    found, traces, truth = repeated(measure, confidence)
    for name, wanted in truth.items():
        hit = coverage(getattr(found, name), wanted)
        assert (hit >= least).all(), (name, hit)
        assert (hit <= most).all(), (name, hit)
    for leaf, trace in traces.items():
        hit = coverage(found.leaves[leaf].noise_scale, truth["noise_scale"])
        assert (hit >= least).all(), (leaf, hit)
        assert (hit <= most).all(), (leaf, hit)
        assert (coverage(found.leaves[leaf].trace, trace) >= least).all()
    never = np.isinf(np.asarray(found.noise_scale.high)).mean(axis=0)
    assert never[0] == 0
    assert never[2] > 0.5  # 64 rows do not bound a noise scale of 300


def test_intervals_of_a_training_hold_the_truth():
    """A window of the 16 updates of an epoch; the loss being linear, params may move."""
    run = jaxgd.train(jaxgd.visit(measured_step(gradients.loss, optax.sgd(0.1)), 4), 1)

    def measure(rows, confidence):
        state = jaxgd.init_state(gradients.params(), optax.sgd(0.1))
        _, (_, sizes) = run(state, rows, jax.random.key(0))
        return jax.tree.map(lambda a: a[0], noise_during(sizes, confidence=confidence))

    found, _, truth = repeated(measure, 0.95)
    for name, wanted in truth.items():
        hit = coverage(getattr(found, name), wanted)
        assert (hit >= 0.9).all(), (name, hit)
        assert (hit <= 0.995).all(), (name, hit)


def test_memory_is_that_of_a_chunk_of_gradients():
    params = {"b": jnp.zeros(()), "w": jnp.zeros(1000)}

    def loss(p, row):
        return jnp.tanh(p["b"] + jnp.sum(p["w"] * row))

    def held(n):
        measure = jax.jit(partial(gradient_noise, loss, chunk=16))
        rows = jax.ShapeDtypeStruct((n,), jnp.float32)
        return measure.lower(params, rows).compile().memory_analysis().temp_size_in_bytes

    few, many = held(160), held(16000)
    assert many < 1.5 * few + 16000
    assert many < 16000 * 1000  # all row gradients at once: 64 MB


def test_gradients_that_are_all_alike_have_no_noise():
    data = jax.tree.map(lambda a: jnp.broadcast_to(a[:1], a.shape), gradients.rows(4))
    measure = jax.jit(partial(gradient_noise, gradients.loss, gradients.params()))
    assert [float(x) for x in measure(data).noise_scale] == [0, 0, 0]
    nothing = measure(jax.tree.map(jnp.zeros_like, data))
    assert float(nothing.noise_scale.value) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d, p: gradient_noise(gradients.loss, p, jax.tree.map(lambda a: a[:2], d)),
         "data must hold at least 3 examples; got n=2. Measure more rows."),
        (lambda d, p: gradient_noise(gradients.loss, p, d, confidence=1.0),
         "confidence must be between 0 and 1; got confidence=1.0. Use 0.95 or so."),
        (lambda d, p: measured_step(gradients.loss, optax.sgd(0.1), pieces=1),
         "pieces must be at least 2; got pieces=1. One size tells nothing of noise."),
        (lambda d, p: batch_variance(1.0, 4, 5), "batch_size must be in [1, n]; got batch_size=5"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(gradients.rows(8), gradients.params())
