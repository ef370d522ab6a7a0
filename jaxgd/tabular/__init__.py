"""Tables from files, made ready to train on, and the models that are trained on them."""

from jaxgd.tabular.dataset import Dataset, Part, prepare
from jaxgd.tabular.model import Model
from jaxgd.tabular.model_file import load_model, save_model
from jaxgd.tabular.predictor import Predictor
from jaxgd.tabular.scaling import Standardizer, standardizer
from jaxgd.tabular.schema import Schema
from jaxgd.tabular.table import Table, breast_cancer, read_table
from jaxgd.tabular.target import Target, Task

__all__ = [
    "Dataset",
    "Model",
    "Part",
    "Predictor",
    "Schema",
    "Standardizer",
    "Table",
    "Target",
    "Task",
    "breast_cancer",
    "load_model",
    "prepare",
    "read_table",
    "save_model",
    "standardizer",
]
