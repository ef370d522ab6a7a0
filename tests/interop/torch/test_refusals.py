"""What cannot be moved is refused before anything runs, with the remedy."""

import jax
import numpy as np
import optax
import pytest
import torch

from jaxgd import optim
from jaxgd.interop.torch import from_torch, params_from_torch, to_torch_state_dict
from jaxgd.models import Linear
from jaxgd.optim.registry import REGISTRY
from tests.interop.torch.runs import NETWORK, Training
from tests.optim.cases import torch_class

LISTS = {"old_dirs", "old_stps", "ro"}  # of L-BFGS

pytestmark = pytest.mark.usefixtures("x64")


def trained(cls=torch.optim.Adam, **options):
    module = NETWORK.module()
    return Training(NETWORK, module, cls(module.named_parameters(), **options)).run(0, 2)


def without_names(state_dict):
    for group in state_dict["param_groups"]:
        del group["param_names"]
    return state_dict


def test_there_and_back_changes_nothing():
    training = trained(amsgrad=True)
    params = params_from_torch(training.module)
    state_dict = training.optimizer.state_dict()
    _, state = from_torch(training.optimizer, params)
    back = to_torch_state_dict(state, params, training.optimizer)
    assert back["param_groups"] == state_dict["param_groups"]
    for i, expected in state_dict["state"].items():
        assert back["state"][i].keys() == expected.keys()
        for key, tensor in expected.items():
            assert torch.equal(back["state"][i][key], tensor)
            assert back["state"][i][key].dtype == tensor.dtype


CLASSES = {name: torch_class(name) for name in REGISTRY}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CLASSES)
def test_every_optimizer_in_low_precision_there_and_back(name, dtype):
    """Bit for bit, types included, after a few updates."""
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2, bias=name != "muon").to(dtype)
    optimizer = CLASSES[name](module.named_parameters())

    def closure():
        for param in module.parameters():
            param.grad = torch.randn_like(param)
            if name == "sparse_adam":
                param.grad = param.grad.to_sparse()
        return torch.ones(())

    for _ in range(3):
        optimizer.step(closure)
    params = params_from_torch(module, linear=name not in ("sparse_adam", "muon"))
    _, state = from_torch(optimizer, params)
    expected = optimizer.state_dict()["state"]
    actual = to_torch_state_dict(state, params, optimizer)["state"]
    assert actual.keys() == expected.keys()
    for i, buffers in expected.items():
        assert actual[i].keys() == buffers.keys() - {"al"}
        for key, value in actual[i].items():
            pairs = (
                zip(value, buffers[key], strict=True) if key in LISTS else [(value, buffers[key])]
            )
            for ours, torchs in pairs:
                assert torch.equal(torch.as_tensor(ours), torch.as_tensor(torchs)), key


def test_an_old_adamw_decays_decoupled():
    """Of a version of torch whose AdamW had no such option."""
    training = trained(torch.optim.AdamW, weight_decay=0.5)
    params = params_from_torch(training.module)
    old = training.optimizer.state_dict()
    for group in old["param_groups"]:
        del group["decoupled_weight_decay"], group["maximize"]
    grads = jax.tree.map(np.ones_like, params)
    (one, state), (other, same) = (
        from_torch(training.optimizer, params),
        from_torch(old, params, name="adamw"),
    )
    expected, _ = one.update(grads, state, params)
    actual, _ = other.update(grads, same, params)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_layers_alone_need_no_names():
    training = trained()
    params = params_from_torch(training.module)
    anonymous = without_names(training.optimizer.state_dict())
    _, state = from_torch(anonymous, params, name="adam")
    jax.tree.map(np.testing.assert_array_equal, state, from_torch(training.optimizer, params)[1])


def test_names_in_a_tree_need_torchs():
    training = trained()
    tree = params_from_torch(training.module, linear=False)
    anonymous = without_names(training.optimizer.state_dict())
    with pytest.raises(ValueError, match="param_names must be given where params have names"):
        from_torch(anonymous, tree, name="adam")
    names = [name for name, _ in training.module.named_parameters()]
    _, state = from_torch(anonymous, tree, name="adam", param_names=names)
    moment = state[1].exp_avg[0]["weight"]
    expected = training.optimizer.state_dict()["state"][0]["exp_avg"].numpy()
    np.testing.assert_array_equal(moment, expected)


