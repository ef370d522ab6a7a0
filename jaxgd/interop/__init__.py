"""Other frameworks' trainings, to and from, and runs as files that run without their source."""

from jaxgd.interop import torch as torch
from jaxgd.interop.exported_predictor import (
    ExportedPredictor,
    export_predictor,
    load_predictor,
)
from jaxgd.interop.exported_run import ExportedRun, export_run, load_run

__all__ = [
    "ExportedPredictor",
    "ExportedRun",
    "export_predictor",
    "export_run",
    "load_predictor",
    "load_run",
    "torch",
]
