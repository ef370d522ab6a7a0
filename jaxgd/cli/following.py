"""A command to run next, ready to be pasted: it repeats what was run exactly."""

import shlex
from collections.abc import Mapping
from typing import Any

from jaxgd.cli.data_options import DataOptions


def command(name: str, source: DataOptions, options: Mapping[str, Any]) -> str:
    """`jaxgd NAME` on the same data with these options, an empty tuple being none.

    Numbers have all of their digits.
    """
    if name == "fit" and options.get("hidden"):
        options = {**options, "activation": "tanh"}  # as the hidden layers of the studies have
    words = ["jaxgd", name, *source.words()]
    for option, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{option.replace('_', '-')}", *map(str, values)] if values else []
    return shlex.join(words)
