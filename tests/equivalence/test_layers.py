"""Activations in recordings, and the first layer that parts: in a proof, a diagnosis and a diff."""

import tracemalloc
from collections import OrderedDict
from functools import partial

import jax
import numpy as np
import pytest
import torch

from jaxgd.cli.__main__ import main
from jaxgd.equivalence import DiskRecording, Recorder, Update, diagnose
from jaxgd.equivalence.diagnosis.first_layer import parting_layer
from jaxgd.equivalence.diagnosis.forward_causes import forward_cause
from jaxgd.equivalence.diagnosis.model_causes import model_cause
from jaxgd.equivalence.recordings.layers import layers_of
from jaxgd.interop.torch import capture
from tests.equivalence.ports.models import PORTS
from tests.equivalence.ports.porting import jax_step, proof, torch_training

PORT = {port.name: port for port in PORTS}


def record(folder, updates):
    recorder = Recorder(folder)
    recorder.start(updates[0].params, updates[0].buffers)
    for u in updates:
        recorder.update(
            u.gradient, u.updated, batch=u.batch, outputs=u.outputs, loss=np.float32(u.loss),
            updated_buffers=u.updated_buffers, activations=u.activations,
        )  # fmt: skip
    return DiskRecording(folder)


def freely(port, updates=2, **faults):
    """The port's own training, from the reference's start."""
    expected = torch_training(port, 0, np.float32)[:updates]
    step, params, made = jax_step(port, np.float32, **faults), expected[0].params, []
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for update in expected:
            made.append(step(params, update.batch)._replace(batch=update.batch))
            params = made[-1].updated
    return made, expected


class TestOnDisk:
    def test_layers_are_read_back_in_their_order(self, tmp_path):
        expected = torch_training(PORT["LSTM"], 0, np.float32)[:2]
        read = record(tmp_path / "run", expected)
        for ours, theirs in zip(read, expected, strict=True):
            both = zip(layers_of(ours.activations), layers_of(theirs.activations), strict=True)
            names = []
            for (name, mine), (other, wanted) in both:
                assert name == other
                names.append(name)
                for part, of in zip(mine, wanted, strict=True):
                    assert part.keys() == of.keys()
                    for path, leaf in of.items():
                        np.testing.assert_array_equal(np.asarray(part[path]), leaf)
            assert names == ["embedding", "lstm", "out"]
        assert read[0].activations["lstm"].keys() == {"output", "inputs", "gradient"}

    def test_a_layer_may_be_its_output_alone_and_have_any_name(self, tmp_path):
        layers = {"mlp/~/linear_0": np.ones(3), "1.output": (np.zeros(2), {"h": np.ones(1)})}
        recorder = Recorder(tmp_path / "run")
        recorder.start({"w": np.ones(2)})
        recorder.update({"w": np.ones(2)}, {"w": np.ones(2)}, activations=layers)
        (update,) = DiskRecording(tmp_path / "run")
        found = {name: record.output for name, record in layers_of(update.activations)}
        assert list(found) == ["mlp/~/linear_0", "1.output"]
        assert found["1.output"].keys() == {"0", "1.h"}

    def test_comparing_takes_memory_for_one_layer(self, tmp_path):
        """Twenty layers of 0.8 MB on each side, none of which parts: less than five, of forty."""
        layers = {f"layer {i}": np.full((100, 1000), 1.0 + i) for i in range(20)}
        plain = Update({"w": np.ones(2)}, {"w": np.ones(2)}, {"w": np.ones(2)}, activations=layers)
        left, right = (record(tmp_path / name, [plain])[0] for name in "ab")
        tracemalloc.start()
        assert parting_layer(left, right) is None
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5 * 0.8e6

    def test_infinities_of_a_mask_are_the_same(self):
        """The layer behind the mask parts, not the mask."""

        def run(out):
            layers = {"mask": np.array([[0.0, -np.inf], [0.0, 0.0]]), "out": np.full(3, out)}
            leaf = {"w": np.ones(2)}
            return Update(leaf, leaf, leaf, activations=layers)

        assert parting_layer(run(1.0), run(1.0)) is None
        assert parting_layer(run(1.1), run(1.0)).layer == "out"


@pytest.mark.usefixtures("quick_compile_here")
class TestProof:
    def test_a_fault_is_told_with_its_layer_its_deviation_and_the_bound(self):
        found = proof(PORT["bag of embeddings"], eps=1e-6)
        assert (found.verdict, found.stage) == ("parted", "forward")
        assert (found.layer.layer, found.layer.direction) == ("norm", "forward")
        assert found.layer.deviation > found.layer.bound > 0
        assert found.cause == "in 'norm', the norm's eps is 1e-06, not 1e-05"
        assert "First layer that parts, forward: 'norm', off by" in str(found)

    def test_a_loss_that_parts_has_its_first_layer_backward(self):
        found = proof(PORT["bag of embeddings"], smoothing=0.01)
        assert (found.stage, found.cause) == ("loss", "label smoothing of 0.01")
        assert (found.layer.layer, found.layer.direction) == ("out", "backward")


