"""Gradient descent as pure functions in JAX, checked against PyTorch at every update."""

from typing import TYPE_CHECKING

from jaxgd.lazy_names import names_from

if TYPE_CHECKING:
    from jaxgd import equivalence as equivalence
    from jaxgd import figures as figures
    from jaxgd import interop as interop
    from jaxgd import optim as optim
    from jaxgd import scale as scale
    from jaxgd import sklearn as sklearn
    from jaxgd import storage as storage
    from jaxgd import streaming as streaming
    from jaxgd import study as study
    from jaxgd import tabular as tabular
    from jaxgd.batches import plan as plan
    from jaxgd.blocked import blocked_sgd as blocked_sgd
    from jaxgd.descent import State as State
    from jaxgd.descent import descend as descend
    from jaxgd.descent import init_state as init_state
    from jaxgd.descent import step as step
    from jaxgd.descent import strong as strong
    from jaxgd.descent import train as train
    from jaxgd.descent import visit as visit
    from jaxgd.epochs import gd as gd
    from jaxgd.epochs import minibatch as minibatch
    from jaxgd.epochs import sgd as sgd
    from jaxgd.fitting import Diverged as Diverged
    from jaxgd.fitting import Fit as Fit
    from jaxgd.fitting import History as History
    from jaxgd.fitting import Interrupted as Interrupted
    from jaxgd.fitting import Position as Position
    from jaxgd.fitting import Progressed as Progressed
    from jaxgd.fitting import Stop as Stop
    from jaxgd.fitting import fit as fit
    from jaxgd.fitting import jsonl as jsonl
    from jaxgd.host_loop import walk as walk
    from jaxgd.interop import export_run as export_run
    from jaxgd.interop import load_run as load_run
    from jaxgd.keys import keyed as keyed
    from jaxgd.keys import row_keys as row_keys
    from jaxgd.losses import binary_cross_entropy as binary_cross_entropy
    from jaxgd.losses import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
    from jaxgd.losses import cross_entropy as cross_entropy
    from jaxgd.losses import squared_error as squared_error
    from jaxgd.losses import supervised as supervised
    from jaxgd.models import Linear as Linear
    from jaxgd.models import init_linear as init_linear
    from jaxgd.models import init_mlp as init_mlp
    from jaxgd.models import linear as linear
    from jaxgd.models import logistic as logistic
    from jaxgd.models import mlp as mlp
    from jaxgd.objective import mean as mean
    from jaxgd.order import shuffle as shuffle
    from jaxgd.order import whole as whole
    from jaxgd.precision import in_precision as in_precision
    from jaxgd.stopping import Patience as Patience
    from jaxgd.stopping import Stopped as Stopped
    from jaxgd.stopping import train_until as train_until
    from jaxgd.streaming import stream as stream
    from jaxgd.tabular import load_model as load_model
    from jaxgd.version import __version__ as __version__

_HOMES = {
    "batches": "plan",
    "blocked": "blocked_sgd",
    "descent": "State descend init_state step strong train visit",
    "epochs": "gd minibatch sgd",
    "fitting": "Diverged Fit History Interrupted Position Progressed Stop fit jsonl",
    "host_loop": "walk",
    "interop": "export_run load_run",
    "keys": "keyed row_keys",
    "losses": (
        "binary_cross_entropy binary_cross_entropy_with_logits cross_entropy "
        "squared_error supervised"
    ),
    "models": "Linear init_linear init_mlp linear logistic mlp",
    "objective": "mean",
    "order": "shuffle whole",
    "precision": "in_precision",
    "stopping": "Patience Stopped train_until",
    "streaming": "stream",
    "tabular": "load_model",
    "version": "__version__",
}
_MODULES = "equivalence figures interop optim scale sklearn storage streaming study tabular"

__getattr__, __dir__, __all__ = names_from(__name__, _HOMES, _MODULES)
