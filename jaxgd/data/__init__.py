"""Tables from files, made ready to train on: target found, features checked, scaled and split."""

from jaxgd.data.dataset import Dataset, Part, feature_matrix, in_default_float, prepare
from jaxgd.data.scaling import Standardizer, standardizer
from jaxgd.data.table import Table, breast_cancer, read_table
from jaxgd.data.target import Target, Task

__all__ = [
    "Dataset",
    "Part",
    "Standardizer",
    "Table",
    "Target",
    "Task",
    "breast_cancer",
    "feature_matrix",
    "in_default_float",
    "prepare",
    "read_table",
    "standardizer",
]
