"""The layers of a torch module by their own types: what each one's tensors are for.

Nothing is guessed from a shape. A layer whose type is not known, or which does what another
framework may not, is refused by its name.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Layer(NamedTuple):
    """A layer of one kind. Its tensors: what each is for -> torch's name."""

    name: str
    kind: str
    tensors: dict[str, str]
    type_name: str
    heads: int = 1
    axes: int = 0  # of space, in a convolution and in the BatchNorm that is made for it


_AXES = {"1d": 1, "2d": 2, "3d": 3}
_RECURRENT = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_ATTENTION = (
    "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias",
    "out_proj.weight", "out_proj.bias",
)  # fmt: skip
# By torch's type: the kind of layer, and the tensors that it may have.
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Linear": ("linear", ("weight", "bias")),
    **{f"Conv{axes}": ("conv", ("weight", "bias")) for axes in _AXES},
    **{f"ConvTranspose{axes}": ("conv_transpose", ("weight", "bias")) for axes in _AXES},
    **{
        f"BatchNorm{axes}": ("batch_norm", ("weight", "bias", "running_mean", "running_var"))
        for axes in _AXES
    },
    "LayerNorm": ("layer_norm", ("weight", "bias")),
    "GroupNorm": ("group_norm", ("weight", "bias")),
    "Embedding": ("embedding", ("weight",)),
    "LSTM": ("lstm", _RECURRENT),
    "GRU": ("gru", _RECURRENT),
    "MultiheadAttention": ("attention", _ATTENTION),
}
OWN = "own"  # parameters and buffers of a module of the user's own

_COUNTER = "num_batches_tracked"  # a BatchNorm's: no other framework has it
_CONTAINERS = {"ParameterList", "ParameterDict"}


def read_layers(module: Any, *, any_type: bool = False) -> list[Layer]:
    """The layers that hold a module's parameters and buffers, in torch's order.

    A parameter that is shared comes once, with the layer that bears its first name. With
    `any_type`, a layer of an unknown type is one of the user's own.
    """
    layers: list[Layer] = []
    inside: tuple[str, ...] = ()  # below a layer that is made of modules itself
    for name, part in module.named_modules():
        if name.startswith(inside):
            continue
        layers += _layers_of(name, part, any_type)
        if layers and layers[-1].kind == "attention":
            inside = (*inside, f"{name}." if name else "")
    first = {id(p): name for name, p in module.named_parameters()}
    named = dict(module.named_parameters(remove_duplicate=False))
    ties = {name: first[id(p)] for name, p in named.items() if first[id(p)] != name}
    untied = [_untied(layer, ties, any_type) for layer in layers]
    return [layer for layer in untied if layer.tensors]


def _layers_of(name: str, part: Any, any_type: bool) -> list[Layer]:
    kind = type(part).__name__
    of_torch = type(part).__module__.startswith("torch.")
    if of_torch and kind in KINDS and not (any_type and kind != "Linear"):
        return list(_of_known_type(name, part, kind))
    direct = [n for n, _ in part.named_parameters(recurse=False)]
    kept = [
        n
        for n, _ in part.named_buffers(recurse=False)
        if n not in part._non_persistent_buffers_set and n != _COUNTER
    ]
    derived = {base.__name__ for base in type(part).__mro__[1:]} & set(KINDS)
    known = not derived and (not of_torch or kind in _CONTAINERS)
    if (direct or kept) and not known and not any_type:
        of = f" (derived from {', '.join(sorted(derived))})" if derived else ""
        raise ValueError(
            f"A bridge knows {', '.join(KINDS)} and modules of your own; got {kind}{of} at "
            f"{name or 'the top'!r}. Bridge the other parts, and move this one by hand."
        )
    own = {n: _dotted(name, n) for n in [*direct, *kept]}
    return [Layer(name, OWN, own, kind)] if own else []


def _of_known_type(name: str, part: Any, type_name: str) -> Iterator[Layer]:
    kind, roles = KINDS[type_name]
    _check(name, part, kind, type_name)
    axes = _AXES.get(type_name[-2:], 0)
    held = {n for n, _ in part.named_parameters()} | {n for n, _ in part.named_buffers()}
    held -= {_COUNTER}
    stacked = getattr(part, "num_layers", 0) if kind in ("lstm", "gru") else 0
    suffixes = [f"_l{i}" for i in range(stacked)] or [""]
    known = {f"{role}{suffix}" for role in roles for suffix in suffixes}
    if strange := held - known:
        raise ValueError(
            f"A {type_name} holds {', '.join(roles)}; got {', '.join(sorted(strange))} at {name!r}."
            " Take off what has changed it (torch.nn.utils.parametrize, weight_norm) first."
        )
    for i, suffix in enumerate(suffixes):
        tensors = {
            role: _dotted(name, f"{role}{suffix}") for role in roles if f"{role}{suffix}" in held
        }
        at = _dotted(name, str(i)) if len(suffixes) > 1 else name
        yield Layer(at, kind, tensors, type_name, getattr(part, "num_heads", 1), axes)


def _check(name: str, part: Any, kind: str, type_name: str) -> None:
    """ValueError for what a layer of a known type does and a bridge does not."""
    unknown = {
        "conv_transpose": {"groups": getattr(part, "groups", 1) != 1},
        "layer_norm": {"normalized_shape": len(getattr(part, "normalized_shape", "1")) != 1},
        "embedding": {"max_norm": getattr(part, "max_norm", None) is not None},
        "lstm": {
            "bidirectional": getattr(part, "bidirectional", False),
            "proj_size": getattr(part, "proj_size", 0) != 0,
        },
        "gru": {"bidirectional": getattr(part, "bidirectional", False)},
        "attention": {
            "add_bias_kv": getattr(part, "bias_k", None) is not None,
            "add_zero_attn": getattr(part, "add_zero_attn", False),
        },
    }.get(kind, {})
    for option, given in unknown.items():
        if given:
            raise ValueError(
                f"A bridge carries a {type_name} of one group, of one axis, one way and without "
                f"extras; got {option}={getattr(part, option, True)!r} at {name or 'the top'!r}. "
                "Move this layer by hand."
            )


def _untied(layer: Layer, ties: Mapping[str, str], any_type: bool) -> Layer:
    """The layer without the parameters that another one holds already."""
    tied = {role: ties[name] for role, name in layer.tensors.items() if name in ties}
    if tied and layer.kind in ("lstm", "gru", "attention") and not any_type:
        raise ValueError(
            f"A shared parameter is carried in layers of one matrix; got {', '.join(tied)} of the "
            f"{layer.type_name} at {layer.name!r}, which {', '.join(tied.values())} is, too. Move "
            "this layer by hand."
        )
    return layer._replace(tensors={r: n for r, n in layer.tensors.items() if r not in tied})


def _dotted(*names: str) -> str:
    return ".".join(name for name in names if name)
