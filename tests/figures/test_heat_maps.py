"""Heat maps: what is drawn, said by the figure itself, and that it reads in grey."""

import numpy as np
from matplotlib.patches import Rectangle

from jaxgd.figures.curves import as_png, loss_curves
from jaxgd.figures.heat_maps import heat_map

LOSSES = np.array([[0.5, 0.4], [0.3, 0.123456], [np.inf, 40.0]])


def drawn(**options):
    rows, columns = ("learning rate", [0.01, 0.1, 1.0]), ("batch size", [8, 32])
    return heat_map(LOSSES, rows, columns, **options)


def patches(figure):
    return [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]


def lightness(rgb):
    return float(np.dot(rgb[:3], (0.3, 0.59, 0.11)))


def test_each_cell_bears_its_number_and_the_lowest_a_frame():
    figure = drawn(spreads=np.full((3, 2), 0.01), title="t", note="n")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["0.5\n±0.01", "0.4\n±0.01", "0.3\n±0.01", "0.1235\n±0.01", "diverged",
                     "40\n±0.01"]  # fmt: skip
    assert {p.get_xy() for p in patches(figure) if not p.get_fill()} == {(1, 1)}
    assert [text.get_fontweight() for text in axes.texts].index("bold") == 3
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0.01", "0.1", "1"]
    assert axes.get_title(loc="left") == "t\nn"


def test_what_diverged_is_hatched_and_not_a_shade():
    hatched = [p.get_xy() for p in patches(drawn()) if p.get_hatch()]
    assert hatched == [(0, 2)]


def test_in_grey_a_lower_loss_is_darker_and_every_number_stands_out():
    figure = drawn()
    axes = figure.axes[0]
    mesh = axes.collections[0]
    shades = [lightness(colour) for colour in mesh.to_rgba(mesh.get_array().reshape(-1))]
    finite = np.isfinite(LOSSES.reshape(-1))
    order = np.argsort(LOSSES.reshape(-1)[finite])
    assert np.all(np.diff(np.array(shades)[finite][order]) > 0.05)
    for text, shade, here in zip(axes.texts, shades, finite, strict=True):
        ink = 1.0 if text.get_color() == "white" else 0.2
        assert abs(ink - (shade if here else 1.0)) > 0.3


def test_no_cell_at_all_can_be_drawn():
    nothing = heat_map(np.full((1, 1), np.nan), ("rate", [1.0]), ("size", [8]))
    assert as_png(nothing).startswith(b"\x89PNG")
    assert not [p for p in patches(nothing) if not p.get_fill()]


def test_curves_may_begin_after_the_first_epoch():
    figure = loss_curves({"run": np.array([0.5, 0.4])}, first=1)
    np.testing.assert_array_equal(figure.axes[0].get_lines()[0].get_xdata(), [1, 2])
    assert figure.axes[0].texts[0].xy[0] == 2
