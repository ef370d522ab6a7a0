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

pytestmark = pytest.mark.usefixtures("quick_compile")


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
    subsets = [subset for b in range(1, 8) for subset in combinations(range(7), b)]
    share = np.asarray([[(i in subset) / len(subset) for i in range(7)] for subset in subsets])

    def mean_loss(params, share):
        """That of a subset, whose rows share 1 and all others 0."""
        return jnp.vdot(share, jax.vmap(problem.loss, (None, 0))(params, data))

    found = jax.jit(jax.vmap(jax.grad(mean_loss), (None, 0)))(params, jnp.asarray(share))
    flat = np.concatenate([a.reshape(len(subsets), -1) for a in problem.leaves(found)], axis=1)
    away = np.sum((flat - flat[-1]) ** 2, axis=1)  # the last subset has all rows
    for b in range(1, 8):
        variance = away[[len(subset) == b for subset in subsets]].mean()
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
        jaxgd.train(jaxgd.visit(update, 8), 2, order=None)
        for update in (
            jaxgd.step(problem.loss, optimizer),
            measured_step(problem.loss, optimizer, pieces=3),
        )
    ]
    state = problem.start(optimizer)
    (one, losses), (two, (same, sizes)) = (jax.jit(r)(state, data) for r in run)
    for a, b in zip(problem.leaves((one, losses)), problem.leaves((two, same)), strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerances.PARITY_F64, atol=1e-15)
    assert np.isnan(sizes.trace[:, -1]).all()  # n = 25: the last batch is a single row
    assert np.isfinite(noise_during(sizes).trace.value).all()


REPETITIONS, N, SCALES = 1500, 64, (2.0, 30.0, 300.0)
SPREAD = np.arange(1, 7) ** -0.5
TRACES = {"b": 1.0, "w": float(np.sum(SPREAD**2))}


def repeated(measure):
    """`measure(rows)` of fixed-key samples at each noise scale, in one program."""

    def one(key, scale):
        for_b, for_w = jax.random.split(key)
        b, w = jax.random.normal(for_b, (N,)), jax.random.normal(for_w, (N, 6))
        spread = jnp.asarray(SPREAD, jnp.float32)
        return measure({"b": b + jnp.sqrt(TRACES["b"] / scale),
                        "w": w * spread[None] + jnp.sqrt(TRACES["w"] / scale / 6)})  # fmt: skip

    keys = jax.random.split(jax.random.key(16), REPETITIONS)
    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(keys, jnp.asarray(SCALES))


def check_coverage(noise, trace, least, most):
    """At every noise scale each interval holds the truth that often."""
    scale = np.asarray(SCALES)
    truths = {"noise_scale": scale, "trace": trace + 0 * scale, "squared_norm": trace / scale}
    for name, truth in truths.items():
        _, low, high = map(np.asarray, getattr(noise, name))
        hit = np.mean((low <= truth) & (truth <= high), axis=0)
        assert (hit >= least).all(), (name, hit)
        assert (hit <= most).all(), (name, hit)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """1500 Gaussian samples of 64 rows, from a strong gradient to one that noise hides.

    The binomial deviation is 0.006 at 0.95 and 0.01 at 0.8. Of all and of each leaf, a scalar and a
    vector. Where no upper end can be told, the lower one alone misses half as often.
    """

    def measure(rows):
        of = partial(gradient_noise, gradients.loss, gradients.params(), rows)
        return of(confidence=0.95), of(confidence=0.8)

    usual, narrow = repeated(measure)
    trace = sum(TRACES.values())
    check_coverage(usual, trace, 0.93, 0.985)
    check_coverage(narrow, trace, 0.76, 0.93)
    for leaf in TRACES:
        check_coverage(usual.leaves[leaf], TRACES[leaf], 0.93, 0.985)
    never = np.isinf(np.asarray(usual.noise_scale.high)).mean(axis=0)
    assert never[0] == 0
    assert never[2] > 0.5  # 64 rows do not bound a noise scale of 300


def test_intervals_of_a_training_hold_the_truth():
    """A window of the 16 updates of an epoch; the loss being linear, params may move."""
    optimizer = optax.sgd(0.1)
    run = jaxgd.train(jaxgd.visit(measured_step(gradients.loss, optimizer), 4), 1, order=None)

    def measure(rows):
        _, (_, sizes) = run(jaxgd.init_state(gradients.params(), optimizer), rows)
        return jax.tree.map(lambda a: a[0], noise_during(sizes))

    check_coverage(repeated(measure), sum(TRACES.values()), 0.9, 0.995)


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
