"""What a proof should tell of each fault of the ports: a part of the cause's words."""

CAUSES = {
    # the optimizer
    "learning rate × 1.0001": "the learning rate is 1.0001 times as large",
    "Adam's eps 1e-7": "eps is 1e-07",
    "beta2 .9991": "0.9991",
    "weight decay 1e-3": "decay",
    "Nesterov": "momentum is Nesterov's",
    # the loss
    "loss summed": "summed over the batch",
    "label smoothing .01": "label smoothing of 0.01",
    # activations
    "leaky": "LeakyReLU of slope 0.01, not ReLU",
    "tanh": "tanh, not ReLU",
    "tanh GELU": "GELU by tanh, not exact GELU",
    "no sigmoid": "the identity, not sigmoid",
    "slope .01": "the negative slope is 0.01, not 0.1",
    # pooling, layouts, which part is taken
    "pool shifted": "the windows are shifted by one",
    "pool divides by 9": "the output is 0.444444 times as large",
    "channels last": "flattened with its second axis last",
    "first state": "the first of 'lstm' along the second axis",
    "bag summed": "the sum of a bag's rows, not the mean",
    # norms
    "norm eps 1e-3": "the norm's eps is 0.001, not 1e-05",
    "norm eps 1e-6": "the norm's eps is 1e-06, not 1e-05",
    "LayerNorm eps 1e-6": "the norm's eps is 1e-06, not 1e-05",
    "momentum .9": "momentum 0.9, not 0.1",
    "unbiased variance": "the norm's variance is unbiased",
    "biased running variance": "the running variance is biased",
    "five groups": "normalized over 5 groups of channels, not over 2",
    "norm last": "it comes after 'layers.0.self_attn', not before it",
    # attention and recurrent layers
    "no scale": "the scores are not scaled",
    "heads interleaved": "the heads are interleaved",
    "gates i, o, g, f": "the gates are in the order i, o, g, f",
    "one bias": "the inputs' bias alone, not both biases",
    "forget bias 1": "the forget gate has a bias of 1 more",
    # what Flax, Equinox and Haiku have otherwise
    "NNX's own running variance": "the running variance is biased",
    "torch's momentum": "momentum 0.9, not 0.1",
    "Flax's LayerNorm eps": "the norm's eps is 1e-06, not 1e-05",
    "Flax's GroupNorm eps": "the norm's eps is 1e-06, not 1e-05",
    "Flax's GELU": "GELU by tanh, not exact GELU",
    "exact GELU": "exact GELU, not GELU by tanh",
    "GELU": "GELU by tanh, not SiLU",
    "Haiku's forget bias": "the forget gate has a bias of 1 more",
    "torch's gates": "the gates are in the order",
    "four groups": "normalized over 4 groups of channels, not over 2",
    "kernel not turned": "the kernel is flipped",
    "SAME": "padded by",
    "no positions": "it is given the output of 'embedding'",
    "not causal": "no causal mask",
    "head without gradient": "'wte.weight' gets no gradient through 'head'",
    "mean of states": "it is given the mean of 'gru' over the second axis",
}


def judged(fault: str, cause: str) -> str:
    """Whether a cause is told right, as "unknown", or wrong; a fault without an entry is none."""
    if cause == "unknown":
        return "unknown"
    return "named" if fault in CAUSES and CAUSES[fault] in cause else "wrong"
