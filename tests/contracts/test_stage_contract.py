"""The contract of every stage: encoders, sharing structures, decoders (`moduli.types.Stage`)."""

from __future__ import annotations

import copy
from itertools import chain, combinations

import pytest
import torch
from implementations import STAGES, STRUCTURES, TASKS, StageCase
from torch import Tensor, nn

SUBSETS = list(chain.from_iterable(combinations(TASKS, n) for n in (1, 2, 3)))
stages = pytest.mark.parametrize("case", STAGES, ids=lambda case: case.name)
structures = pytest.mark.parametrize("case", STRUCTURES, ids=lambda case: case.name)


def made(case: StageCase, train: bool = False) -> nn.Module:
    return case.make().double().train(train)


def own_parameters(stage: nn.Module, task: str) -> list:
    return [part for part in stage.own(task) if isinstance(part.tensor, nn.Parameter)]


def loss_of(output: Tensor) -> Tensor:
    return (output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)).sum()


def randomise(stage: nn.Module) -> None:
    """Parameters as after some training: nothing at zero, no task like another."""
    own = [part.value for task in TASKS for part in own_parameters(stage, task)]
    for value in (*own, *(p.detach() for p in stage.shared_parameters())):
        value.add_(0.3 * torch.randn_like(value))


@stages
def test_keys_and_shapes(case):
    stage = made(case)
    outputs = stage(case.inputs([4, 2, 3]))
    assert list(outputs) == list(TASKS)
    for (task, y), n in zip(outputs.items(), [4, 2, 3], strict=True):
        assert y.shape == (n, *case.outputs[task])
        assert y.dtype == torch.float64


@stages
@pytest.mark.parametrize("subset", SUBSETS, ids="".join)
def test_a_subset_of_the_tasks_gets_what_all_would_get(case, subset):
    stage, inputs = made(case), case.inputs()
    randomise(stage)
    expected = stage(inputs)
    outputs = stage({task: inputs[task] for task in subset})
    assert list(outputs) == list(subset)
    for task, y in outputs.items():
        torch.testing.assert_close(y, expected[task])


@stages
def test_order_of_tasks_does_not_matter(case):
    stage, inputs = made(case), case.inputs([2, 3, 4])
    randomise(stage)
    expected = stage(inputs)
    backwards = stage({task: inputs[task] for task in reversed(TASKS)})
    assert list(backwards) == list(reversed(TASKS))
    for task in TASKS:
        torch.testing.assert_close(backwards[task], expected[task])


@stages
def test_every_number_is_shared_or_belongs_to_one_task(case):
    """Numbers that belong to nobody are padding: zero, and without effect."""
    stage = made(case)
    owners = {id(p): torch.zeros(p.shape) for p in stage.parameters()}
    for p in stage.shared_parameters():
        owners[id(p)] += 1
    for task in TASKS:
        for part in own_parameters(stage, task):
            owners[id(part.tensor)][part.index] += 1
    for name, p in stage.named_parameters():
        count = owners[id(p)]
        assert count.max() <= 1, f"{name} is listed twice"
        nobodys = p.detach()[count == 0]
        assert not nobodys.any(), f"{name} has weights that belong to nobody"
    before = stage(case.inputs())
    total = sum(loss_of(y) for y in before.values())
    if not any(p.requires_grad for p in stage.parameters()):
        return
    total.backward()
    for p in stage.parameters():
        if p.grad is not None:
            assert not p.grad[owners[id(p)] == 0].any()


@stages
def test_shared_parameters_are_listed_once(case):
    stage = made(case)
    shared = stage.shared_parameters()
    assert len({id(p) for p in shared}) == len(shared)
    assert {id(p) for p in shared} <= {id(p) for p in stage.parameters()}


@stages
def test_own_parts_name_entries_of_the_state(case):
    stage = made(case)
    for task in TASKS:
        for part in stage.own(task):
            entry = stage.state_dict()[part.name]
            assert entry.data_ptr() == part.tensor.data_ptr()
            part.value.fill_(3)
            assert (entry[part.index] == 3).all()


@stages
@pytest.mark.parametrize("task", TASKS)
def test_the_loss_of_a_task_leaves_the_parts_of_others_alone(case, task):
    stage = made(case, train=True)
    if not any(p.requires_grad for p in stage.parameters()):
        pytest.skip("nothing to learn")
    randomise(stage)
    output = stage(case.inputs())[task]
    if output.requires_grad:
        loss_of(output).backward()
    for other in set(TASKS) - {task}:
        for part in own_parameters(stage, other):
            assert part.grad is None or not part.grad.any()
    if output.requires_grad and own_parameters(stage, task):
        assert any(part.grad is not None and part.grad.any() for part in own_parameters(stage, task))


@stages
@pytest.mark.parametrize("task", TASKS)
def test_the_parts_of_others_do_not_influence_a_task(case, task):
    stage, inputs = made(case), case.inputs()
    before = stage(inputs)[task]
    for other in set(TASKS) - {task}:
        for part in stage.own(other):
            if part.value.is_floating_point():
                part.value.normal_()
    assert torch.equal(stage(inputs)[task], before)


