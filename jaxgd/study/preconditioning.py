"""What an adaptive optimizer divides gradients by, read from its state."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

# By the names in our states and in optax's. The largest moment of AMSGrad stands before the last.
_SECOND_MOMENTS = ("max_exp_avg_sq", "exp_avg_sq", "square_avg", "sum", "nu", "sum_of_squares")
_LARGEST = ("exp_inf",)
_OTHERWISE = ("acc_delta", "grad_avg", "nu_max")


def preconditioner(opt_state: PyTree, eps: float = 1e-8) -> PyTree:
    """The P of an optimizer whose updates are along -P⁻¹g, up to a factor: Adam, RMSprop, Adagrad.

        √v + eps,   v the second moments in the state;   u + eps for Adamax

    Adam descends in the norm that P measures, and there its noise scale is that of P^(-1/2) g. A
    factor that all entries share, as a bias correction, changes no noise scale. Before the first
    update, where v = 0, P is a constant, and after it, v being one gradient's square, P⁻¹g is a
    sign.

    Raises ValueError for a state without such moments, or with several, and for those that divide
    by something else: Adadelta, a centered RMSprop, optax's AMSGrad. The state of optax's Adamax
    looks like Adam's, and is taken for it.
    """
    if divided_otherwise := [name for name in _OTHERWISE if _moments(opt_state, name) is not None]:
        raise ValueError(
            "the state must be of an optimizer that divides by the root of its second moments; got "
            f"one with {divided_otherwise[0]}. Pass a tree of your own."
        )
    found = {name: _moments(opt_state, name) for name in (*_SECOND_MOMENTS, *_LARGEST)}
    found = {name: moments for name, moments in found.items() if moments is not None}
    if found.keys() == {"max_exp_avg_sq", "exp_avg_sq"}:
        del found["exp_avg_sq"]
    if len(found) != 1:
        told = " and ".join(found) or "none"
        raise ValueError(
            f"the state must hold one tree of second moments; got {told}. Pass a tree of your own, "
            "or leave the preconditioner out for SGD."
        )
    ((name, moments),) = found.items()

    root = (lambda v: v) if name in _LARGEST else jnp.sqrt
    return jax.tree.map(lambda v: root(v) + eps, moments)


def _moments(opt_state: PyTree, name: str) -> PyTree | None:
    try:
        return optax.tree.get(opt_state, name)
    except KeyError:  # several: of several groups of parameters
        return None
