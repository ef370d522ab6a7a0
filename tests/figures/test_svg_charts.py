"""Charts of plain SVG: well formed, inside their canvas, with ticks that say where they are."""

import re
import xml.etree.ElementTree as ET

import pytest

from jaxgd.figures.html_page import beside, page, table
from jaxgd.figures.svg_charts import about_line, bars, counts, curves
from jaxgd.figures.svg_frame import WIDTH, Axis, axis, round_step, short

NAN, INF = float("nan"), float("inf")
CHARTS = {
    "curves": curves(
        {"a <b>": [(1.0, 0.5), (2.0, 0.1)], "c": [(1.0, 5.0), (2.0, NAN)]}, "x", "y", "told"
    ),
    "no curve": curves({"a": []}, "x", "y", "told"),
    "one point": curves({"a": [(3.0, 2.0)]}, "x", "y", "told"),
    "all infinite": curves({"a": [(1.0, INF), (2.0, NAN)]}, "x", "y", "told"),
    "not positive": curves({"a": [(1.0, -1.0), (2.0, 1e9)]}, "x", "y", "told"),
    "cloud": about_line([(0.1, 5.0), (0.2, -3e6)], "x", "y", "told", diagonal=False, joined=False),
    "diagonal": about_line([(0.0, 0.0), (1.0, 1.0)], "x", "y", "told", diagonal=True, joined=True),
    "counts": counts(["&", "b" * 90], [[0, 0], [3, 10**6]], "told"),
    "bars": bars({"a" * 90: 1e-9, "b": -2.0, "c": 0.0}, "told"),
    "bars of nothing": bars({"a": 0.0}, "told"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_well_formed_says_what_it_shows_and_stays_on_its_canvas(name):
    svg = ET.fromstring(CHARTS[name])
    assert (svg.get("role"), svg.get("aria-label")) == ("img", "told")
    _, _, wide, high = map(float, svg.get("viewBox").split())
    assert wide == WIDTH
    assert "nan" not in CHARTS[name]
    for shape in svg.iter():
        for x, y in re.findall(r"([-\d.e]+),([-\d.e]+)", shape.get("points", "")):
            assert 0 <= float(x) <= wide
            assert 0 <= float(y) <= high
        for across in ("x", "x1", "x2", "cx"):
            assert -1 <= float(shape.get(across, 0)) <= wide
        for up in ("y", "y1", "y2", "cy"):
            assert -1 <= float(shape.get(up, 0)) <= high + 1


def test_lines_are_told_apart_without_colour_and_named():
    svg = curves({f"run {i}": [(0.0, 1.0 + i), (1.0, 2.0 + i)] for i in range(6)}, "x", "y", "told")
    dashes = re.findall(r'<polyline[^>]*stroke-dasharray="([^"]*)"', svg)
    assert len(set(dashes)) == 6
    assert all(f">run {i}</text>" in svg for i in range(6))


def test_larger_values_stand_higher_and_what_is_not_finite_breaks_a_line():
    svg = curves(
        {"a": [(1.0, 1.0), (2.0, 3.0), (3.0, NAN), (4.0, 2.0), (5.0, 2.5)]}, "x", "y", "told"
    )
    first, second = re.findall(r'<polyline points="([^"]*)"', svg)
    ups = [float(point.split(",")[1]) for point in f"{first} {second}".split()]
    assert ups[0] > ups[2] > ups[3] > ups[1]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Axis(0.0, 1.0, ""), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (Axis(0.09, 1.1, "", True), ["0.1", "0.2", "0.5", "1"]),
        (Axis(0.31, 0.39, "", True), ["0.32", "0.34", "0.36", "0.38"]),
        (
            Axis(-3e6, 0.0, ""),
            ["-3e+06", "-2.5e+06", "-2e+06", "-1.5e+06", "-1e+06", "-500000", "0"],
        ),
    ],
)
def test_ticks_are_round(found, told):
    assert [short(value) for value in found.ticks()] == told


def test_an_axis_holds_its_values_and_has_a_length():
    assert (axis([2.0, 2.0], "").low, axis([2.0], "", log=True).high) == (1.8, 2.2)
    assert axis([NAN, 1.0, 3.0, INF], "").low < 1.0
    assert [round_step(x) for x in (1.0, 1.1, 2.1, 6.0, 0.03)] == [1, 2, 5, 10, 0.05]


def test_a_page_is_escaped_and_a_table_reads_by_its_heads():
    shown = table("a & b", ["name", "n"], [["<x>", 3]])
    root = ET.fromstring(shown)
    assert root.get("tabindex") == "0"
    assert root.find(".//caption").text == root.get("aria-label") == "a & b"
    assert [cell.get("scope") for cell in root.iter("th")] == ["col", "col", "row"]
    assert root.find(".//td").text == "3"
    ET.fromstring(beside(CHARTS["bars"], "a < b", shown))
    assert "<h1>a &lt; b</h1>" in page("a < b", [])