@pytest.mark.usefixtures("quick_compile_here")
class TestDiagnosis:
    def test_free_recordings_are_told_the_layer_by_their_tolerance(self):
        ours, theirs = freely(PORT["MLP"], activation=jax.nn.leaky_relu)
        found = diagnose(ours, theirs)
        assert (found.update, found.stage, found.layer.layer) == (1, "forward", "1")
        assert found.layer.bound == pytest.approx(4e-5 + 32 * 2**-23)
        assert found.cause == "in '1', LeakyReLU of slope 0.01, not ReLU"
        assert diagnose(*freely(PORT["MLP"])).layer is None

    def test_rows_in_another_order_are_the_same_layers(self):
        ours, theirs = freely(PORT["MLP"])
        turned = [
            u._replace(
                batch=tuple(part[::-1] for part in u.batch), outputs=u.outputs[::-1],
                activations={
                    name: jax.tree.map(lambda x: x[::-1], layer)
                    for name, layer in u.activations.items()
                },
            )
            for u in ours
        ]  # fmt: skip
        assert parting_layer(turned[0], theirs[0]) is None

    def test_diff_prints_the_layer(self, tmp_path, capsys):
        ours, theirs = freely(PORT["MLP"], activation=jax.nn.leaky_relu)
        record(tmp_path / "a", ours)
        record(tmp_path / "b", theirs)
        with pytest.raises(SystemExit):
            main(["diff", str(tmp_path / "a"), str(tmp_path / "b")])
        told = capsys.readouterr().out
        assert "First layer that parts, forward: '1', off by" in told
        assert "Cause: in '1', LeakyReLU of slope 0.01, not ReLU." in told

    def test_another_shape_is_told_and_another_layout_is_refused(self):
        layer = np.arange(24.0).reshape(2, 3, 4)
        of = partial(Update, {}, {}, {})
        found = parting_layer(of(activations={"a": layer[:, :2]}), of(activations={"a": layer}))
        assert str(found) == (
            "First layer that parts, forward: 'a', of shape float64[2, 2, 4], not float64[2, 3, 4]."
        )
        with pytest.raises(ValueError, match="A layer has one layout on both sides; 'a' is"):
            parting_layer(of(activations={"a": layer.mT}), of(activations={"a": layer}))


class Tied(torch.nn.Module):
    """An embedding that is its head's weight, too; a padding row; three more layers."""

    def __init__(self, tied=True, padding=None, stopped=False):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(11, 6, padding_idx=padding)
        self.hidden = torch.nn.Linear(6, 6)
        self.head = torch.nn.Linear(6, 11, bias=False)
        self.tied, self.stopped = tied, stopped
        with torch.no_grad():
            torch.nn.init.normal_(self.embedding.weight)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        h = self.embedding(x).mean(1)
        h = torch.tanh(self.hidden(h.detach() if self.stopped else h))
        head = self.head.weight
        return self.head(h) if self.tied else torch.nn.functional.linear(h, head.detach())


def backward(model, smoothing=0.0):
    rng = np.random.default_rng(0)
    x, y = torch.tensor(rng.integers(0, 11, (8, 5))), torch.tensor(rng.integers(0, 11, 8))
    with capture(model) as layers:
        outputs = model(x)
        loss = torch.nn.functional.cross_entropy(outputs, y, label_smoothing=smoothing)
        loss.backward()
    params = dict(model.named_parameters())
    gradient = {n: p.grad for n, p in params.items() if p.grad is not None}
    return Update(params, gradient, params, (x, y), outputs, loss.item(), activations=layers)


FLOWS = {
    "untied": (
        {"tied": False}, "'embedding.weight' gets no gradient through 'head': it is not tied",
    ),
    "padding_idx": ({"padding": 3}, "row 3 of 'embedding.weight' gets no gradient"),
    "nothing": ({}, None),
}  # fmt: skip


@pytest.mark.parametrize("fault", FLOWS)
def test_where_a_gradient_does_not_flow(fault):
    planted, cause = FLOWS[fault]
    base = {"tied": fault != "padding_idx"}
    actual, expected = backward(Tied(**(base | planted))), backward(Tied(**base))
    told = model_cause([actual], [expected], 0, "gradient", None)
    assert told is cause if cause is None else cause in told
    if cause is not None:
        assert (model_cause([expected], [actual], 0, "gradient", None) is None) == (
            fault == "untied"  # whose layer was not recorded
        )


def test_a_stopped_gradient_is_told_by_its_leaf():
    model = Tied()
    expected = backward(model)
    frozen = Tied()
    frozen.hidden.bias.requires_grad_(False)
    actual = backward(frozen)
    told = model_cause([actual], [expected], 0, "gradient", None)
    assert told == "no gradient reaches 'hidden.bias'"


