"""No false alarm, no miss, and never a wrong name: the pairs of the confusion table."""

from pathlib import Path

import pytest

from tests.equivalence.confusion import found
from tests.equivalence.faults import FAULTS
from tests.equivalence.honest import HONEST
from tests.equivalence.pairs import verdict

DOCS = (Path(__file__).parents[2] / "docs" / "equivalence.md").read_text(encoding="utf-8")


def each_once(pairs):
    """Every pair in one precision, each second in the other; `-m exhaustive` takes what is left."""
    names = list(dict.fromkeys(pair.name for pair in pairs))
    own = {name: ("float32", "float64")[i % 2] for i, name in enumerate(names)}
    rest = pytest.mark.exhaustive
    return [
        pytest.param(
            pair, marks=() if pair.dtype.__name__ == own[pair.name] else rest, id=str(pair)
        )
        for pair in pairs
    ]


def row_in_the_docs(pair):
    """The cells of the pair's row, by the table that `confusion.table` makes."""
    (row,) = (line for line in DOCS.splitlines() if line.startswith(f"| {pair.name} |"))
    return [cell.strip() for cell in row.strip("|").split(" | ")]


@pytest.mark.parametrize("pair", each_once(HONEST))
def test_an_honest_pair_is_not_accused(pair):
    assert verdict(pair, found(pair)) == "quiet", str(found(pair))
    assert row_in_the_docs(pair)[1:] == ["–, –"]


@pytest.mark.parametrize("pair", each_once(FAULTS))
def test_a_fault_is_found_where_it_is_and_named_if_it_has_a_name(pair):
    told = "unknown" if pair.cause == "unknown" else "named"
    assert verdict(pair, found(pair)) == told, str(found(pair))
    assert found(pair).stage == pair.stage
    _, changed, updates, stage, cause = row_in_the_docs(pair)
    assert changed == str(pair.update)
    at = ("float32", "float64").index(pair.dtype.__name__)
    assert updates.split(", ")[at] == str(found(pair).update)
    assert found(pair).stage in stage.split(" / ")
    assert found(pair).cause in cause.split(" / ")


def test_there_are_enough_of_both():
    assert len({pair.name for pair in FAULTS}) >= 25
    assert len({pair.name for pair in HONEST}) >= 25


def test_the_counts_in_the_docs_are_these():
    unknown = sum(pair.cause == "unknown" for pair in FAULTS)
    named = len(FAULTS) - unknown
    assert f"| planted faults | {len(FAULTS)} | 0 | {named} | {unknown} | 0 |" in DOCS
    assert f"| honest pairs | {len(HONEST)} | {len(HONEST)} | – | – | 0 |" in DOCS
    faults, honest = (len({pair.name for pair in pairs}) for pairs in (FAULTS, HONEST))
    assert f"there are {faults} different faults and {honest} honest pairs" in DOCS
