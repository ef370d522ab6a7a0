"""The lesson's pictures hold what they are given, and pyplot is never touched."""

import numpy as np
import pytest

from jaxgd.figures.curves import as_png
from jaxgd.figures.limits import curves_and_limits
from jaxgd.figures.panels import loss_against
from jaxgd.figures.surface import paths_over_surface


def test_paths_lie_over_one_surface_from_one_start():
    first, second = np.linspace(-2, 2, 9), np.linspace(-1, 1, 7)
    surface = 1 + first[None] ** 2 + second[:, None] ** 2
    paths = {"GD": np.array([[1.0, 1.0], [0.5, 0.5]]), "SGD": np.array([[1.0, 1.0], [-0.5, 0.2]])}
    figure = paths_over_surface(first, second, surface, paths)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["GD", "SGD"]
    for axes, path in zip(figure.axes, paths.values(), strict=True):
        drawn, start, end, lowest = axes.get_lines()
        np.testing.assert_array_equal(drawn.get_xydata(), path)
        np.testing.assert_array_equal(start.get_xydata()[0], path[0])
        np.testing.assert_array_equal(end.get_xydata()[0], path[-1])
        np.testing.assert_array_equal(lowest.get_xydata()[0], [0, 0])


def test_a_loss_has_a_panel_for_each_cost():
    losses = {"GD": np.array([0.7, 0.6, 0.5]), "SGD": np.array([0.7, 0.2, 0.1])}
    spent = {
        "GD": {"epochs": np.arange(3), "updates": np.arange(3)},
        "SGD": {"epochs": np.arange(3), "updates": 10 * np.arange(3)},
    }
    figure = loss_against(losses, spent)
    assert [axes.get_xlabel() for axes in figure.axes] == ["epochs", "updates"]
    sgd = figure.axes[1].get_lines()[1]
    np.testing.assert_array_equal(sgd.get_xydata(), [[10, 0.2], [20, 0.1]])
    styles = {line.get_linestyle() for line in figure.axes[0].get_lines()}
    assert len(styles) == 2  # grey tells them apart


@pytest.mark.parametrize("of", ["x", "y"])
def test_a_limit_has_its_curves_dashes_and_tells_its_value(of):
    rates = np.geomspace(0.01, 1, 5)
    curves = {"GD": (rates, rates), "lost": (rates, np.array([1, 2, np.inf, np.nan, 1.0]))}
    limits = {"lost": 0.1, "theory": 0.5}
    figure = curves_and_limits(curves, limits, of=of, ylim=(0.01, 10.0))
    _, lost, limit, theory = figure.axes[0].get_lines()
    np.testing.assert_array_equal(lost.get_ydata(), [1, 2, 100, 100, 1])
    assert limit.get_linestyle() == lost.get_linestyle() != theory.get_linestyle()
    at = limit.get_xdata() if of == "x" else limit.get_ydata()
    assert set(at) == {0.1}
    assert [text.get_text() for text in figure.axes[0].texts] == ["lost: 0.1", "theory: 0.5"]
    assert as_png(figure).startswith(b"\x89PNG")
