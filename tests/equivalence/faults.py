"""Pairs with a planted fault."""

from tests.equivalence.rate_faults import learning_rates, schedule_and_clipping
from tests.equivalence.rule_faults import eps_and_correction, momentum, weight_decay
from tests.equivalence.setting_faults import clips, groups, other_rules, schedules, values
from tests.equivalence.upstream_faults import batches_and_start, loss_and_gradient

FAULTS = [
    *learning_rates(),
    *weight_decay(),
    *eps_and_correction(),
    *momentum(),
    *schedule_and_clipping(),
    *values(),
    *groups(),
    *clips(),
    *schedules(),
    *other_rules(),
    *loss_and_gradient(),
    *batches_and_start(),
]
