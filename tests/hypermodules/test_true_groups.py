"""The algorithm of section 8.4 finds the true groups of tasks that are known to come in groups (8.5.3)."""

import pytest
import torch
from torch import nn

from moduli.data import kang
from moduli.hypermodules import MappingEvolution, reparameterize
from moduli.report.groups import group_scores

MOST = 250  # generations
STEPS = 25  # of each


class Regressions(nn.Module):
    """Thirty linear regressions side by side, each with a layer of its own; quicker than thirty models."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(20, 1, bias=False) for _ in range(30))

    def forward(self, x):
        weights = torch.cat([layer.weight for layer in self.layers])
        return torch.einsum("tni,ti->tn", x, weights)


@pytest.fixture(scope="module")
def samples():
    """Inputs `[30, 10, 20]` and noiseless outputs `[30, 10]` that tasks are trained on."""
    sources = [task.data.train for task in kang.tasks(noisy=False)]
    x = torch.stack([source.inputs for source in sources])
    return x, torch.stack([next(iter(source.targets.values())) for source in sources])


@pytest.mark.parametrize("seed", range(5))
def test_evolution_finds_the_three_groups(samples, seed):
    x, y = samples
    torch.manual_seed(seed)
    evolution = MappingEvolution(candidates=4, alpha=0.8, soft_lr=0.05, burn_in=0, final=0.0)
    model = reparameterize(
        {"all": Regressions()}, block=(20, 1), context=1, init="he", adapters=[], evolution=evolution
    )
    bank = model.hypermodules
    rates = model.learning_rates()
    optimizer = torch.optim.Adam(
        [{"params": [bank.table, bank.contexts]}, {"params": [bank.soft], "lr": rates[bank.soft]}], fused=True
    )
    for _ in range(MOST):
        for _ in range(STEPS):
            optimizer.zero_grad()
            (model({"all": x})["all"] - y).square().mean(1).sum().backward()
            optimizer.step()
        evolution.settle(model, optimizer)
        mapping = bank.mapping.tolist()
        if len(bank.table) == 3 and group_scores([mapping], kang.groups()) == [30]:
            return
        evolution.propose(model, optimizer)
    pytest.fail(f"after {MOST} generations the mapping is {mapping}")
