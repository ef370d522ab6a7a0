"""Other frameworks' trainings, to and from."""

from jaxgd.interop import torch as torch
