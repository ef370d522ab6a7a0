"""Which columns of a table become features, as what, and which do not, and why."""

import re
import shlex
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxgd.tabular.encoding import MOST_LEVELS
from jaxgd.tabular.facts import Facts, Kind
from jaxgd.tabular.table import Table, is_amount

# Names of what only tells rows apart. Words of a language end in "id", too: these begin anew there.
_NAMES_ROWS = re.compile(
    r"unnamed.*|index|row|rowid|((.*[_ .-])?(id|uuid|guid|row[_ ]?n(r|o|um|umber)))", re.IGNORECASE
)
_ENDS_IN_ID = re.compile(r".*[a-z](Id|ID)")

# So few texts are levels whatever they are; more must be seen at least twice on the whole, and the
# frequent ones must make up half of the rows.
_FEW_LEVELS, _ROWS_OF_AN_ID = 20, 10


class Choice(NamedTuple):
    """The kinds of the columns that become features, why others do not, and what is to be told.

    `missing` are the features that lack values in some row.
    """

    kinds: dict[str, Kind]
    missing: frozenset[str]
    dropped: dict[str, str]
    remarks: tuple[str, ...]


class _Unfit(NamedTuple):
    """Why a column cannot be a feature, in an error on it alone, and in one on many."""

    alone: str
    short: str


def choose(table: Table, names: Sequence[str], look: Callable[[str], Facts]) -> Choice:
    """The choice among the named columns, by their facts.

    Constant columns, columns without a value and columns that only name rows are dropped.

    Raises ValueError, one for all of them, for columns that cannot be features: free text, more
    levels than can be learned from, numbers with text among them, and what is not read at all.
    """
    chosen = Choice({}, frozenset(), {}, ())
    unfit: dict[str, _Unfit] = {}
    for name in names:
        if name in table.unread:
            what = f"is {table.unread[name]}"
            unfit[name] = _Unfit(
                f"a column must be numbers, booleans, dates or text; column {name!r} of "
                f"{table.source} {what}. Convert it first, or ignore the column.",
                what,
            )
            continue
        facts = look(name)
        kind = facts.kind
        reason = _dropped_for(name, facts)
        problem = _unfit_text(table, name, facts) if kind == "category" else None
        if kind is None or reason is not None:
            chosen.dropped[name] = reason or "has no value"
        elif problem is not None:
            unfit[name] = problem
        else:
            chosen.kinds[name] = kind
            missing = chosen.missing | ({name} if facts.missing else frozenset())
            remarks = (*chosen.remarks, *_remarks(name, facts))
            chosen = chosen._replace(missing=missing, remarks=remarks)
    if unfit:
        raise ValueError(_told(table, unfit))
    if not chosen.kinds:
        lost = "".join(f" {name!r} {reason}." for name, reason in chosen.dropped.items())
        raise ValueError(
            f"a table needs at least one feature beside its target; {table.source}.{lost}"
        )
    return chosen


def _dropped_for(name: str, facts: Facts) -> str | None:
    if facts.constant and not facts.missing:
        return "is the same in every row"
    if not facts.distinct or facts.missing:
        return None
    enough = sum(facts.levels.values()) >= _ROWS_OF_AN_ID
    if facts.kind == "category":
        words = any(len(text.split()) > 1 for text in facts.levels)
        if enough and not words and not _mostly_amounts(facts):
            return "is a text of its own in every row: an id"
    elif _names_rows(name):
        return "is a number of its own in every row: an id"
    return None


def _names_rows(name: str) -> bool:
    return bool(_NAMES_ROWS.fullmatch(name) or _ENDS_IN_ID.fullmatch(name))


def _remarks(name: str, facts: Facts) -> list[str]:
    """What to look at in a column that becomes features."""
    told = f"column {name!r}"
    if facts.counting:
        return [f"{told} counts the rows. If it only names rows, ignore the column."]
    if _names_rows(name):
        return [f"{told} is a feature. If it only names rows, ignore the column."]
    if len(facts.levels) > MOST_LEVELS:
        return [
            f"{told} has {len(facts.levels):,} levels: the frequent ones, at most {MOST_LEVELS}, "
            "are features, and all others are one."
        ]
    text = next((text for text in facts.levels if not is_amount(text)), None)
    if facts.kind == "category" and text is not None and _mostly_amounts(facts):
        return [
            f"{told} is text, for {text!r} stands among its numbers. Leave such cells empty if "
            "they have no value."
        ]
    return []


def _unfit_text(table: Table, name: str, facts: Facts) -> _Unfit | None:
    """Why a column of text is no category."""
    levels, m = facts.levels, sum(facts.levels.values())
    if len(levels) <= _FEW_LEVELS and not (facts.distinct and m >= _ROWS_OF_AN_ID):
        return None
    if _mostly_amounts(facts):
        return _numbers_as_text(table, name)
    often = sum(sorted(levels.values())[-MOST_LEVELS:])
    if 2 * len(levels) <= m and 2 * often >= m:
        return None
    example = next(iter(levels))
    example = example if len(example) <= 30 else example[:29] + "…"
    words = np.mean([len(text.split()) for text in list(levels)[:1000]])
    what = "free text" if words > 1.5 else "text of too many levels"
    short = f"holds {what}, {len(levels):,} different in {m:,} rows, such as {example!r}"
    return _Unfit(f"column {name!r} of {table.source} {short}. Ignore the column.", short)


def _mostly_amounts(facts: Facts) -> bool:
    return 2 * sum(map(is_amount, facts.levels)) >= len(facts.levels)


def _numbers_as_text(table: Table, name: str) -> _Unfit:
    column = table.column(name)
    amounts = [is_amount(text) for text in column]
    texts = [i for i, text in enumerate(column) if text is not None and not amounts[i]]
    row = texts[0] if texts else amounts.index(True)
    if not texts:
        short = f"holds numbers as text, first {column[row]!r} in row {table.first + row + 1}"
        remedy = "Save it as numbers, or ignore the column."
    else:
        short = f"holds text, first {column[row]!r} in row {table.first + row + 1}"
        remedy = "Encode it as numbers, or ignore the column."
    return _Unfit(
        f"a feature must be numbers, or text of few levels; column {name!r} of {table.source} "
        f"{short}. {remedy}",
        short,
    )


def _told(table: Table, unfit: dict[str, _Unfit]) -> str:
    if len(unfit) == 1:
        return next(iter(unfit.values())).alone
    told = "; ".join(f"{name!r} {why.short}" for name, why in unfit.items())
    return (
        f"{len(unfit)} columns of {table.source} cannot be features: {told}. "
        f"Convert them, or ignore the columns: {shlex.join(unfit)}."
    )
