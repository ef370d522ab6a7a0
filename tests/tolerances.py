"""Every tolerance of the suite, each with the reason it was measured from.

All are relative to the scale of the compared leaf (max |error| / max |expected|) unless the
name says otherwise.
"""

# Same formula, another order of summation, 200 updates in f64: measured up to 4e-15 for logistic
# and MLP descents. The gate leaves two orders of magnitude and still catches a relative fault of
# 1e-11 in any constant.
PARITY_F64 = 1e-12

# How fast rounding grows in a chaotic run, fitted over the twenty updates before it saturates: the
# rates of single starts of the logistic map scatter by up to a quarter around its exponent.
CHAOTIC_RATE = 0.4
