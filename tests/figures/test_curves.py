"""Loss curves: what is drawn, said by the figure itself, and that pyplot is never touched."""

import subprocess
import sys

import numpy as np

from jaxgd.figures.curves import as_png, loss_curves


def lines(figure):
    return {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}


def test_each_run_is_a_line_named_at_its_end():
    figure = loss_curves({"GD": np.array([0.7, 0.5, 0.4]), "SGD": np.array([0.7, 0.1, 0.05])})
    np.testing.assert_array_equal(lines(figure)["SGD"], [0.7, 0.1, 0.05])
    axes = figure.axes[0]
    assert [(text.get_text(), text.xy[0]) for text in axes.texts] == [("SGD", 2), ("GD", 2)]
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epochs", "training loss")


def test_names_of_lines_that_end_together_stand_apart():
    figure = loss_curves({name: np.array([1.0, 0.1]) for name in "abc"} | {"d": np.array([1.0, 1])})
    heights = sorted(
        figure.axes[0]
        .transAxes.inverted()
        .transform([figure.axes[0].transData.transform(text.xy) for text in figure.axes[0].texts])[
            :, 1
        ]
    )
    assert np.diff(heights).min() > 0.06


def test_a_loss_that_cannot_be_drawn_breaks_the_line():
    figure = loss_curves({"run": np.array([1.0, 0.0, 0.5, np.nan]), "none": np.full(3, np.inf)})
    np.testing.assert_array_equal(lines(figure)["run"], [1, np.nan, 0.5, np.nan])
    assert "none" not in lines(figure)
    assert [text.xy[0] for text in figure.axes[0].texts] == [2]


def test_the_picture_is_a_png_of_the_figure():
    png = as_png(loss_curves({"GD": np.geomspace(1, 1e-9, 5)}, title="GD"))
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(png[16:20], "big") == 7 * 160


def test_pyplot_is_never_imported():
    program = (
        "import sys, numpy as np; from jaxgd.figures.curves import *;"
        "as_png(loss_curves({'a': np.ones(3)}));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
