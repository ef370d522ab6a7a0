"""Tables from files, made ready to train on, and the models that are trained on them."""

from typing import TYPE_CHECKING

from jaxgd.lazy_names import names_from

if TYPE_CHECKING:
    from jaxgd.tabular.bundled import breast_cancer as breast_cancer
    from jaxgd.tabular.dataset import Account as Account
    from jaxgd.tabular.dataset import Dataset as Dataset
    from jaxgd.tabular.dataset import Part as Part
    from jaxgd.tabular.dataset import prepare as prepare
    from jaxgd.tabular.encoding import Column as Column
    from jaxgd.tabular.model import Model as Model
    from jaxgd.tabular.model_file import load_model as load_model
    from jaxgd.tabular.model_file import save_model as save_model
    from jaxgd.tabular.predictor import Predictor as Predictor
    from jaxgd.tabular.reading import read_table as read_table
    from jaxgd.tabular.scaling import Standardizer as Standardizer
    from jaxgd.tabular.scaling import standardizer as standardizer
    from jaxgd.tabular.schema import Schema as Schema
    from jaxgd.tabular.table import Table as Table
    from jaxgd.tabular.target import Target as Target
    from jaxgd.tabular.target import Task as Task

_HOMES = {
    "bundled": "breast_cancer",
    "dataset": "Account Dataset Part prepare",
    "encoding": "Column",
    "model": "Model",
    "model_file": "load_model save_model",
    "predictor": "Predictor",
    "reading": "read_table",
    "scaling": "Standardizer standardizer",
    "schema": "Schema",
    "table": "Table",
    "target": "Target Task",
}

__getattr__, __dir__, __all__ = names_from(__name__, _HOMES)
