"""The same rows in the same order, against torch's real DataLoader."""

import subprocess
import sys

import jax
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from jaxgd.interop.torch import OrderSampler, dataloader_order

EPOCHS = 3


def visited(loader, epochs=EPOCHS):
    return np.array([torch.cat(list(loader)).tolist() for _ in range(epochs)])


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n_and_batch", [(1, 1), (10, 1), (10, 10), (23, 5), (24, 8), (33, 32)])
@pytest.mark.parametrize("seed", [0, 2**31])
def test_matches_the_loader(seed, n_and_batch, drop_last):
    n, b = n_and_batch
    loader = DataLoader(range(n), b, shuffle=True, drop_last=drop_last, generator=seeded(seed))
    order = dataloader_order(seed, n, EPOCHS, batch_size=b, drop_last=drop_last)
    np.testing.assert_array_equal(order, visited(loader))
    assert order.dtype == np.int32


@pytest.mark.parametrize("persistent", [False, True])
def test_matches_a_loader_with_workers(persistent):
    loader = DataLoader(
        range(17),
        4,
        shuffle=True,
        generator=seeded(5),
        num_workers=1,
        persistent_workers=persistent,
        multiprocessing_context="forkserver",
    )
    order = dataloader_order(5, 17, 2, persistent_workers=persistent)
    np.testing.assert_array_equal(order, visited(loader, epochs=2))
    other = dataloader_order(5, 17, 2, persistent_workers=not persistent)
    assert (order != other).any()


def test_a_generator_is_read_where_it_stands_and_left_there():
    generator = seeded(3)
    torch.rand(7, generator=generator)
    before = generator.get_state()
    order = dataloader_order(generator, 11, EPOCHS)
    assert torch.equal(before, generator.get_state())
    loader = DataLoader(range(11), 4, shuffle=True, generator=generator)
    np.testing.assert_array_equal(order, visited(loader))


def test_a_loader_without_a_generator_draws_from_the_global_one():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        order = dataloader_order(None, 19, EPOCHS)
        loader = DataLoader(range(19), 6, shuffle=True)
        np.testing.assert_array_equal(order, visited(loader))


def test_a_bare_randperm_is_not_the_order():
    order, generator = dataloader_order(0, 20, 2), seeded(0)
    assert (order[0] != torch.randperm(20, generator=generator).numpy()).any()


def test_torch_visits_the_order_of_jax():
    order = jax.random.permutation(jax.random.key(1), np.tile(np.arange(9), (4, 1)), 1, True)
    data = TensorDataset(torch.arange(9))
    loader = DataLoader(data, 4, sampler=OrderSampler(order))
    assert [len(batch) for (batch,) in loader] == [4, 4, 1]
    rows = [torch.cat([batch for (batch,) in loader]).tolist() for _ in range(3)]
    assert rows == np.asarray(order)[1:].tolist()
    with pytest.raises(IndexError, match=r"4 epochs; epoch 4 was asked for\. Make a longer"):
        list(loader)


def test_an_order_can_be_a_function_of_the_epoch():
    def order(epoch):
        return jax.random.permutation(jax.random.fold_in(jax.random.key(0), epoch), 6)

    sampler = OrderSampler(order, epoch=2)
    assert len(sampler) == 6
    assert list(sampler) == order(2).tolist()
    assert list(sampler) == order(3).tolist()
    sampler.epoch = 0
    assert list(sampler) == order(0).tolist()


def test_the_two_directions_agree():
    order = dataloader_order(4, 12, EPOCHS)
    loader = DataLoader(range(12), 5, sampler=OrderSampler(order))
    np.testing.assert_array_equal(order, visited(loader))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, r"at least one row .* got n=0 and epochs=2\. Pass len"),
        ({"epochs": -1}, "got n=8 and epochs=-1"),
        ({"drop_last": True}, r"in \[1, n\]; got batch_size=None with n=8\. Pass the loader's"),
        ({"drop_last": True, "batch_size": 9}, "got batch_size=9 with n=8"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        dataloader_order(0, **{"n": 8, "epochs": 2} | arguments)


@pytest.mark.parametrize("order", [[0, 1, 2], [[0.0, 1.0]], np.zeros((2, 3, 4), int)])
def test_an_order_is_a_table_of_integers(order):
    with pytest.raises(TypeError, match=r"array of integers \[epochs, rows\]; got"):
        OrderSampler(order)


def test_without_torch_it_says_what_to_install():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from jaxgd.interop.torch import dataloader_order\n"
        "dataloader_order(0, 4, 1)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Install jaxgd[torch]." in run.stderr