@stages
def test_samples_do_not_see_each_other_when_evaluating(case):
    stage, inputs = made(case), case.inputs(5)
    expected = stage(inputs)
    outputs = stage({t: x[: 1 + i] for i, (t, x) in enumerate(inputs.items())})
    for i, (task, y) in enumerate(outputs.items()):
        torch.testing.assert_close(y, expected[task][: 1 + i])


@structures
def test_a_tensor_given_to_several_tasks_counts_as_copies_of_it(case):
    stage = made(case, train=False)
    randomise(stage)
    x = case.inputs()["a"].requires_grad_()
    copies = {task: x.detach().clone().requires_grad_() for task in TASKS}

    def gradients(inputs):
        stage.zero_grad(set_to_none=True)
        outputs = stage(inputs)
        sum(w * loss_of(outputs[t]) for w, t in zip([1.0, -2.0, 0.5], TASKS, strict=True)).backward()
        return outputs, [None if p.grad is None else p.grad.clone() for p in stage.parameters()]

    shared_outputs, shared_grads = gradients(dict.fromkeys(TASKS, x))
    outputs, grads = gradients(copies)
    for task in TASKS:
        torch.testing.assert_close(shared_outputs[task], outputs[task])
    torch.testing.assert_close(shared_grads, grads)
    torch.testing.assert_close(x.grad, sum(c.grad for c in copies.values()))


@stages
def test_state_makes_the_round_trip(case):
    stage, inputs = made(case), case.inputs()
    randomise(stage)
    other = made(case)
    other.load_state_dict(copy.deepcopy(stage.state_dict()))
    for task, y in stage(inputs).items():
        assert torch.equal(other(inputs)[task], y)


@stages
def test_a_deep_copy_is_the_same_and_independent(case):
    stage, inputs = made(case), case.inputs()
    before = stage(inputs)
    clone = copy.deepcopy(stage)
    for task, y in clone(inputs).items():
        assert torch.equal(y, before[task])
    with torch.no_grad():
        for p in clone.parameters():
            p.zero_()
    for task, y in stage(inputs).items():
        assert torch.equal(y, before[task])
    owned = {id(part.tensor) for task in TASKS for part in clone.own(task)}
    assert owned <= {id(x) for x in chain(clone.parameters(), clone.buffers())}


@stages
def test_evaluation_is_deterministic_and_changes_nothing(case):
    stage, inputs = made(case), case.inputs()
    state = copy.deepcopy(stage.state_dict())
    copies = {task: x.clone() for task, x in inputs.items()}
    first, second = stage(inputs), stage(inputs)
    for task in TASKS:
        assert torch.equal(first[task], second[task])
        assert torch.equal(inputs[task], copies[task]), "an input was changed in place"
    torch.testing.assert_close(dict(stage.state_dict()), dict(state), rtol=0, atol=0)


@stages
def test_training_does_not_change_its_inputs(case):
    stage, inputs = made(case, train=True), case.inputs()
    copies = {task: x.clone() for task, x in inputs.items()}
    stage(inputs)
    for task in TASKS:
        assert torch.equal(inputs[task], copies[task])


@stages
def test_gradients_agree_with_finite_differences(case):
    stage = made(case)
    randomise(stage)
    inputs = {task: x.requires_grad_() for task, x in case.inputs(2).items()}
    stage.requires_grad_(False)

    def outputs(*tensors):
        return tuple(stage(dict(zip(TASKS, tensors, strict=True))).values())

    assert torch.autograd.gradcheck(outputs, tuple(inputs.values()), fast_mode=True)


@stages
def test_backward_works_again_on_a_fresh_graph(case):
    stage, inputs = made(case), case.inputs()
    if not any(p.requires_grad for p in stage.parameters()):
        pytest.skip("nothing to learn")

    def gradients():
        sum(loss_of(y) for y in stage(inputs).values()).backward()
        return [None if p.grad is None else p.grad.clone() for p in stage.parameters()]

    once = gradients()
    twice = gradients()
    torch.testing.assert_close(twice, [None if g is None else 2 * g for g in once])


@stages
def test_single_precision_is_near_double(case):
    stage, inputs = made(case), case.inputs()
    expected = stage(inputs)
    rounded = stage.float()({task: x.float() for task, x in inputs.items()})
    for task, y in rounded.items():
        assert y.dtype == torch.float32
        torch.testing.assert_close(y.double(), expected[task], rtol=1e-3, atol=1e-4)


@stages
def test_under_other_names_it_is_the_same_with_weights_of_its_own(case):
    stage, inputs = made(case), case.inputs()
    if not hasattr(stage, "renamed"):
        pytest.skip("does not offer it")
    randomise(stage)
    before = stage(inputs)
    twin = f"{TASKS[0]}#1"
    doubled = stage.renamed({**{task: task for task in TASKS}, twin: TASKS[0]})
    assert not doubled.training
    outputs = doubled({**inputs, twin: inputs[TASKS[0]]})
    assert list(outputs) == [*TASKS, twin]
    for name, y in outputs.items():
        torch.testing.assert_close(y, before[name.removesuffix("#1")])
    assert {id(p) for p in doubled.shared_parameters()} == {id(p) for p in stage.shared_parameters()}
    for part in doubled.own(twin):
        if part.value.is_floating_point():
            part.value.add_(1)
    after = doubled(inputs)
    for task in TASKS:
        torch.testing.assert_close(after[task], before[task])
