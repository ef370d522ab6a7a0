"""Every tolerance of the suite, each with the reason it was measured from.

All are relative to the scale of the compared leaf (max |error| / max |expected|) unless the
name says otherwise.
"""

# Same formula, another order of summation, 200 updates in f64: measured up to 4e-15 for logistic
# and MLP descents. The gate leaves two orders of magnitude and still catches a relative fault of
# 1e-11 in any constant.
PARITY_F64 = 1e-12

# A schedule against torch's scheduler, relative to the largest rate, 600 counts in f64.
SCHEDULE_F64 = 1e-12

# torch.optim over torch's own float32 gradients, 200 updates: measured up to 1e-6 where the update
# does not amplify rounding (FMA contraction and the order of operations differ).
OPTIM_F32 = 2e-6

# Where the update does amplify it (momentum over gradients of 1e4, sign-like steps near zero),
# torch's float32 run is itself off its float64 run; measured ratios of ours to that: up to 1.5.
OPTIM_F32_OF_TORCHS_OWN = 4.0

# Updates in float64, where torch's own scalars cancel in double: optimizer -> bound.
OPTIM_UPDATES_F64: dict[str, float] = {}
