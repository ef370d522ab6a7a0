"""What a command says of a table before it says what it learned from it."""

from collections import Counter

from jaxgd.cli.wording import in_options
from jaxgd.tabular import Account, Schema

_MANY = {"number": "numbers", "boolean": "booleans", "category": "categories", "date": "dates"}


def account_lines(schema: Schema, account: Account) -> list[str]:
    """The task and why, the features by kind, what was dropped and why, and what to look at."""
    kinds = Counter(column.kind for column in schema.columns)
    features = ", ".join(f"{n} {kind if n == 1 else _MANY[kind]}" for kind, n in kinds.items())
    filled = [column.name for column in schema.columns if column.fill is not None]
    filled += [c.name for c in schema.columns if c.kind == "category" and c.indicator]
    lines = [f"{schema.target.task}: {account.reason}", f"columns: {features}"]
    lines += [f"missing values marked and filled in: {', '.join(filled)}"] if filled else []
    lines += [f"id: {schema.id}"] if schema.id is not None else []
    for name, reason in account.dropped.items():
        offered = f" (--id {name!r} carries it along)" if reason.endswith("an id") else ""
        lines.append(f"dropped: {name!r} {reason}{offered}")
    return lines + [f"note: {in_options(remark)}" for remark in account.remarks]
