"""The first line of every torch optimizer: the sign and the coupled weight decay."""

import optax

from jaxgd.optim.options import Scalar


def torch_gradient(weight_decay: Scalar, maximize: bool) -> optax.GradientTransformation:
    """The gradient that torch's update rule sees: ±g + weight_decay · p.

    Minus for `maximize`. The decay is the coupled one (an L2 penalty): the rule averages and
    rescales it together with the gradient.

    Departs from torch: nothing; but a parameter whose torch gradient is None is left alone
    there, and decays here, where its gradient is zeros.
    """
    sign = optax.scale(-1.0) if maximize else optax.identity()
    return optax.chain(sign, optax.add_decayed_weights(weight_decay))