def test_a_state_dict_needs_the_name_of_its_class():
    training = trained()
    state_dict = training.optimizer.state_dict()
    params = params_from_torch(training.module)
    with pytest.raises(ValueError, match=r"name must be given .* Use name='adam', say"):
        from_torch(state_dict, params)
    for wrong in ("nadam", "adamax", "sgd", "rprop"):
        with pytest.raises(ValueError, match=f"must have the options of {wrong}"):
            from_torch(state_dict, params, name=wrong)
    with pytest.raises(ValueError, match="Use name='adam'"):
        from_torch(state_dict, params, name="adamw")
    with pytest.raises(ValueError, match="optimizer must be one of"):
        from_torch(state_dict, params, name="adma")


def test_other_parameters():
    training = trained()
    first, last = params_from_torch(training.module)
    with pytest.raises(ValueError, match=r"params must have torch's names .*'1.weight'"):
        from_torch(training.optimizer, (first,))
    wide = Linear(np.zeros((3, 4)), np.zeros(4))
    with pytest.raises(ValueError, match=r"'0.weight' must have a shape .* \[3, 4\]; got \[3, 3\]"):
        from_torch(training.optimizer, (wide, last))
    single = jax.tree.map(lambda leaf: leaf.astype(np.float32), (first, last))
    with pytest.raises(TypeError, match="params must have torch's dtype; got float32"):
        from_torch(training.optimizer, single)


def test_other_buffers():
    training = trained()
    params = params_from_torch(training.module)
    state_dict = training.optimizer.state_dict()
    del state_dict["state"][1]["exp_avg_sq"]
    with pytest.raises(ValueError, match=r"must hold \['exp_avg', 'exp_avg_sq'\] for '0.bias'"):
        from_torch(state_dict, params, name="adam")
    state = optim.adam().init(params)
    template = trained(amsgrad=True).optimizer
    with pytest.raises(ValueError, match=r"state must hold .*'max_exp_avg_sq'"):
        to_torch_state_dict(state, params, template)


def test_a_state_of_others():
    training = trained()
    params = params_from_torch(training.module)
    with pytest.raises(ValueError, match=r"state must be one of jaxgd.optim's, or hold one; got a"):
        to_torch_state_dict(optax.adam(0.1).init(params), params, training.optimizer)


def test_a_module_is_no_optimizer():
    module = NETWORK.module()
    with pytest.raises(TypeError, match="use params_from_torch"):
        from_torch(module, params_from_torch(module))


def test_a_schedule_needs_the_count():
    training = trained(torch.optim.SGD, momentum=0.9)
    params = params_from_torch(training.module)
    schedule = optim.schedules.exponential_lr(0.1, 0.9)
    with pytest.raises(ValueError, match=r"step must be given .* scheduler.last_epoch"):
        from_torch(training.optimizer, params, lr=schedule)
    with pytest.raises(ValueError, match="step must be torch's own"):
        from_torch(trained().optimizer, params, step=7)
    with pytest.raises(ValueError, match="one for each; got 2 for 1"):
        from_torch(training.optimizer, params, lr=[0.1, 0.2])


def test_a_schedule_is_for_parameters_that_count_alike():
    training = trained()
    training.module[0].weight.requires_grad = False
    training.run(2, 4)
    training.module[0].weight.requires_grad = True
    schedule = optim.schedules.exponential_lr(0.1, 0.9)
    with pytest.raises(ValueError, match=r"got the steps \{2, 4\} and a schedule"):
        from_torch(training.optimizer, params_from_torch(training.module), lr=schedule)


def test_lbfgs_trains_all_parameters():
    training = trained(torch.optim.LBFGS)
    params = params_from_torch(training.module)
    with pytest.raises(ValueError, match="step must be given with a schedule for lbfgs"):
        from_torch(training.optimizer, params, lr=lambda count: 0.1)
    training.module[0].weight.requires_grad = False
    with pytest.raises(ValueError, match="params of lbfgs must all be trained"):
        from_torch(training.optimizer, params)


def test_a_rate_that_did_not_give_torchs_eta():
    training = trained(torch.optim.ASGD)
    training.optimizer.param_groups[0]["lr"] = 0.5
    with pytest.raises(ValueError, match="Use lr=schedule where a scheduler moved the rate"):
        from_torch(training.optimizer, params_from_torch(training.module))


@pytest.mark.parametrize("cls", [torch.optim.SparseAdam, torch.optim.Adafactor])
def test_axes_that_are_looked_at(cls):
    module = NETWORK.module()
    optimizer = cls(module.named_parameters())
    with pytest.raises(ValueError, match="must be laid out as in torch"):
        from_torch(optimizer, params_from_torch(module, squeeze=True))
    from_torch(optimizer, params_from_torch(module, linear=False))
