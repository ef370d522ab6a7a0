"""One setting of each optimizer that brings all of its state into play."""

# Options under which every other option matters, and the buffers that the state then holds.
SUBJECTS = {
    "adadelta": ({"weight_decay": 0.1}, ["e_g", "e_x"]),
    "adafactor": (
        {"weight_decay": 0.1, "eps": (1e-6, 1.0)},
        ["t", "row_var", "col_var", "variance"],
    ),
    "adagrad": ({"lr_decay": 0.05, "initial_accumulator_value": 1e-15}, ["t", "sum"]),
    "adam": (
        {"weight_decay": 0.1, "amsgrad": True},
        ["t", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
    ),
    "adamax": ({"weight_decay": 0.1}, ["t", "exp_avg", "exp_inf"]),
    "adamw": ({}, ["t", "exp_avg", "exp_avg_sq"]),
    "asgd": ({"weight_decay": 0.1, "lambd": 0.1, "t0": 0}, ["step"]),
    "nadam": ({"weight_decay": 0.1}, ["t", "exp_avg", "exp_avg_sq", "mu_product"]),
    "radam": ({"weight_decay": 0.1}, ["t", "exp_avg", "exp_avg_sq"]),
    "rmsprop": (
        {"weight_decay": 0.1, "momentum": 0.9, "centered": True},
        ["nu", "mu", "trace"],
    ),
    "rprop": ({"step_sizes": (1e-3, 0.02)}, ["prev", "step_size"]),
    "sgd": ({"weight_decay": 0.1, "momentum": 0.9, "dampening": 0.5}, ["trace", "count"]),
    "sparse_adam": ({}, ["t", "exp_avg", "exp_avg_sq"]),
}
