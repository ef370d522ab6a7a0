"""The formulas of lion_pytorch and schedulefree, one number at a time in doubles.

Pinned from lion-pytorch 0.2.5 and schedulefree 1.4.1, and compared with them where they are
installed: pip install lion-pytorch schedulefree.
"""

import math


def lion(y, gradients, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
    m = 0.0
    for g in gradients:
        y *= 1 - lr * weight_decay
        average = m * betas[0] + (1 - betas[0]) * g
        y -= lr * (math.copysign(1, average) if average else 0.0)
        m = m * betas[1] + (1 - betas[1]) * g
        yield y


def schedule_free_adamw(y, gradients, lr=0.0025, betas=(0.9, 0.999), eps=1e-8, **options):
    v = 0.0

    def scaled(g, k):
        nonlocal v
        v = v * betas[1] + (1 - betas[1]) * g * g
        return g / (math.sqrt(v / (1 - betas[1] ** (k + 1))) + eps)

    return _free(y, gradients, lr, betas[0], scaled, **options)


def schedule_free_sgd(y, gradients, lr=1.0, momentum=0.9, **options):
    return _free(y, gradients, lr, momentum, lambda g, k: g, **options)


def _free(
    y, gradients, lr, beta, scaled, weight_decay=0, warmup_steps=0, r=0.0, weight_lr_power=2.0
):
    z, largest, total = y, -1.0, 0.0
    for k, g in enumerate(gradients):
        rate = lr * ((k + 1) / warmup_steps if k < warmup_steps else 1.0)
        largest = max(rate, largest)
        weight = (k + 1) ** r * largest**weight_lr_power
        total += weight
        share = weight / total
        g = scaled(g, k) + weight_decay * y
        y = y + share * (z - y) + rate * (beta * (1 - share) - 1) * g
        z -= rate * g
        yield y
