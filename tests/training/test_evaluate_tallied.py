"""Evaluation of tasks whose outputs are not kept: the same scores as from all outputs at once."""

import math

import pytest
import torch
from synthetic import tiny_tasks
from torch import nn

from moduli import JointModel, hard
from moduli.errors import InputError
from moduli.tasks import LanguageModel, language_task
from moduli.training import evaluate, fit, predict_split

CPU = torch.device("cpu")
TOKENS = 6


def text(n=60, seed=0):
    return torch.randint(0, TOKENS, (n,), generator=torch.Generator().manual_seed(seed))


def text_task(name="text", **options):
    return language_task(name, text(200), text(57, 1), text(31, 2), TOKENS, length=5, columns=3, **options)


class Counts(nn.Module):
    """Embeds tokens, and adds how many calls there were since `eval()`: a state that is carried."""

    def __init__(self):
        super().__init__()
        self.embedding, self.calls = nn.Embedding(TOKENS, 4), 0

    def train(self, mode=True):
        self.calls = 0
        return super().train(mode)

    def forward(self, x):
        self.calls += 1
        return self.embedding(x) + self.calls


def joint(tasks, seed=0):
    torch.manual_seed(seed)
    encoders = {
        t.data.name: nn.Linear(t.data.shape[0], 4) if t.data.tokens is None else Counts() for t in tasks
    }
    decoders = {task.name: nn.Linear(4, task.kind.outputs) for task in tasks}
    return JointModel(
        tasks, hard([task.name for task in tasks], lambda k: nn.Identity(), 1), encoders, decoders
    )


def by_hand(model, task, split):
    """Loss, perplexity and accuracy from all outputs, segment by segment."""
    model.eval()
    outputs, targets = [], []
    for batch in task.data.split(split).batches(1, CPU):
        outputs.append(model({task.data.name: batch.inputs}, [task.name])[task.name].reshape(-1, TOKENS))
        targets.append(batch.targets[task.name].reshape(-1))
    y, t = torch.cat(outputs).detach(), torch.cat(targets)
    loss = nn.functional.cross_entropy(y.double(), t, ignore_index=-1).item()
    return loss, {
        "perplexity": math.exp(loss),
        "accuracy": (y.argmax(-1) == t)[t >= 0].double().mean().item(),
    }


@pytest.mark.parametrize("choose", [False, True])
def test_scores_are_those_of_all_tokens_beside_other_tasks(choose):
    tasks = {task.name: task for task in [*tiny_tasks(("a",)), text_task()]}
    model = joint(list(tasks.values())).train()
    scores = evaluate(model, tasks, "val", choose=choose)
    assert model.training
    assert list(scores.loss) == ["a", "text"]
    loss, metrics = by_hand(model, tasks["text"], "val")
    assert scores.loss["text"] == pytest.approx(loss)
    assert scores.metrics["text"] == pytest.approx(metrics)
    assert scores.value("text") == pytest.approx(math.exp(loss))
    assert not scores.higher_is_better["text"]
    assert scores.costs == {}
    alone = evaluate(model, {"a": tasks["a"]}, "val", choose=choose)
    assert alone.metrics["a"] == scores.metrics["a"]
    short = evaluate(model, tasks, "val", every_metric=False, choose=choose)
    assert short.metrics["text"].keys() == {"perplexity"}


class Several(JointModel):
    """A model with three decoders of a task, of which one is chosen, or whose outputs are averaged."""

    def __init__(self, tasks, ensemble=False):
        plain = joint(tasks)
        super().__init__(tasks, plain.structure, plain.encoders, plain.decoders)
        self.shifts, self.chosen, self.ensemble = [3.0, 0.0, -2.0], 0, ensemble

    def every(self, inputs, tasks=None):
        outputs = super().forward(inputs, tasks)
        return {
            name: torch.stack([y + s * torch.arange(TOKENS) for s in self.shifts])
            for name, y in outputs.items()
        }

    def choose(self, costs):
        self.costs = costs
        self.chosen = min(range(3), key=lambda d: costs["text"][d])

    def decide(self, every):
        return {name: y.mean(0) if self.ensemble else y[self.chosen] for name, y in every.items()}

    def forward(self, inputs, tasks=None):
        return self.decide(self.every(inputs, tasks))


@pytest.mark.parametrize("ensemble", [False, True])
def test_the_best_of_several_decoders_is_chosen_and_scored(ensemble):
    task = text_task()
    tasks, model = {"text": task}, Several([task], ensemble)
    scores = evaluate(model, tasks, "val", choose=True)
    apart = []
    for shift in model.shifts:
        one = Several([task])
        one.shifts, one.chosen = [shift] * 3, 0
        apart.append(by_hand(one, task, "val"))
    expected = [cost for loss, m in apart for cost in (m["perplexity"], loss)]
    assert [x for cost in model.costs["text"] for x in cost] == pytest.approx(expected)
    assert scores.costs["text"] == model.costs["text"]
    assert model.chosen == 1
    loss, metrics = by_hand(model, task, "val")
    assert scores.loss["text"] == pytest.approx(loss)
    assert scores.metrics["text"] == pytest.approx(metrics)
    assert ensemble or loss == pytest.approx(apart[1][0])


def test_outputs_of_a_split_are_refused_for_such_tasks():
    task = text_task()
    with pytest.raises(InputError, match="language_model task 'text' are not kept for a whole split"):
        predict_split(joint([task]), {"text": task}, "val", 8, CPU)


def test_outputs_are_never_all_in_memory():
    seen = []

    class Watched(LanguageModel):
        def tally(self, outputs, targets):
            seen.append(tuple(outputs.shape))
            return super().tally(outputs, targets)

    task = text_task()
    object.__setattr__(task, "kind", Watched(TOKENS))
    evaluate(joint([task]), {"text": task}, "test")
    assert seen == [(3, 5, TOKENS), (3, 5, TOKENS)]  # 30 tokens of 3 columns


def test_a_broken_model_has_an_infinite_loss():
    task = text_task()
    model = joint([task])
    for parameter in model.parameters():
        parameter.data.fill_(torch.nan)
    assert evaluate(model, {"text": task}, "val").loss["text"] == math.inf


def test_a_run_learns_a_text_beside_another_task():
    # The next token is always the one after: a perplexity of 1 can be reached.
    line = torch.arange(400) % TOKENS
    task = language_task("text", line, line[:90], line[:60], TOKENS, length=5, columns=3)
    tasks = [*tiny_tasks(("a",)), task]
    before = evaluate(joint(tasks), {"text": task}, "test").value("text")
    result = fit(joint(tasks), tasks, steps=120, phase=40, batch_size=8, lr=0.05)
    assert result.test.value("text") < 1.5 < before
