"""The scatter of batches with the law, and the hyperbola: what is drawn, in greys alone."""

from functools import partial

import numpy as np
from matplotlib.colors import to_rgb

from jaxgd.figures.curves import as_png
from jaxgd.figures.gradient_noise import batch_scatter, hyperbola
from jaxgd.study.critical_size import updates_at


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_the_law_goes_through_the_means_and_all_is_grey():
    sizes, n, trace = np.asarray([1, 4, 16, 64]), 64, 3.0
    law = trace / sizes * (n - sizes) / (n - 1)
    away = law[:, None] * np.linspace(0.5, 1.5, 9)[None]
    figure = batch_scatter(sizes, away, n=n, trace=trace, squared_norm=0.2)
    drawn = lines(figure)
    curve = drawn["tr Σ / b · (n − b) / (n − 1)"]
    at = [np.interp(np.log(b), np.log(curve.get_xdata()), curve.get_ydata()) for b in sizes[:3]]
    np.testing.assert_allclose(at, law[:3], rtol=2e-3)
    means = drawn["mean of a size"].get_ydata()
    np.testing.assert_allclose(means[:3], law[:3])
    assert np.isnan(means[3])  # b = n: no distance at all
    assert (drawn["squared gradient of all rows"].get_ydata()[0]) == 0.2
    for line in drawn.values():
        assert len(set(to_rgb(line.get_color()))) == 1
    assert as_png(figure).startswith(b"\x89PNG")


def test_the_hyperbola_names_its_sizes_and_the_critical_one():
    sizes = np.asarray([2, 8, 32])
    updates = np.asarray([40.0, 16.0, np.inf])
    fitted = partial(updates_at, n=100, fewest=8.0, critical=8.0)
    figure = hyperbola(sizes, updates, n=100, fitted=fitted, critical=8.0)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["b = 2", "b = 8"]
    square = lines(figure)["critical batch size, 8"]
    np.testing.assert_allclose(square.get_ydata(), [8 * (1 + 92 / 99)])
    np.testing.assert_allclose(square.get_xdata(), 8 * square.get_ydata())
    assert as_png(hyperbola(sizes, updates, n=100, fitted=fitted, critical=np.inf))
