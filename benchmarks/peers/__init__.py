"""Who is timed at what. A peer's target, given a case, returns the work, which counts its units."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A name for the table, where its work is built, and the kinds of case it takes part in."""

    name: str
    target: str
    kinds: frozenset[str]
    slow_start: bool = False


def _peer(name: str, target: str, kinds: str, slow_start: bool = False) -> Peer:
    return Peer(name, f"benchmarks.peers.{target}", frozenset(kinds.split()), slow_start)


PEERS = [
    _peer("jaxgd", "ours:run", "sgd squares variant minibatch mlp gd sweep grid table"),
    _peer("jaxgd, sgd of a linear predictor", "ours:supervised_sgd", "sgd"),
    _peer("jaxgd, sgd of any loss", "ours:general_sgd", "sgd"),
    _peer("jaxgd sweep, the whole command", "searches:command", "grid"),
    _peer("jaxgd, 200 single runs", "searches:single_runs", "sweep grid"),
    _peer("jaxgd.fit, 200 times", "searches:fits", "sweep grid"),
    _peer("optax, a program called 200 times", "searches:optax_programs", "sweep grid"),
    _peer("torch.func and vmap", "searches:torch_vmap", "sweep grid"),
    _peer("scikit-learn GridSearchCV, all cores", "searches:grid_search", "sweep grid"),
    _peer("Optuna alone, around optax", "searches:optuna_alone", "sweep grid"),
    _peer("optax in a scan", "optax_loop:in_a_scan", "sgd variant"),
    _peer("optax, a jitted step a call", "optax_loop:run", "sgd minibatch"),
    _peer("Keras on JAX", "keras_fit:run", "minibatch"),
    _peer("torch, eager with DataLoader", "torch_loops:with_loader", "sgd minibatch table"),
    _peer("torch, eager without DataLoader", "torch_loops:eager", "sgd minibatch gd table"),
    _peer("torch, by hand without autograd", "torch_loops:by_hand", "sgd minibatch gd"),
    _peer("torch.compile", "torch_loops:compiled", "minibatch gd", slow_start=True),
    _peer("scikit-learn SGDClassifier", "scikit:classifier", "sgd"),
    _peer("scikit-learn SGDRegressor", "scikit:regressor", "squares"),
    _peer("scikit-learn SGD", "scikit:variant", "variant"),
    _peer("scikit-learn MLPClassifier", "scikit:perceptron", "mlp"),
    _peer("Vowpal Wabbit", "vowpal:run", "sgd"),
    _peer("limit: the dependent chain", "limits:dependent_chain", "sgd squares"),
    _peer("limit: one read of the rows", "limits:one_read", "sgd minibatch gd"),
    _peer("a shuffled copy of the rows", "limits:gather", "sgd minibatch"),
]
