from copy import deepcopy

import torch
from torch import nn

from lmmrotate.training.muon import MuonAdamW


def optimizer(model: nn.Linear) -> MuonAdamW:
    return MuonAdamW([model.weight], [], [model.bias], lr=0.02, weight_decay=0.0, betas=(0.9, 0.95))


def loss(model: nn.Linear) -> torch.Tensor:
    inputs = torch.linspace(-1, 1, 24).reshape(6, 4)
    return nn.functional.mse_loss(model(inputs), inputs[:, :3] * 2 + 1)


def updated(model: nn.Linear, how: MuonAdamW, steps: int) -> float:
    for _ in range(steps):
        how.zero_grad()
        loss(model).backward()
        how.step()
    return loss(model).item()


def test_matrices_and_vectors_both_learn() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    before, weight, bias = loss(model).item(), model.weight.clone(), model.bias.clone()
    assert updated(model, optimizer(model), 400) < before / 10
    assert not torch.equal(model.weight, weight)
    assert not torch.equal(model.bias, bias)


def test_schedules_reach_both_parts() -> None:
    model = nn.Linear(4, 3)
    how = optimizer(model)
    for group in how.param_groups:
        group["lr"] = 0.0
    before = [parameter.clone() for parameter in model.parameters()]
    updated(model, how, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_stored_state_goes_on_the_same() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    how = optimizer(model)
    updated(model, how, 3)
    other = nn.Linear(4, 3)
    other.load_state_dict(model.state_dict())
    again = optimizer(other)
    again.load_state_dict(deepcopy(how.state_dict()))
    for group in (*how.param_groups, *again.param_groups):
        group["lr"] = 0.01  # what a scheduler does after loading
    assert updated(model, how, 3) == updated(other, again, 3)
