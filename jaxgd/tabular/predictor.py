"""What a target means for a model: its width, its loss and its predictions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, UInt32

from jaxgd.arguments import Activation, Task
from jaxgd.losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    squared_error,
    supervised,
)
from jaxgd.models import Linear, init_linear, init_mlp, linear, mlp
from jaxgd.objective import mean
from jaxgd.precision import Precision, in_precision
from jaxgd.tabular.dataset import Part
from jaxgd.tabular.target import Target

# As torch.nn's are; its GELU is the exact one.
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
}

# Of the output of one example and its target: cross entropy in nats, or the squared error.
LINK_LOSSES: Mapping[Task, Callable[..., Array]] = {
    "binary": binary_cross_entropy_with_logits,
    "multiclass": cross_entropy,
    "regression": squared_error,
}


@dataclass(frozen=True)
class Predictor:
    """A model of a target: linear in the features, or an MLP with hidden layers.

    Its output is one logit for a binary target, one a class for a multi-class one, one value for a
    regression.
    """

    n_features: int
    target: Target
    hidden: tuple[int, ...] = ()
    activation: Activation = "tanh"

    def init(self, key: PRNGKeyArray | UInt32[Array, "2"]) -> PyTree:
        """The parameters before training: zeros for a linear model, torch's draw for an MLP."""
        classes = len(self.target.classes) if self.target.task == "multiclass" else None
        if self.hidden:
            return init_mlp(key, (self.n_features, *self.hidden, classes or 1))
        shapes = jax.eval_shape(partial(init_linear, self.n_features, classes))
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.device_put(zeros)  # as init_linear's are, with nothing to compile

    def output(self, params: PyTree, x: Float[Array, "d"]) -> Float[Array, "*k"]:
        """The logit, the logits [k] or the value of one example."""
        if isinstance(params, Linear):
            output = linear(params, x)
        else:
            output = mlp(params, x, ACTIVATIONS[self.activation])
        return output if self.target.task == "multiclass" else output.reshape(())

    def loss(self, params: PyTree, example: tuple[Any, Any]) -> Float[Array, ""]:
        """The loss of one example `(x, y)`."""
        return supervised(self.output, self.link_loss)(params, example)

    def link_loss(self, output: Float[Array, "*k"], y: Any) -> Float[Array, ""]:
        """Cross entropy of one output in nats, or its squared error."""
        return LINK_LOSSES[self.target.task](output, y)

    def predict(
        self, params: PyTree, x: Float[np.ndarray, "n d"], precision: Precision = "default"
    ) -> Float[np.ndarray, "n *k"]:
        """Every row's probability of each class [n, k], or its value [n]."""
        outputs = np.asarray(_outputs(self, precision, params, x))
        if self.target.task == "regression":
            return outputs
        if self.target.task == "binary":
            outputs = np.stack([np.zeros_like(outputs), outputs], axis=1)
        return np.asarray(jax.nn.softmax(outputs, axis=1))

    def judged(
        self, params: PyTree, part: Part, precision: Precision = "default"
    ) -> tuple[float, Float[np.ndarray, "n *k"]]:
        """The mean loss of some rows, and what is predicted of each."""
        loss, predicted = map(np.asarray, _evaluated(self, precision, params, part))
        return float(loss), predicted


# Equal predictors share a program, whichever of them asks first.
@partial(jax.jit, static_argnums=(0, 1))
def _outputs(
    predictor: Predictor, precision: Precision, params: PyTree, x: Float[Array, "n d"]
) -> Float[Array, "n *k"]:
    return jax.vmap(in_precision(predictor.output, precision), (None, 0))(params, x)


@partial(jax.jit, static_argnums=(0, 1))
def _evaluated(
    predictor: Predictor, precision: Precision, params: PyTree, part: Part
) -> tuple[Array, Array]:
    """The mean loss of some rows, and the probabilities or the value predicted for each."""
    loss = mean(in_precision(predictor.loss, precision))(params, part)
    outputs = _outputs(predictor, precision, params, part.x)
    if predictor.target.task == "regression":
        return loss, outputs
    if predictor.target.task == "binary":
        outputs = jnp.stack([jnp.zeros_like(outputs), outputs], axis=1)
    return loss, jax.nn.softmax(outputs, axis=1)
