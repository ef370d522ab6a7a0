"""A program as one verified file of kilobytes, which runs without the source it was made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxgd.arguments import PLATFORMS
from jaxgd.storage.bits import is_key
from jaxgd.storage.verified_file import load_arrays, refused_as_misfit, save_arrays

_KIND, _VERSION = "jaxgd export", 1
_PROGRAM = "program"


@dataclass(frozen=True)
class Artifact:
    """A program from arrays to arrays, and what the header of its file says of it.

    `header` has the `arguments` and `results` as pairs of name and form (`float32[20, 8]`), the
    `platforms` and the `versions` it was made with. A random key is there as its data, unsigned
    integers, and `keys` has its implementation by name.
    """

    header: Mapping[str, Any]
    program: bytes = field(repr=False)

    def call(self, leaves: Sequence[Any]) -> list[Any]:
        """The results for these arrays, in the order of `header["results"]`.

        Raises ValueError where the arrays are on a platform that the program is not for, and for
        another number of arrays, another shape or dtype.
        """
        _check_platform(_platform_of(leaves), self.header["platforms"])
        plain = [jnp.asarray(_data_of(leaf)) for leaf in leaves]
        _check(plain, self.header["arguments"])
        return [
            _as_key(array, self.header["keys"].get(name))
            for (name, _), array in zip(self.header["results"], self._compiled(*plain), strict=True)
        ]

    def save(self, path: Path | str) -> None:
        """Write the artifact: afterwards the file is the whole new one, or the old."""
        content = {_PROGRAM: np.frombuffer(self.program, np.uint8)}
        save_arrays(Path(path), content, self.header, kind=_KIND, version=_VERSION)

    @cached_property
    def exported(self) -> Any:
        """What `jax.export` makes of the program."""
        return _exporter().deserialize(bytearray(self.program))

    @cached_property
    def _compiled(self) -> Callable[..., list[Any]]:
        return jax.jit(self.exported.call)


def exported(
    fn: Callable[..., PyTree],
    arguments: Mapping[str, Any],
    results: Mapping[str, Any],
    platforms: Sequence[str],
    note: Mapping[str, Any],
) -> Artifact:
    """The artifact of a function of arrays that returns a tree of arrays, all named in order.

    An argument may be a `jax.ShapeDtypeStruct`, with a symbolic size too.

    Raises ValueError for a program that calls back into Python, that is of several devices, or
    for a platform unknown to JAX; ModuleNotFoundError without the package flatbuffers.
    """
    found = {**arguments, **results}.items()
    keys = {name: _implementation(leaf) for name, leaf in found if is_key(leaf)}
    takes = [keys.get(name) for name in arguments]

    def flat(*plain: Any) -> list[Any]:
        leaves = map(_as_key, plain, takes)
        return [_data_of(leaf) for leaf in jax.tree.leaves(fn(*leaves))]

    forms = [_plain_form(leaf) for leaf in arguments.values()]
    program = _serialized(flat, forms, platforms)
    header = {
        **note,
        "arguments": [[*pair] for pair in zip(arguments, map(_told, forms), strict=True)],
        "results": [[name, _told(_plain_form(leaf))] for name, leaf in results.items()],
        "keys": keys,
        "platforms": [*platforms],
        "versions": {name: version(name) for name in ("jax", "jaxlib")},
    }
    return Artifact(header, program)


def load_artifact(path: Path | str, what: str) -> Artifact:
    """The artifact in a file that `Artifact.save` wrote, verified; `what` is the kind meant.

    Raises ValueError for a file that is damaged, of another kind, or that this JAX cannot read.
    """
    path = Path(path)
    arrays, header = load_arrays(path, kind=_KIND, version=_VERSION)
    with refused_as_misfit(path, _KIND):
        found, made_by = header["what"], header["versions"]["jax"]
        artifact = Artifact(header, arrays[_PROGRAM].tobytes())
        for part in ("arguments", "results"):
            if not all(isinstance(word, str) for pair in header[part] for word in pair):
                raise TypeError(f"its {part} must be names and forms")
    if found != what:
        raise ValueError(f"{path} is a {found}, not a {what}. Load it as the one it is.")
    try:
        program = artifact.exported
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path}, exported by jax {made_by}, cannot be read by jax {version('jax')}: {error}. "
            "Export it anew: JAX reads what is at most six months older, or three weeks newer."
        ) from None
    with refused_as_misfit(path, _KIND):
        if [*program.platforms] != header["platforms"]:
            raise ValueError(f"its program is for {', '.join(program.platforms)}")
    return artifact


def named(tree: PyTree, under: str) -> dict[str, Any]:
    """The leaves of an argument by their path, such as `state.params.w`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {under + jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _serialized(fn: Callable[..., Any], forms: Sequence[Any], platforms: Sequence[str]) -> bytes:
    export = _exporter()
    if (unknown := sorted({*platforms} - {*PLATFORMS})) or not platforms:
        raise ValueError(
            f"platforms must be some of {', '.join(PLATFORMS)}; got {', '.join(unknown) or 'none'}."
            " NVIDIA's is cuda, AMD's rocm."
        )
    try:
        program = export.export(jax.jit(fn), platforms=tuple(platforms))(*forms)
        if program.nr_devices == 1:
            return bytes(program.serialize())
    except NotImplementedError as error:
        raise ValueError(
            f"an exported program must not call back into Python; got one that does ({error}). "
            "Take jax.debug and callbacks out of it."
        ) from None
    raise ValueError(
        f"an exported program must be of one device; got one of {program.nr_devices}. "
        "Export what runs without a mesh."
    )


def _exporter() -> Any:
    """`jax.export`, which needs a package that jax itself does not ask for."""
    try:
        import_module("flatbuffers")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'exporting needs {error.name}: pip install "jaxgd[export]"', name=error.name
        ) from None
    from jax import export

    return export


