"""Every scheduler of torch.optim.lr_scheduler as a pure function of the update count.

The learning rate of torch's update number t (0-based) is `schedule(t)`: in a torch loop,
`scheduler.step()` follows `optimizer.step()`. Where a torch scheduler reads the base learning
rate from its optimizer, the function here takes it as `lr`. Values are computed in the widest
enabled float. torch's schedulers multiply the last rate at every step and so drift from these
closed forms in the last bits.
"""

from jaxgd.optim.schedules.averaging import swa_lr
from jaxgd.optim.schedules.compositions import Composition, chained_scheduler, sequential_lr
from jaxgd.optim.schedules.cosine import cosine_annealing_lr, cosine_annealing_warm_restarts
from jaxgd.optim.schedules.cycles import Cycle, cyclic_lr, one_cycle_lr
from jaxgd.optim.schedules.decays import (
    constant_lr,
    exponential_lr,
    lambda_lr,
    linear_lr,
    multi_step_lr,
    multiplicative_lr,
    polynomial_lr,
    step_lr,
)
from jaxgd.optim.schedules.plateau import PlateauSchedule, PlateauState, reduce_lr_on_plateau
from jaxgd.optim.schedules.schedule import Schedule

__all__ = [
    "Composition",
    "Cycle",
    "PlateauSchedule",
    "PlateauState",
    "Schedule",
    "chained_scheduler",
    "constant_lr",
    "cosine_annealing_lr",
    "cosine_annealing_warm_restarts",
    "cyclic_lr",
    "exponential_lr",
    "lambda_lr",
    "linear_lr",
    "multi_step_lr",
    "multiplicative_lr",
    "one_cycle_lr",
    "polynomial_lr",
    "reduce_lr_on_plateau",
    "sequential_lr",
    "step_lr",
    "swa_lr",
]
