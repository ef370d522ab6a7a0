"""What a recording keeps, what can no longer be seen in that, and the configuration check."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxgd.cli.__main__ import main
from jaxgd.equivalence import DiskRecording, Recorder, set_otherwise
from jaxgd.equivalence.diagnosis.of_recordings import difference
from jaxgd.equivalence.recordings.recorder import SKETCH
from tests.equivalence.setting_faults import MOMENTUM, as_a_whole, clipped_parts
from tests.equivalence.test_proof import null_run
from tests.equivalence.trainings import torch_training

SGD = {"rule": "sgd", "lr": 0.1, "momentum": 0.9}
SIZE = 3000


def recorded(folder, *, keep="sketches", rate=0.1, one_entry=0.0, shift=0.0, jitter=0, **options):
    """Momentum on a matrix and a small bias; one entry, or all of them, stray from update 5 on."""
    rng, noise = np.random.default_rng(0), np.random.default_rng(1)
    params = {"w": rng.normal(size=(SIZE // 10, 10)), "b": rng.normal(size=4)}
    buffer = {path: np.zeros_like(leaf) for path, leaf in params.items()}
    recorder = Recorder(folder, keep=keep, recipe=SGD, **options)
    recorder.start(params)
    for t in range(12):
        gradient = {path: rng.normal(size=leaf.shape) for path, leaf in params.items()}
        if t == 5:
            gradient["w"][7, 3] += one_entry
            gradient["w"] += shift * gradient["w"]
        buffer = {path: 0.9 * buffer[path] + gradient[path] for path in params}
        params = {path: leaf - rate * buffer[path] for path, leaf in params.items()}
        params["w"] *= 1 + jitter * 2.2e-16 * noise.uniform(-1, 1, params["w"].shape)
        recorder.update(gradient, params)
    return DiskRecording(folder)


def pair(tmp_path, **planted):
    keep = planted.pop("keep", "sketches")
    every = {"every": planted.pop("every", 1)}
    return difference(
        recorded(tmp_path / "a", keep=keep, **planted, **every),
        recorded(tmp_path / "b", keep=keep, **every),
    )


def test_a_sketch_is_small_and_adds_up(tmp_path):
    recording = recorded(tmp_path / "run")
    first, second = recording[0], recording[1]
    assert first.gradient["w"].shape == (SKETCH,)
    assert first.gradient["b"].shape == (4,)  # kept whole
    np.testing.assert_allclose(  # momentum of sketches is the sketch of momentum
        second.updated["w"][:],
        first.updated["w"][:] - 0.1 * (0.9 * first.gradient["w"][:] + second.gradient["w"][:]),
        rtol=1e-12,
    )
    whole = recorded(tmp_path / "whole", keep="arrays")
    sizes = [sum(f.stat().st_size for f in r.folder.iterdir()) for r in (recording, whole)]
    assert sizes[0] < sizes[1] / 8


def test_sketches_of_an_honest_pair_are_the_same(tmp_path):
    found = pair(tmp_path, jitter=1)
    assert found.same
    assert "Sketches of 64 numbers a leaf were kept: a difference spread over a leaf shows" in str(
        found
    )


def test_a_sketch_names_the_cause_of_a_linear_rule(tmp_path):
    found = pair(tmp_path, rate=0.11)
    assert found.diagnosis.cause == "the learning rate is 1.1 times as large"


def test_what_a_sketch_can_no_longer_see_is_what_it_says(tmp_path):
    """One entry of 3000: seen at ten times the resolution that is told, not at a tenth of it."""
    honest = pair(tmp_path, jitter=1)
    recording = DiskRecording(tmp_path / "b")
    whole = recorded(tmp_path / "whole", keep="arrays")
    way = whole[-1].updated["w"][:] - whole[0].params["w"][:]
    entry = honest.of_one_entry * float(np.sqrt(np.mean(way**2)))
    for times, seen in ((10.0, True), (0.1, False)):
        # What one gradient adds to an entry goes on in the momentum.
        gradient = times * entry / (0.1 * sum(0.9**t for t in range(7)))
        planted = recorded(tmp_path / f"planted {times}", one_entry=gradient)
        found = difference(planted, recording)
        assert (found.report.parted_at is not None) == seen


def test_digests_tell_whether_bits_are_the_same(tmp_path):
    same = pair(tmp_path, keep="digests")
    assert same.same
    assert "The bits are the same: updates 0 to 12." in str(same)
    (tmp_path / "other").mkdir()
    rounded = pair(tmp_path / "other", keep="digests", jitter=2)
    assert not rounded.same
    assert rounded.diagnosis.update == 1
    assert "Another machine's rounding parts them, too." in str(rounded)
    (tmp_path / "shifted").mkdir()
    shifted = pair(tmp_path / "shifted", keep="digests", shift=1e-3).diagnosis
    assert (shifted.update, shifted.stage, shifted.cause) == (6, "gradient", "unknown")


def test_every_third_update_says_from_where_on_it_sees(tmp_path):
    found = pair(tmp_path, keep="arrays", every=3, shift=1e-3)
    assert not found.same
    hidden = f"{found.report.resolution[-1]:.1g}"
    assert "One update in 3 was kept: the steps between were not judged" in str(found)
    assert f"next one kept shows from {hidden} of the distance travelled on." in str(found)


def test_the_configurations_are_compared_before_anything_is_run(tmp_path, capsys):
    layer = torch.nn.Linear(2, 1)
    optimizers = (
        torch.optim.AdamW(layer.parameters(), lr=1e-3),
        torch.optim.AdamW(layer.parameters(), lr=1e-3, betas=(0.9, 0.95)),
    )
    for name, optimizer, seed in zip("ab", optimizers, (0, 1), strict=True):
        Recorder(tmp_path / name, optimizer=optimizer, seed=seed)
    with pytest.raises(SystemExit):
        main(["diff", str(tmp_path / "a"), str(tmp_path / "b")])
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "Set otherwise:",
        "  optimizer.betas: [0.9, 0.999], not [0.9, 0.95] (another training)",
        "  seed: 0, not 1 (another training)",
        "No update was recorded yet: only the configurations are compared.",
    ]


def test_flags_are_those_of_the_framework_whose_parameters_are_recorded(tmp_path):
    """Both are loaded in both processes: a bridge needs them."""
    sides = {"torch": torch.ones(2, dtype=torch.float64), "jax": jnp.ones(2, jnp.float32)}
    for name, params in sides.items():
        Recorder(tmp_path / name).start({"w": params})
    torchs, jaxs = (DiskRecording(tmp_path / name).configuration for name in sides)
    assert {"torch", "torch default dtype"} <= torchs.keys()
    assert {"jax", "jax x64"} <= jaxs.keys()
    assert torchs.keys().isdisjoint({"jax", "jax x64"})
    assert jaxs.keys().isdisjoint({"torch", "torch default dtype"})
    assert (torchs["params dtype"], jaxs["params dtype"]) == ("float64", "float32")


TORCH_SIDE = {"torch default dtype": "torch.float64", "torch matmul precision": "highest"}


@pytest.mark.parametrize(
    ("actual", "expected", "told"),
    [
        ({"torch": "2.9"}, {"torch": "2.13"}, [("torch", "other rounding")]),
        ({"python": "3.11"}, {"python": "3.13"}, [("python", "nothing by itself")]),
        ({"jax x64": False}, TORCH_SIDE, [("default dtype", "another training")]),
        ({"jax x64": True}, TORCH_SIDE, []),
        (
            {"jax x64": False, "params dtype": "float64"},
            TORCH_SIDE | {"params dtype": "float64"},
            [],
        ),
        (
            {"params dtype": "float32"},
            {"params dtype": "float64"},
            [("params dtype", "another training")],
        ),
        (
            {"jax x64": True, "jax backend": "gpu", "jax matmul precision": "None"},
            TORCH_SIDE,
            [("float32 products", "other rounding")],
        ),
        (
            {"optimizer": {"class": "SGD", "lr": 0.1}},
            {"optimizer": {"class": "SGD", "lr": 0.1, "momentum": 0.9}},
            [("optimizer.momentum", "another training")],
        ),
        (
            {"numpy": "1", "batch_size": 8},
            {"numpy": "2", "batch_size": 16},
            [("batch_size", "another training"), ("numpy", "nothing by itself")],
        ),
    ],
)
def test_which_differences_matter(actual, expected, told):
    found = set_otherwise(actual, expected)
    assert [(setting.name, setting.effect) for setting in found] == told


def test_errors_are_one_line(tmp_path, capsys):
    recorded(tmp_path / "a")
    with pytest.raises(ValueError, match=r"into a new folder; '.*a' is there already\. Give anot"):
        Recorder(tmp_path / "a")
    with pytest.raises(ValueError, match="keep must be one of arrays, sketches, digests; got 'al"):
        Recorder(tmp_path / "c", keep="all")
    with pytest.raises(ValueError, match="every must be at least 1; got 0"):
        Recorder(tmp_path / "c", every=0)
    recorded(tmp_path / "b", keep="digests")
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jaxgd: Both recordings keep the same; got sketches and digests.")
    assert error.count("\n") == 1
    (tmp_path / "b" / "manifest.json").write_text("{")
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "is damaged or truncated" in capsys.readouterr().err


def test_the_page_opens_offline_and_shows_both_sides(tmp_path, capsys):
    recorded(tmp_path / "a", keep="arrays", rate=0.11, seed=1)
    recorded(tmp_path / "b", keep="arrays", seed=0)
    file = tmp_path / "page.html"
    with pytest.raises(SystemExit):
        main(["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--html", str(file)])
    assert capsys.readouterr().out.endswith(f"\npage: {file}\n")
    page = file.read_text(encoding="utf-8")
    assert "The trainings are the same although" not in page
    assert "Cause: the learning rate is 1.1 times as large." in page
    assert "seed ≠ another training" in page
    assert page.count("<polyline") == 2  # one for each leaf
    for external in ("src=", "href=", "url(", "@import", "<script", "http"):
        assert external not in page
    assert 'name="viewport"' in page


def test_the_gradients_of_micro_batches_are_read_back_as_parts(tmp_path):
    recipe, sides = {"rule": "sgd", "lr": 0.05, "momentum": 0.9, "max_norm": 0.1}, []
    for name, how in (("a", {"given": clipped_parts}), ("b", {"clip": as_a_whole})):
        recorder = Recorder(tmp_path / name, recipe=recipe)
        updates = torch_training(np.float64, MOMENTUM, micro_batches=2, **how)
        recorder.start(updates[0].params)
        for u in updates:
            recorder.update(u.gradient, u.updated, parts=u.parts)
        sides.append(DiskRecording(tmp_path / name))
    found = difference(*sides).diagnosis
    assert found.cause == "the gradients of micro-batches are clipped, not their mean"


def test_the_page_of_an_amplified_pair_says_why_a_leaf_strays(tmp_path, capsys):
    folders = [tmp_path / name for name in "ab"]
    for seed, folder in enumerate(folders, 1):
        updates = null_run(np.float32, seed)
        recorder = Recorder(folder, recipe={"rule": "adam", "lr": 0.05, "eps": 1e-12})
        recorder.start(updates[0].params)
        for u in updates:
            recorder.update(u.gradient, u.updated, loss=u.loss)
    assert main(["diff", *map(str, folders), "--html", str(tmp_path / "page")]) == 0
    assert "amplified by the optimizer" in capsys.readouterr().out
    page = (tmp_path / "page").read_text(encoding="utf-8")
    farthest = max(float(x) for x in re.findall(r"</svg></td><td>(.*?)</td>", page))
    assert farthest > 1
    assert "The trainings are the same although a leaf strays beyond what is allowed" in page