@pytest.mark.parametrize("size", [0.01, 0.1, 0.137])
def test_label_smoothing_by_the_gradient_and_by_the_loss_alone(size):
    actual, expected = backward(Tied(), smoothing=size), backward(Tied())
    assert model_cause([actual], [expected], 0, "loss", None) == f"label smoothing of {size:g}"
    told = model_cause([expected], [actual], 0, "loss", None)
    assert told == f"no label smoothing of {size:g}"
    bare = [u._replace(activations=None) for u in (actual, expected)]
    told = model_cause(bare[:1], bare[1:], 0, "loss", None)
    assert told == (None if size == 0.137 else f"label smoothing of {size:g}")


def between(function, dtype=torch.float32):
    """Two dense layers, and a function between them that is no module."""
    torch.manual_seed(0)
    first, second = (torch.nn.Linear(6, 6).to(dtype) for _ in "ab")
    model = torch.nn.Module()
    model.first, model.second = first, second
    model.forward = lambda x: second(function(first(x)))
    x = torch.tensor(np.random.default_rng(0).normal(size=(9, 6))).to(dtype)
    with capture(model) as layers:
        outputs = model(x)
    return Update(dict(model.named_parameters()), {}, {}, outputs=outputs, activations=layers)


@pytest.mark.parametrize(
    ("planted", "cause"),
    [
        (torch.nn.GELU("tanh"), "what it is given of 'first': GELU by tanh, not exact GELU"),
        (torch.nn.GELU(), None),
        (lambda x: torch.nn.functional.gelu(x) + 0.01 * x**2, None),
        (lambda x: 2 * torch.nn.functional.gelu(x), "2 times"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_function_between_two_layers_is_named_beside_them(planted, cause, dtype):
    expected = between(torch.nn.functional.gelu, dtype)
    actual = between(planted, dtype)
    told = forward_cause(actual, expected, "second")
    assert told is None if cause is None else cause in told


NORM = partial(torch.nn.BatchNorm2d, 5)


def kept(norm, biased=False):
    """The buffers before and after one batch, and the layer."""
    x = torch.tensor(np.random.default_rng(0).normal(1, 2, size=(4, 5, 3, 3)).astype(np.float32))
    before = {f"norm.{n}": b.numpy().copy() for n, b in norm.named_buffers()}
    model = torch.nn.Sequential(OrderedDict(norm=norm))
    with capture(model) as layers:
        outputs = model(x)
    after = {f"norm.{n}": b.numpy().copy() for n, b in norm.named_buffers()}
    if biased:
        var = x.var((0, 2, 3), unbiased=False).numpy()
        after["norm.running_var"] = 0.9 * before["norm.running_var"] + np.float32(0.1) * var
    params = dict(model.named_parameters())
    return Update(
        params, {}, {}, outputs=outputs, buffers=before, updated_buffers=after, activations=layers
    )


@pytest.mark.parametrize(
    ("actual", "cause"),
    [
        (partial(NORM, momentum=0.9), "9 times as far: momentum 0.9, not 0.1, of the new ones"),
        (partial(NORM, momentum=0.17), "the running statistics move 1.7 times as far"),
        (NORM, None),
    ],
)
def test_the_momentum_of_running_statistics(actual, cause):
    told = model_cause([kept(actual())], [kept(NORM())], 0, "buffers", None)
    assert told is None if cause is None else cause in told


def test_the_variance_of_running_statistics():
    pair = kept(NORM(), biased=True), kept(NORM())
    told = [model_cause([a], [b], 0, "buffers", None) for a, b in (pair, pair[::-1])]
    assert told[0] == "the running variance is biased, divided by n"
    assert told[1] == "the running variance is unbiased, divided by n - 1"


def language(reduce, ignored=-100):
    """Next tokens of a tiny model: outputs [rows, tokens, classes], some tokens padding."""
    torch.manual_seed(0)
    rng, head = np.random.default_rng(0), torch.nn.Linear(6, 7)
    x, y = torch.randn(4, 5, 6), torch.tensor(rng.integers(1, 7, (4, 5)))
    y[:, -1] = ignored
    outputs = head(x)
    losses = torch.nn.functional.cross_entropy(
        outputs.flatten(0, 1), y.flatten(), reduction="none", ignore_index=ignored
    )
    loss = reduce(losses.reshape(4, 5), y != ignored)
    loss.backward()
    params = dict(head.named_parameters())
    gradient = {n: p.grad for n, p in params.items()}
    return Update(params, gradient, params, (x, y), outputs, loss.item())


@pytest.mark.parametrize(
    ("reduce", "cause"),
    [
        (lambda losses, _: losses.mean(), "divided by all tokens, those of padding (-100) too"),
        (lambda losses, kept: losses.sum() / kept.sum() * 5, "the tokens of a row, not averaged"),
        (lambda losses, kept: losses.sum() / kept.sum() * 20, "the batch and the tokens, not aver"),
        (lambda losses, kept: losses.sum() / kept.sum(), None),
    ],
)
def test_what_the_loss_of_tokens_is_averaged_over(reduce, cause):
    actual, expected = language(reduce), language(lambda losses, kept: losses.sum() / kept.sum())
    told = model_cause([actual], [expected], 0, "loss", None)
    assert told is None if cause is None else cause in told
