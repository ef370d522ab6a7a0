"""What a command prints for programs: one JSON object, of the same form in all of them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class OwnNames(dict[str, Any]):
    """A mapping whose names are the user's, such as those of columns: they stay as they are."""


def as_text(told: Mapping[str, Any]) -> str:
    """An object as it is printed. What is not finite is null."""
    return json.dumps(plain(told), indent=2, ensure_ascii=False, allow_nan=False)


def print_json(
    told: Mapping[str, Any],
    *,
    judged_by: str,
    commands: Mapping[str, str],
    files: Mapping[str, Path],
) -> None:
    """Print what was found, by which loss it goes, the next commands and the files, by name."""
    print(as_text({"judged_by": judged_by, **told, "next": commands, "files": files}))


def plain(value: Any) -> Any:
    """The value as JSON has it: names without spaces, lists for arrays, null for NaN and ∞."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, OwnNames):
        return {str(name): plain(v) for name, v in value.items()}
    if isinstance(value, Mapping):
        return {str(name).replace(" ", "_"): plain(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    array = np.asarray(value)
    if array.ndim:
        return [plain(x) for x in array]
    number = array.item()
    return number if not isinstance(number, float) or math.isfinite(number) else None
