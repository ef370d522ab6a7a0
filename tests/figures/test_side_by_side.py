"""The page of two trainings: well formed, escaped, readable in grey, whatever the numbers are."""

import re
import xml.etree.ElementTree as ET

import pytest

from jaxgd.figures.side_by_side import divergence_page

NAN = float("nan")


def page(leaves, actual=None, expected=None):
    return divergence_page("a <b>", "They part & more", leaves, (actual or {}, expected or {}), {})


@pytest.mark.parametrize(
    "leaves",
    [
        {},
        {"w": [0.0]},
        {"w": [0.0, 1e-9, 1e30], "b": [0.0, float("inf"), NAN]},
        {f"layers.{i}": [0.0, 0.5, 1.5 * i] for i in range(200)},
    ],
)
def test_any_numbers_make_a_page(leaves):
    text = page(leaves)
    body = text.split("<body>")[1].split("</body>")[0]
    root = ET.fromstring(f"<body>{body}</body>")  # every tag is closed, every text escaped
    assert root.find("h1").text == "a <b>"
    assert root.find("pre").text == "They part & more"
    assert "nan" not in body.lower().replace("layers", "")
    for svg in root.iter("svg"):
        for shape in svg.iter("polyline"):
            pairs = [point.split(",") for point in shape.get("points").split()]
            assert all(0 <= float(x) <= 360 and 0 <= float(y) <= 192 for x, y in pairs)


def test_leaves_are_told_apart_without_colour():
    text = page({f"leaf {i}": [0.0, 0.1 * i, 10.0 * i] for i in range(6)})
    dashes = re.findall(r'<polyline[^>]*stroke-dasharray="([^"]*)"', text)
    assert len(set(dashes)) == 6
    assert not re.search(r"(fill|stroke)=\"(?!none|currentColor)", text)


def test_where_a_leaf_parts_is_in_the_table():
    text = page({"w": [0.0, 0.2, 1.5, 7.0], "b": [0.0, 0.0, 0.0, 0.0]})
    rows = re.findall(r"<tr><td>(.)<svg.*?</td><td>(.*?)</td><td>(.*?)</td></tr>", text)
    assert rows == [("w", "7", "2"), ("b", "0", "–")]


def test_settings_that_differ_are_marked():
    text = page({}, {"seed": 1, "jax": "0.10"}, {"seed": 0, "torch": "2.13"})
    assert '<tr class="differs"><td>seed ≠ </td><td>1</td><td>0</td></tr>' in text
    assert "<tr><td>jax</td><td>0.10</td><td>–</td></tr>" in text


def test_the_axes_say_what_they_are_of():
    told = re.findall(r"<text[^>]*>([a-z ]*)</text>", page({"w": [0.0, 0.5]}))
    assert "updates" in told
    assert "times what is allowed" in told


def test_why_a_leaf_may_stray_is_told_where_one_does():
    for farthest, said in ((0.9, False), (1e9, True)):
        text = divergence_page("a", "b", {"w": [0.0, farthest]}, ({}, {}), {}, beyond="It <may>.")
        assert ("<p>It &lt;may&gt;.</p>" in text) == said
