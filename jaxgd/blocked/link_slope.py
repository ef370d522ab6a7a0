"""The slope of a link loss, d loss / d logit, as a list of operations that any kernel can do."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from jaxtyping import Array, ArrayLike

# What both Triton and Mosaic have, one number from a few; `tests/accelerators` compiles each.
OPERATIONS = {
    *("abs", "add", "add_any", "and", "clamp", "convert_element_type", "cos", "div", "eq", "exp"),
    *("exp2", "ge", "gt", "integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt"),
    *("max", "min", "mul", "ne", "neg", "not", "or", "pow", "rsqrt", "select_n", "sin", "sqrt"),
    *("square", "sub", "tanh", "xor"),
}
DTYPES = {"float32", "int32", "bool"}
# What one of them lacks, made of what both have.
INSTEAD: dict[str, Callable[..., Array]] = {
    "sign": lambda x: lax.select(x == x, _as(x, x > 0) - _as(x, x < 0), x),  # of NaN it is NaN
    "stop_gradient": lambda x: x,
    "one_minus_square": lambda x: (1 - x) * (1 + x),  # from jax 0.12 on, of tanh's derivative
    "pow": lambda x, y: lax.pow(x, _as(x, y)),
}
# What calls a function once, and how JAX names its body. A loop has one by that name, too.
CALLS = {
    *("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
}
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def traced(slope: Callable[[Array, Array], Array], logit: Any, label: Any) -> ClosedJaxpr:
    """The slope at one logit and one label of these dtypes, wherever they lie."""
    return jax.make_jaxpr(slope)(*_numbers(logit, label))


def fits_a_kernel(slope: ClosedJaxpr) -> bool:
    """Whether it is made of `OPERATIONS` in 32 bits, and of no array that the loss brings along."""
    if any(isinstance(const, jax.core.Tracer) or np.ndim(const) for const in slope.consts):
        return False
    if not _is_known(slope.jaxpr):
        return False
    numbers = _numbers(*(aval.dtype for aval in slope.in_avals))
    flat = jax.make_jaxpr(lambda z, y: in_a_kernel(slope, z, y))(*numbers)
    dtypes = {var.aval.dtype.name for eqn in flat.eqns for var in eqn.outvars}
    known = {eqn.primitive.name for eqn in flat.eqns} <= OPERATIONS and dtypes <= DTYPES
    return known and not flat.consts


def in_a_kernel(slope: ClosedJaxpr, z: Array, y: Array) -> Array:
    """Its value, from operations alone: without calls, and without those that nothing hangs on."""
    numbers = [np.asarray(const)[()] for const in slope.consts]
    [value] = _inlined(slope.jaxpr, numbers, [z, y])
    return value


def _is_known(jaxpr: Jaxpr) -> bool:
    """Whether each operation is one that a kernel has, or a call of such: no loop and no branch."""
    return all(
        _is_known(body.jaxpr)
        if (body := _body(eqn)) is not None
        else eqn.primitive.name in OPERATIONS | INSTEAD.keys()
        for eqn in _needed(jaxpr)
    )


def _body(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """The function that is called, if this is a call."""
    if eqn.primitive.name not in CALLS:
        return None
    found = (eqn.params[name] for name in BODIES if name in eqn.params)
    return next((body for body in found if isinstance(body, ClosedJaxpr)), None)


def _numbers(*dtypes: Any) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct((), dtype) for dtype in dtypes]


def _inlined(jaxpr: Jaxpr, consts: list, arguments: list) -> list:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in _needed(jaxpr):
        inputs = [read(atom) for atom in eqn.invars]
        if (body := _body(eqn)) is not None:
            outs = _inlined(body.jaxpr, body.consts, inputs)
        else:
            outs = [_value(eqn, inputs)]
        values.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _value(eqn: JaxprEqn, inputs: list) -> Any:
    """The result of one operation, at once where its inputs are known: Triton takes no constants
    alone."""
    given = eqn.primitive.bind
    fn = INSTEAD.get(eqn.primitive.name, lambda *inputs: given(*inputs, **eqn.params))
    if any(isinstance(a, jax.core.Tracer) for a in inputs):
        return fn(*inputs)
    with jax.ensure_compile_time_eval():
        return np.asarray(fn(*map(jnp.asarray, inputs)))[()]


def _as(x: Array, y: ArrayLike) -> Array:
    return lax.convert_element_type(y, x.dtype)


def _needed(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """The operations that the result hangs on, in order."""
    needed = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}
    found = []
    for eqn in reversed(jaxpr.eqns):
        if needed & set(eqn.outvars):
            found.append(eqn)
            needed |= {atom for atom in eqn.invars if not isinstance(atom, Literal)}
    return reversed(found)
