"""Two configurations side by side, before anything is run: which differences matter, and how."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Effect = Literal["another training", "other rounding", "nothing by itself"]

_NOTHING = {"python", "numpy", "torch threads", "torch cudnn benchmark", "jax backend"}
_VERSIONS = {"torch", "jax", "optax", "flax", "equinox", "haiku", "jaxgd"}
_ROUNDING = {"torch deterministic"}

_TF32 = "the factors of float32 products are rounded to TF32 or bfloat16"
_PRECISE_JAX = {"highest", "float32"}


@dataclass(frozen=True)
class Setting:
    """One thing that two sides have set otherwise."""

    name: str
    actual: object
    expected: object
    effect: Effect
    why: str = ""

    def __str__(self) -> str:
        because = f": {self.why}" if self.why else ""
        return f"{self.name}: {self.actual!r}, not {self.expected!r} ({self.effect}{because})"


def set_otherwise(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[Setting, ...]:
    """What two configurations have set otherwise, what matters most in front.

    A configuration is what `Recorder` notes, in its manifest: versions, precision flags, the
    optimizer's options, and what else it was given by name (seed, batch size). What only one side
    has is its own, such as another framework's version, but for the precision: that of torch and
    that of JAX are compared with each other.
    """
    found = [*_same_names(actual, expected), *_precision(actual, expected)]
    order = ("another training", "other rounding", "nothing by itself")
    return tuple(sorted(found, key=lambda setting: order.index(setting.effect)))


def _same_names(
    actual: Mapping[str, Any], expected: Mapping[str, Any], within: str = ""
) -> Iterator[Setting]:
    for name in sorted(actual.keys() & expected.keys()):
        ours, theirs = actual[name], expected[name]
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            yield from _same_names(ours, theirs, f"{within}{name}.")
            only = {n: (ours.get(n, "unset"), theirs.get(n, "unset")) for n in ours.keys() ^ theirs}
            for field, (left, right) in sorted(only.items()):
                yield Setting(f"{within}{name}.{field}", left, right, "another training")
        elif ours != theirs:
            yield Setting(within + name, ours, theirs, *_effect(name))


def _effect(name: str) -> tuple[Effect, str]:
    if name in _VERSIONS:
        return "other rounding", "and defaults may have changed"
    if name in _ROUNDING:
        return "other rounding", ""
    if name in _NOTHING:
        return "nothing by itself", ""
    if "precision" in name or "tf32" in name:
        return "other rounding", _TF32
    return "another training", ""


def _precision(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[Setting]:
    """The dtype and the products' precision of one framework beside the other's."""
    if _framework(actual) == _framework(expected):
        return
    known = "params dtype" in actual and "params dtype" in expected
    ours, theirs = _dtype(actual), _dtype(expected)
    if not known and ours and theirs and ours != theirs:
        yield Setting("default dtype", ours, theirs, "another training")
    rough = _rough_products(actual), _rough_products(expected)
    if rough[0] != rough[1]:
        left, right = ("rounded" if side else "exact" for side in rough)
        yield Setting("float32 products", left, right, "other rounding", _TF32)


def _framework(side: Mapping[str, Any]) -> str:
    return "torch" if "torch default dtype" in side and "jax x64" not in side else "jax"


def _dtype(side: Mapping[str, Any]) -> str | None:
    if _framework(side) == "torch":
        return str(side["torch default dtype"]).removeprefix("torch.")
    return {True: "float64", False: "float32"}.get(side.get("jax x64", ""))


def _rough_products(side: Mapping[str, Any]) -> bool:
    """Whether products of float32 are rounded: on accelerators, unless told otherwise."""
    if _framework(side) == "torch":
        return side.get("torch matmul precision", "highest") != "highest"
    on_cpu = side.get("jax backend", "cpu") == "cpu"
    return not on_cpu and side.get("jax matmul precision") not in _PRECISE_JAX
