"""docs/torch-parity.md: its rows are the cases, its numbers are within bounds, its code runs."""

import re
from pathlib import Path

import pytest

from jaxgd.optim.registry import PUBLISHED, REGISTRY
from tests.optim.parity_page import COLUMNS, PROSE, shown_cases, shown_schedules, table

PAGE = (Path(__file__).parents[2] / "docs" / "torch-parity.md").read_text()
ROWS = {
    name: cells.split(" | ")
    for name, cells in re.findall(r"^\| `(.*?)` \| (.*) \|$", PAGE, re.MULTILINE)
}


def test_every_optimizer_case_and_schedule_has_a_row():
    expected = [*REGISTRY, *PUBLISHED, *(case.id for case in shown_cases()), *shown_schedules()]
    assert list(ROWS) == expected, "python -m tests.optim.parity_page > docs/torch-parity.md"


def test_the_prose_is_the_generators():
    paragraphs = PROSE.read_text().split("\n\n")
    assert [text for text in paragraphs if "$" not in text and text.strip() not in PAGE] == []


def test_no_row_is_over_its_bound():
    errors = [
        (name, float(cells[at]), float(cells[at + 1]))
        for name, cells in list(ROWS.items())[len(REGISTRY) + len(PUBLISHED) :]
        for at in (COLUMNS.index("jaxgd f64"), COLUMNS.index("jaxgd f32"), len(COLUMNS))
        if at < len(cells)
    ]
    assert sum(len(cells) > len(COLUMNS) for cells in ROWS.values()) == len(shown_cases())
    assert [row for row in errors if row[1] > row[2]] == []


def test_a_table_shows_what_is_missing_or_not_finite():
    line = table("t", {"a": (0.0, 1e-12, None), "b": (float("inf"), 1.0, 2.0)}).splitlines()[2:]
    assert line == ["| `a` | 0 | 1e-12 | none |", "| `b` | not finite | 1e+00 | 2e+00 |"]


@pytest.mark.optax_promotion
def test_the_code_runs():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    assert names["fit"].history.epoch_loss.shape == (5,)
    assert names["torch_optimizer"].state_dict()["param_groups"][0]["lr"] == 1e-2
