"""The settings of a fit as a TOML file that repeats it, with what it was made with."""

import hashlib
import json
import tomllib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from jaxgd.cli.data_options import STDIN, DataOptions
from jaxgd.cli.training_options import TrainingOptions
from jaxgd.cli.words import options_of, words_taken

_HEAD = (
    "# jaxgd fit --config THIS-FILE fits this again: the same bytes, with the same data and\n"
    "# versions. Options on the command line win over those here.\n"
)
_PACKAGES = ("jaxgd", "jax", "jaxlib", "optax", "numpy")
_DATA = "data-sha256"
# What may be another without another model.
_ASIDE = {"date", _DATA}


class Config(NamedTuple):
    """The options of a fit by their names without dashes in front, and what it was made with."""

    fit: dict[str, Any]
    made: dict[str, Any]


def config_text(source: DataOptions, training: TrainingOptions, made: Mapping[str, str]) -> str:
    """The file of a fit with these options: all of them, for what is usual may change."""
    options = _options(source) | _options(training)
    if source.data is not None and source.data != STDIN:
        options["data"] = str(source.data.absolute())
    if isinstance(training.valid_part, Path):
        options["valid"] = str(training.valid_part.absolute())
    tables = {"fit": options, "made": made}
    return _HEAD + "".join(f"\n[{name}]\n{_lines(table)}" for name, table in tables.items())


def _options(options: DataOptions | TrainingOptions) -> dict[str, Any]:
    told = {}
    for field in fields(options):
        value = getattr(options, field.name)
        if value is None and field.default is not None:
            value = "all" if field.name == "batch_size" else "None"
        if value is not None:
            told[field.name.replace("_", "-")] = str(value) if isinstance(value, Path) else value
    return told


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in table.items())


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):  # JSON's escapes are TOML's
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def read_config(path: Path) -> Config:
    """What stands in a file of `config_text`; ValueError for another, OSError for none."""
    try:
        found = tomllib.loads(path.read_bytes().decode())
        options, made = found["fit"], found.get("made", {})
        if not isinstance(options, dict) or not isinstance(made, dict):
            raise KeyError("fit")
    except KeyError:
        raise ValueError(f"a config has its options under [fit]; {path} has none there.") from None
    except ValueError as error:
        raise ValueError(f"a config must be TOML in UTF-8; {path} is not: {error}.") from None
    return Config(options, made)


def with_config(words: Sequence[str]) -> list[str]:
    """The words of a fit with those of its --config behind them, as far as they leave them open.

    The words are `in_order`. A file among them takes the place of the config's.
    """
    said = options_of(words)
    path = next((values[0] for option, values in said if option == "--config" and values), None)
    path = next((o.partition("=")[2] for o, _ in said if o.startswith("--config=")), path)
    if path is None:
        return list(words)
    options = read_config(Path(path)).fit
    given = {_name(option) for option, _ in said}
    is_loose = any(values[words_taken(option, values) :] for option, values in said)
    data = options.pop("data", None)
    front = [str(data)] if data is not None and not is_loose else []
    left = {name: value for name, value in options.items() if _name(f"--{name}") not in given}
    return [*front, *words, *(word for name in left for word in _words(name, left[name]))]


def _name(option: str) -> str:
    """An option's name, however it is written."""
    plain = option.partition("=")[0].removeprefix("--").replace("_", "-").removeprefix("no-")
    return "learning-rate" if plain == "lr" else plain


def _words(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield f"--{name}" if value else f"--no-{name}"
    elif isinstance(value, list):
        yield from [f"--{name}", *map(str, value)] if value else []
    else:
        yield f"--{name}={value}"


def made_with(inputs: Sequence[Path]) -> dict[str, str]:
    """The versions, the machine and the day, and the digests of the data's bytes."""
    import platform
    from datetime import date
    from importlib import metadata

    import jax

    from jaxgd.version import __version__

    versions = {name: metadata.version(name) for name in _PACKAGES[1:]}
    made = {"jaxgd": __version__, **versions, "python": platform.python_version()}
    settings: Any = jax.config
    device = settings.jax_default_device or jax.devices()[0]
    made |= {"platform": platform.platform(), "hardware": f"{device.platform} {device.device_kind}"}
    made["date"] = date.today().isoformat()
    return made | {_DATA: " ".join(map(_digest, inputs))} if inputs else made


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def say_what_differs(config: Path, now: Mapping[str, str]) -> None:
    """Warn where a config's fit is made again with other data, or other versions."""
    was = read_config(config).made
    if _DATA in was and was[_DATA] != now.get(_DATA):
        warnings.warn(
            f"the data are not those of {config}, whose bytes have the SHA-256 {was[_DATA][:12]}…: "
            "this is another model.",
            stacklevel=2,
        )
    others = {name for name in was if name in now and was[name] != now[name]} - _ASIDE
    if others:
        told = ", ".join(f"{name} is {now[name]} (was {was[name]})" for name in sorted(others))
        warnings.warn(
            f"{told}: the model may differ from that of {config} in its last bits.", stacklevel=2
        )
