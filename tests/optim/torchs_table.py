"""PyTorch's own table of optimizers, `optim_db`, run on both sides: what becomes of each entry.

Every declared input, and the input with each flag that chooses a kernel, is trained alone, with two
groups, and with a gradient that is None now and then; every error input is refused, or it is said
why not.
"""

import dataclasses
import warnings
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db

from jaxgd import optim
from jaxgd.interop.torch import from_torch
from jaxgd.optim.registry import REGISTRY
from tests import tolerances
from tests.optim import problems
from tests.optim.cases import torch_class

Result = Literal["passed", "departs", "not expressible", "failed"]
INFOS = {
    name: next(info for info in optim_db if info.optim_cls is torch_class(name))
    for name in REGISTRY
}

UPDATES = 16
SPARSE = {"sparse_adam"}
# A matrix and a vector, or two matrices for the optimizer that takes no other.
PAIRS = {"muon": ("mlp/0/weight", "mlp/2/weight")}
PAIR = ("mlp/0/weight", "mlp/0/bias")
TENSOR_RATE = "a tensor lr is float32 in torch, which rounds SparseAdam's step size to it"
FLOAT32 = "torch's differentiable kernel corrects its bias in float32, whatever the parameters are"
ETA = "torch's foreach kernel of ASGD computes η in float32, whatever the parameters are"
KERNEL = "a limit of torch's foreach kernels, which are not chosen here: accepted"
MIXED = "a number beside a tensor, which torch's kernels do not take: accepted"
CONTAINER = (
    "torch's list of parameters; here params is a pytree, a leaf has one place and one label"
)
DENSE = "JAX's parameters are dense arrays"
GROUPS = "torch's LBFGS takes no groups"
FUSED = "torch's fused SGD raises where a parameter with momentum has its first gradient later"
# Where a flag, or a tensor, moves torch's numbers off its own without: (optimizer, flag) -> why.
KNOWN = {
    ("sparse_adam",): TENSOR_RATE,
    ("asgd", "foreach"): ETA,
    **{(name, "differentiable"): FLOAT32 for name in ("adam", "adamw", "nadam")},
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one entry of the table."""

    optimizer: str
    entry: str
    result: Result
    sentence: str = ""


def outcomes(optimizer: str) -> list[Outcome]:
    """Of every declared input and error input of an optimizer."""
    trained = _searched() if optimizer == "lbfgs" else _trained(optimizer)
    return trained + [_refused(optimizer, error) for error in _errors(optimizer)]


def _flags(optimizer: str) -> list[dict[str, Any]]:
    """No flag, and each one that chooses a kernel, as far as torch has it on a CPU."""
    info = INFOS[optimizer]
    chosen = [flag for flag in info.supported_impls if flag != "fused" or _fuses(info)]
    return [{}, *({flag: True} for flag in chosen)]


def _fuses(info: Any) -> bool:
    return "cpu" in info.supports_fused_on


def _with_item(optimizer: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with a number for SparseAdam's tensor."""
    lr = options.get("lr")
    turned = optimizer in SPARSE and isinstance(lr, torch.Tensor)
    return options | {"lr": lr.item()} if turned else options


def _gradients(optimizer: str) -> dict[str, np.ndarray]:
    stream = problems.gradients("float64")
    return {key: stream[key][:UPDATES] for key in PAIRS.get(optimizer, PAIR)}


def _absent(t: int) -> bool:
    """Whether the second parameter has no gradient at that update: at first, and now and then."""
    return t < 2 or t % 5 == 3


WAYS = ("alone", "groups", "no gradient")


def _torchs(optimizer: str, options: dict[str, Any], way: str) -> dict[str, np.ndarray]:
    """Torch's parameters after the updates, in one of the ways."""
    start, stream = problems.init(), _gradients(optimizer)
    params = {
        key: torch.tensor(start[key], requires_grad=not options.get("differentiable"))
        for key in stream
    }
    torchs = _made(optimizer, params, options, way)
    for t in range(_updates(optimizer)):
        for i, (key, param) in enumerate(params.items()):
            grad = torch.tensor(stream[key][t])
            param.grad = grad.to_sparse() if optimizer in SPARSE else grad
            if way == "no gradient" and i == 1 and _absent(t):
                param.grad = None
        torchs.step()
    return {key: param.detach().numpy().copy() for key, param in params.items()}


def _made(
    optimizer: str, params: dict[str, torch.Tensor], options: dict[str, Any], way: str
) -> torch.optim.Optimizer:
    groups: list[Any] = list(params.items())
    if way == "groups":
        first, second = params.items()
        groups = [{"params": [first]}, {"params": [second], "lr": 0.02}]
        if "weight_decay" in REGISTRY[optimizer].varied:
            groups[1]["weight_decay"] = 0.3
    return torch_class(optimizer)(groups, **options)


def _updates(optimizer: str) -> int:
    """Muon's trajectories are chaotic: one update."""
    return 1 if optimizer == "muon" else UPDATES


def _ours(optimizer: str, inputs: list[dict[str, Any]], way: str) -> list[dict[str, np.ndarray]]:
    """Our parameters of each input, one update at a time: few enough not to be worth compiling."""
    stream = {key: jnp.asarray(leaf) for key, leaf in _gradients(optimizer).items()}
    start = {key: jnp.asarray(problems.init()[key]) for key in stream}
    last = list(stream)[1]
    tensors = {
        key: torch.tensor(np.asarray(leaf), requires_grad=True) for key, leaf in start.items()
    }

    def trained(options: dict[str, Any]) -> dict[str, np.ndarray]:
        if way == "groups":
            transform = from_torch(_made(optimizer, tensors, options, way), start)[0]
        else:
            transform = optim.by_name(optimizer)(**_in_jax(options))
        if way == "no gradient":
            transform = optim.per_parameter(transform)
        params, state = start, transform.init(start)
        for t in range(_updates(optimizer)):
            grads = {key: leaf[t] for key, leaf in stream.items()}
            extra = {"present": dict.fromkeys(grads, True) | {last: jnp.asarray(not _absent(t))}}
            told = extra if way == "no gradient" else {}
            updates, state = transform.update(grads, state, params, **told)
            params = optax.apply_updates(params, updates)
        return jax.tree.map(np.asarray, params)

    return [trained(options) for options in inputs]


def _in_jax(options: dict[str, Any]) -> dict[str, Any]:
    """Torch's options with JAX scalars for its tensors."""

    def leaf(value: Any) -> Any:
        return jnp.asarray(value.numpy()) if isinstance(value, torch.Tensor) else value

    return jax.tree.map(leaf, options)


def _trained(optimizer: str) -> list[Outcome]:
    """Each input × flag × way against torch's run."""
    entries = INFOS[optimizer].optim_inputs_func(device="cpu")
    found = []
    for way in WAYS:
        ours = _ours(optimizer, [entry.kwargs for entry in entries], way)
        for entry, values in zip(entries, ours, strict=True):
            plain = _torchs(optimizer, _with_item(optimizer, entry.kwargs), way)
            agrees = not _off(optimizer, values, plain)
            for flag in _flags(optimizer):
                name = " & ".join([entry.desc, *flag]) + f", {way}"
                result, sentence = _held(optimizer, entry.kwargs, flag, way, values)
                if result == "failed" and not agrees:
                    sentence = f"off by {sentence} of torch's plain run too"
                found.append(Outcome(optimizer, name, result, sentence))
    return found


def _held(
    optimizer: str,
    options: dict[str, Any],
    flag: dict[str, Any],
    way: str,
    ours: dict[str, np.ndarray],
) -> tuple[Result, str]:
    """Whether torch's run with a flag is ours; or departs from its own without, which is ours."""
    known = KNOWN.get((optimizer, *flag))
    try:
        theirs = _torchs(optimizer, options | flag, way)
    except TypeError:
        return ("departs", FUSED) if (optimizer, *flag) == ("sgd", "fused") else ("failed", "")
    off = _off(optimizer, ours, theirs)
    if not off:
        return "passed", ""
    plain = _torchs(optimizer, _with_item(optimizer, options), way)
    if known is not None and not _off(optimizer, ours, plain) and off < tolerances.TORCHS_FLOAT32:
        return "departs", known
    return "failed", f"{off:.1e}"


def _off(optimizer: str, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """The largest error of a leaf against its largest entry, if it is over the bound; or 0."""
    bound = tolerances.MUON_BF16 if optimizer == "muon" else tolerances.PARITY_F64
    error = max(
        float(np.max(np.abs(ours[key] - leaf)) / np.max(np.abs(leaf)))
        for key, leaf in theirs.items()
    )
    return 0.0 if error <= bound else error


def _searched() -> list[Outcome]:
    """LBFGS evaluates its loss again: a run of its own, of a convex loss, alone."""
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(20, 4)), rng.random(20)

    def loss(w: Any) -> Any:
        logits = jnp.asarray(rows) @ w
        return (jax.nn.softplus(logits) - jnp.asarray(labels) * logits).mean() + 0.1 * (w @ w)

    found = []
    for entry in INFOS["lbfgs"].optim_inputs_func(device="cpu"):
        param = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        torchs = torch.optim.LBFGS([param], **entry.kwargs)

        def closure(param=param, torchs=torchs):
            torchs.zero_grad()
            logits = torch.tensor(rows) @ param
            per_row = torch.nn.functional.softplus(logits) - torch.tensor(labels) * logits
            value = per_row.mean() + 0.1 * (param @ param)
            value.backward()
            return value

        transform, w = optim.lbfgs(**_in_jax(entry.kwargs)), jnp.zeros(4)
        state = transform.init(w)

        @jax.jit
        def update(w, state, transform=transform):
            value, grad = jax.value_and_grad(loss)(w)
            updates, state = transform.update(grad, state, w, value=value, value_fn=loss)
            return optax.apply_updates(w, updates), state

        for _ in range(2):
            torchs.step(closure)
            w, state = update(w, state)
        error = float(np.abs(np.asarray(w) - param.detach().numpy()).max())
        result: Result = "passed" if error <= tolerances.CONTINUED_LBFGS_F64 else "failed"
        sentence = f"{error:.1e}" if result == "failed" else ""
        found.append(Outcome("lbfgs", f"{entry.desc}, alone", result, sentence))
        found.append(Outcome("lbfgs", f"{entry.desc}, groups", "not expressible", GROUPS))
    return found


def _errors(optimizer: str) -> list[Any]:
    return INFOS[optimizer].optim_error_inputs_func(device="cpu", dtype=torch.float64)


def _refused(optimizer: str, error: Any) -> Outcome:
    """What becomes of an input that torch refuses."""
    entry = error.optimizer_error_input
    if not _torch_refuses(optimizer, error):
        return Outcome(optimizer, entry.desc, "failed", "torch takes it")
    if entry.desc.startswith("dense params"):
        return Outcome(optimizer, entry.desc, "not expressible", DENSE)
    leaf = entry.params[0] if isinstance(entry.params, list) and len(entry.params) == 1 else None
    if entry.params is not None and not isinstance(leaf, torch.Tensor):
        return Outcome(optimizer, entry.desc, "not expressible", CONTAINER)
    params = jnp.ones((2, 2)) if leaf is None else jnp.asarray(leaf.detach().numpy())
    try:
        optim.by_name(optimizer)(**_in_jax(entry.kwargs)).init(params)
    except (ValueError, TypeError):
        return Outcome(optimizer, entry.desc, "passed")
    if entry.kwargs.get("foreach"):
        return Outcome(optimizer, entry.desc, "departs", KERNEL)
    if "both floats or both Tensors" in entry.desc:
        return Outcome(optimizer, entry.desc, "departs", MIXED)
    return Outcome(optimizer, entry.desc, "failed", "accepted")


def _torch_refuses(optimizer: str, error: Any) -> bool:
    """Whether torch raises, or warns, as its table says."""
    entry = error.optimizer_error_input
    params = [torch.zeros(2, 2, requires_grad=True)] if entry.params is None else entry.params
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            torchs = torch_class(optimizer)(params, **entry.kwargs)
            if error.error_on is OptimizerErrorEnum.STEP_ERROR:
                torchs.step()
    except error.error_type:
        return True
    return False
