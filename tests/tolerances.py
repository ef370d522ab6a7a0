"""Every tolerance of the suite, each with the reason it was measured from.

All are relative to the scale of the compared leaf (max |error| / max |expected|) unless the
name says otherwise.
"""

from typing import NamedTuple

# Same formula, another order of summation, 200 updates in f64: measured up to 4e-15 for logistic
# and MLP descents. The gate leaves two orders of magnitude and still catches a relative fault of
# 1e-11 in any constant.
PARITY_F64 = 1e-12

# One evaluation of a loss or its slope against torch: exp, log and log1p of XLA and of torch differ
# by up to 2 ULP (1.2e-7 in f32, 2.2e-16 in f64); the slope divides by p (1 - p), which adds two
# more roundings. Relative, and absolute below 1.
LOSS = {"float32": 1e-6, "float64": 1e-14}


class Budget(NamedTuple):
    """What two honest trainings may differ by: in values, and in the updates between them."""

    value: float
    update: float


# Closed-loop descents over 200 updates, logistic and MLP, plain and with momentum, relative to the
# largest entry; updates relative to the largest entry of the same update. Measured worst: f64
# values 9e-16 and updates 3e-13 (late updates are small, so the rounding of params weighs more);
# f32 values 7e-7 and updates 2e-4. A learning rate off by 1e-4 moves values by 5e-6 and updates
# by 1e-4 in every precision.
TRAINING = {"float64": Budget(1e-12, 1e-11), "float32": Budget(3e-6, 1e-3)}

# How fast rounding grows in a chaotic run, fitted over the twenty updates before it saturates: the
# rates of single starts of the logistic map scatter by up to a quarter around its exponent.
CHAOTIC_RATE = 0.4