def _as_key(array: Any, implementation: str | None) -> Any:
    if implementation is None:
        return array
    return jax.random.wrap_key_data(array, impl=implementation)


def _implementation(key: Any) -> str:
    """How the numbers of a key are drawn; JAX tells it of an array or a tracer only."""
    told: list[str] = []
    jax.eval_shape(lambda key: told.append(str(jax.random.key_impl(key))), key)
    return told[0]


def _data_of(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def _plain_form(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of an array, or of a key's data."""
    plain = jax.eval_shape(_data_of, leaf) if is_key(leaf) else leaf
    dtype = plain.dtype if hasattr(plain, "dtype") else np.asarray(plain).dtype
    return jax.ShapeDtypeStruct(np.shape(plain), jax.dtypes.canonicalize_dtype(dtype))


def _told(form: Any) -> str:
    return f"{form.dtype.name}[{', '.join(map(str, form.shape))}]"


def _platform_of(leaves: Sequence[Any]) -> str:
    """What a program of these arrays runs on: where one was put, or else JAX's default."""
    placed = (leaf for leaf in leaves if getattr(leaf, "committed", False))
    devices = next((leaf.devices() for leaf in placed), None)
    default = jax.config.jax_default_device  # type: ignore[attr-defined]
    found = next(iter(devices)) if devices else default or jax.default_backend()
    return found if isinstance(found, str) else found.platform


def _check_platform(platform: str, platforms: Sequence[str]) -> None:
    """ValueError unless the program is for it; JAX calls both cuda and rocm gpu."""
    if not {"gpu": {"gpu", "cuda", "rocm"}}.get(platform, {platform}) & {*platforms}:
        raise ValueError(
            f"an exported program must run on a platform that it was made for, "
            f"{', '.join(platforms)}; got arrays on {platform}. Move them there with "
            f"jax.device_put, or export it with platforms= that has {platform}."
        )


def _check(leaves: Sequence[Any], expected: Sequence[Sequence[str]]) -> None:
    """ValueError that names each array of another dtype or shape; a letter is any size."""
    if len(leaves) != len(expected):
        names = ", ".join(name for name, _ in expected)
        raise ValueError(
            f"an exported program must be given its {len(expected)} arrays ({names}); got "
            f"{len(leaves)}. Pass trees like those that it was exported with."
        )
    found = map(_told, leaves)
    wrong = [
        f"{name} must be {form}; got {got}"
        for (name, form), got in zip(expected, found, strict=True)
        if not _fits(got, form)
    ]
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}. Export the program for these shapes and dtypes.")


def _fits(got: str, form: str) -> bool:
    """Whether every word of the form is the same, or a size in letters."""
    found, wanted = (told.replace("[", ", ").rstrip("]").split(", ") for told in (got, form))
    pairs = enumerate(zip(found, wanted, strict=False))
    return len(found) == len(wanted) and all(
        one == other or (i > 0 and other.isalpha()) for i, (one, other) in pairs
    )
