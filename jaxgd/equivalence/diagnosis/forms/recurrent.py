"""LSTM and GRU in torch's layout: gates stacked along the first axis of the weights."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from jaxgd.equivalence.diagnosis.forms.form import Array, Form, Layer

_BIASES = {
    "both": "both biases",
    "ih": "the inputs' bias alone",
    "hh": "the state's bias alone",
    "none": "no bias",
}


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(x / 2))


@dataclass(frozen=True)
class Recurrent:
    """All states of the last layer."""

    gates: str  # "ifgo" of an LSTM, "rzn" of a GRU, in the order of the weights
    batch_first: bool
    biases: str = "both"
    forget: float = 0.0
    reset_before: bool = False  # GRU: the reset gate multiplies the state, not the product
    update_keeps: bool = True  # GRU: z keeps the old state, 1 - z takes the new one

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        x = layer.x.swapaxes(0, 1) if self.batch_first else layer.x
        depth = 0
        while f"weight_ih_l{depth}" in layer.params:
            x = self._states(x, layer, f"l{depth}")
            depth += 1
        return x.swapaxes(0, 1) if self.batch_first else x

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:  # noqa: ARG002
        """The gates' order, the biases, the forget bias; a GRU's reset and update."""
        honest = self.gates
        names = [*permutations(honest)]
        for order in names:
            gates = "".join(order)
            if gates != honest:
                told = f"the gates are in the order {', '.join(gates)}, not {', '.join(honest)}"
                yield told, replace(self, gates=gates)(layer)
        for kind, told in _BIASES.items():
            if kind != self.biases and "bias_ih_l0" in layer.params:
                yield f"{told}, not {_BIASES[self.biases]}", replace(self, biases=kind)(layer)
        if len(honest) == 4:
            yield "the forget gate has a bias of 1 more", replace(self, forget=1.0)(layer)
            return
        before = replace(self, reset_before=not self.reset_before)
        where = "before" if before.reset_before else "after"
        yield f"the reset gate multiplies {where} the product with the state", before(layer)
        kept = replace(self, update_keeps=not self.update_keeps)
        yield "the update gate takes the new state, where it should keep the old one", kept(layer)

    def _states(self, x: Array, layer: Layer, of: str) -> Array:
        params = layer.params
        inputs, states = params[f"weight_ih_{of}"], params[f"weight_hh_{of}"]
        none = np.zeros(len(inputs))
        has = f"bias_ih_{of}" in params and self.biases != "none"
        entering = params[f"bias_ih_{of}"] if has and self.biases != "hh" else none
        staying = params[f"bias_hh_{of}"] if has and self.biases != "ih" else none
        h = np.zeros((x.shape[1], states.shape[1]))
        c, made = h, []
        step = self._lstm if len(self.gates) == 4 else self._gru
        for row in x:
            h, c = step(row @ inputs.T + entering, h, c, states, staying)
            made.append(h)
        return np.stack(made)

    def _lstm(
        self, entering: Array, h: Array, c: Array, states: Array, bias: Array
    ) -> tuple[Array, Array]:
        parts = np.split(entering + h @ states.T + bias, 4, axis=-1)
        gate = dict(zip(self.gates, parts, strict=True))
        c = _sigmoid(gate["f"] + self.forget) * c + _sigmoid(gate["i"]) * np.tanh(gate["g"])
        return _sigmoid(gate["o"]) * np.tanh(c), c

    def _gru(
        self, entering: Array, h: Array, c: Array, states: Array, bias: Array
    ) -> tuple[Array, Array]:
        gate = dict(zip(self.gates, np.split(entering, 3, axis=-1), strict=True))
        matrix = dict(zip(self.gates, np.split(states, 3, axis=0), strict=True))
        shift = dict(zip(self.gates, np.split(bias, 3), strict=True))
        of_state = {name: h @ matrix[name].T + shift[name] for name in self.gates}
        r, z = (_sigmoid(gate[name] + of_state[name]) for name in "rz")
        reset = (r * h) @ matrix["n"].T + shift["n"] if self.reset_before else r * of_state["n"]
        new = np.tanh(gate["n"] + reset)
        return (1 - z) * new + z * h if self.update_keeps else z * new + (1 - z) * h, c


def recurrent_forms(layer: Layer) -> Iterator[Form]:
    """The forms of a layer with weights from inputs to gates, and from its state to gates."""
    inputs, states = (layer.params.get(f"weight_{of}_l0") for of in ("ih", "hh"))
    if inputs is None or states is None or layer.x.ndim != 3:
        return
    times = len(states) // states.shape[1]
    for gates in {4: ("ifgo",), 3: ("rzn",)}.get(times, ()):
        for batch_first in (True, False):
            yield Recurrent(gates, batch_first)
