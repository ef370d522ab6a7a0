"""No false alarm, no miss, and never a wrong name: the pairs of the confusion table."""

from pathlib import Path

import pytest

from tests.equivalence.confusion import found, table
from tests.equivalence.faults import FAULTS
from tests.equivalence.honest import HONEST
from tests.equivalence.pairs import verdict

DOCS = Path(__file__).parents[2] / "docs" / "equivalence.md"


@pytest.mark.parametrize("pair", HONEST, ids=str)
def test_an_honest_pair_is_not_accused(pair):
    assert verdict(pair, found(pair)) == "quiet", str(found(pair))


@pytest.mark.parametrize("pair", FAULTS, ids=str)
def test_a_fault_is_found_where_it_is_and_named_if_it_has_a_name(pair):
    told = "unknown" if pair.cause == "unknown" else "named"
    assert verdict(pair, found(pair)) == told, str(found(pair))
    assert found(pair).stage == pair.stage


def test_there_are_enough_of_both():
    assert len({pair.name for pair in FAULTS}) >= 25
    assert len(HONEST) >= 25


def test_the_table_in_the_docs_is_this_one():
    assert table() in DOCS.read_text(encoding="utf-8")
