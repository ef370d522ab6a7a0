"""torch.optim's optimizers as optax GradientTransformations, every option, to rounding.

Each function takes torch's own argument names and defaults; `lr` may also be traced, or a
schedule: a function of the number of updates done. The other numbers may be traced too, in the
parameters' own type, as `optax.inject_hyperparams` makes them. `foreach`, `fused`, `capturable` and
`differentiable`, which choose a kernel of torch's and no number, are taken and dropped.

Every optimizer is one chain, `torch_order.torch_chain`: the gradient torch sees (`maximize`,
coupled weight decay), the rule, the learning rate (after decoupled weight decay). Its state bears
torch's names: `optax.tree.get(state, "exp_avg")`, and `"step"` for the number of updates done.

A run can be differentiated with respect to `lr` and the other numbers; where a root is taken of 0,
for a parameter whose gradients have all been 0, its derivative counts as 0 (optax.adam's is NaN).

The promise holds for float32 and float64 parameters on the CPU. In bfloat16 each library rounds at
its own places: after 50 updates torch's run is off its own float64 run by 0.01 to 1.1 of the way it
has gone, and ours off torch's by no more than 3 times that (tests/optim/test_edges.py), mostly by a
fifth of it; by 1.2 times for SGD and 1.9 for RMSprop, both with momentum.
Complex parameters are refused: torch takes their real and imaginary parts as two numbers, so give
them as two leaves, or use optax.contrib.split_real_and_imaginary.
"""

from jaxgd.optim import schedules as schedules
from jaxgd.optim.adadelta_rule import adadelta as adadelta
from jaxgd.optim.adafactor_rule import adafactor as adafactor
from jaxgd.optim.adagrad_rule import adagrad as adagrad
from jaxgd.optim.adam_rule import adam as adam
from jaxgd.optim.adam_rule import adamw as adamw
from jaxgd.optim.adamax_rule import adamax as adamax
from jaxgd.optim.asgd_rule import asgd as asgd
from jaxgd.optim.averaged import average_of as average_of
from jaxgd.optim.averaged import with_average as with_average
from jaxgd.optim.averages import exponential_average as exponential_average
from jaxgd.optim.averages import uniform_average as uniform_average
from jaxgd.optim.clip import clip_grad_norm as clip_grad_norm
from jaxgd.optim.clip import clip_grad_value as clip_grad_value
from jaxgd.optim.clip import grad_norm as grad_norm
from jaxgd.optim.lbfgs_rule import lbfgs as lbfgs
from jaxgd.optim.lion_rule import lion as lion
from jaxgd.optim.loss_scale import with_loss_scale as with_loss_scale
from jaxgd.optim.membership import carry_over as carry_over
from jaxgd.optim.membership import per_parameter as per_parameter
from jaxgd.optim.muon_rule import muon as muon
from jaxgd.optim.nadam_rule import nadam as nadam
from jaxgd.optim.names import by_name as by_name
from jaxgd.optim.radam_rule import radam as radam
from jaxgd.optim.rmsprop_rule import rmsprop as rmsprop
from jaxgd.optim.rprop_rule import rprop as rprop
from jaxgd.optim.schedule_free_rule import averaged_params as averaged_params
from jaxgd.optim.schedule_free_rule import schedule_free_adamw as schedule_free_adamw
from jaxgd.optim.schedule_free_rule import schedule_free_sgd as schedule_free_sgd
from jaxgd.optim.sgd_rule import sgd as sgd
from jaxgd.optim.skipping import skip_nonfinite as skip_nonfinite
from jaxgd.optim.sparse_adam_rule import sparse_adam as sparse_adam
