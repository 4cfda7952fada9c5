"""Several decoders for each task: what they compute, how they are chosen, frozen and exported."""

import copy

import pytest
import torch
from synthetic import sharing_tasks, tiny_model, tiny_tasks
from torch import nn

from moduli import PTA, DecoderBank, Each, InputError, JointModel, LinearBank, augment, fit
from moduli.tasks import check_tasks, task_losses
from moduli.training import evaluate

SIZES = {"a": (3, 4), "b": (5, 2), "c": (3, 1)}
LINEAR = {"a": (5, 4), "b": (5, 2), "c": (5, 1)}


def hidden(sizes=SIZES, samples=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {t: torch.randn(samples, i, generator=generator).double() for t, (i, _) in sizes.items()}


def layers_of(bank: DecoderBank, task: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [tuple(part.value.clone() for part in parts) for parts in bank.decoders_of(task).weights]


def mlp(outputs: int, inputs: int = 5) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 6), nn.ReLU(), nn.Linear(6, outputs))


# ------------------------------------------------------------------ what they compute


@pytest.mark.parametrize("frozen", [False, True])
def test_linear_decoders_are_separate_layers(frozen):
    bank = DecoderBank(SIZES, 3, PTA("F") if frozen else None, dropout=0.0).double()
    x = hidden()
    outputs = bank.train()(x)
    for task, y in outputs.items():
        for d, (weight, bias) in enumerate(layers_of(bank, task)):
            assert weight.shape == SIZES[task]
            torch.testing.assert_close(y[d], x[task] @ weight + bias)


def test_decoders_start_apart():
    bank = DecoderBank(SIZES, 3)
    for task in SIZES:
        (one, _), (two, _), _ = layers_of(bank, task)
        assert not torch.equal(one, two)


@pytest.mark.parametrize("tensor", ["one", "each"])
def test_tasks_on_one_tensor_decode_as_on_copies(tensor):
    bank = DecoderBank(LINEAR, 3, dropout=0.0).double().train()
    x = hidden(LINEAR)["a"]
    given = dict.fromkeys(LINEAR, x) if tensor == "one" else {t: x.clone() for t in LINEAR}
    for task, y in bank(given).items():
        for d, (weight, bias) in enumerate(layers_of(bank, task)):
            torch.testing.assert_close(y[d], x @ weight + bias)


def test_modules_are_applied_as_if_one_by_one():
    """Batch statistics are computed for each decoder, and running ones are kept for each."""
    torch.manual_seed(0)
    modules = [
        nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)) for _ in range(3)
    ]
    apart = copy.deepcopy(modules)
    bank = DecoderBank({"t": modules}, 3, dropout=0.0).train()
    x = torch.randn(8, 5)
    outputs = bank({"t": x})["t"]
    expected = torch.stack([module(x) for module in apart])
    torch.testing.assert_close(outputs, expected)
    outputs.square().sum().backward()
    expected.square().sum().backward()
    weights = bank.stacks[0].weights  # type: ignore[union-attr]
    torch.testing.assert_close(weights["0_d_weight"].grad, torch.stack([m[0].weight.grad for m in apart]))
    bank.eval()
    for d, module in enumerate(apart):
        torch.testing.assert_close(bank.every({"t": x})["t"][d], module.eval()(x))


@pytest.mark.parametrize("letters", ["I", "FGP", "P"])
def test_one_decoder_is_the_plain_model(letters):
    tasks = tiny_tasks()
    options = {"steps": 20, "phase": 5, "seed": 1, "device": "cpu"}
    plain = fit(tiny_model(tasks, "soft", dropout=0.3), tasks, **options)
    augmented = fit(
        augment(tiny_model(tasks, "soft", dropout=0.3), letters, 1, dropout=0.0), tasks, **options
    )
    inputs = {t.data.name: t.data.test.inputs for t in tasks}
    for task, y in plain.model(inputs).items():
        torch.testing.assert_close(augmented.model(inputs)[task], y)
    assert augmented.val.costs == {}
    assert augmented.model.count_parameters() == plain.model.count_parameters()


def test_the_loss_of_a_task_is_the_mean_over_its_decoders():
    """Eq. 4, up to the number of tasks: the encoder's gradient is the mean over those of each decoder."""
    tasks = sharing_tasks(missing=0.3)
    by_name = check_tasks(tasks)
    model = augment(tiny_model(tasks, "hard"), "I", 3, dropout=0.0)
    batches = {t.data.name: t.data.train for t in tasks}
    inputs = {name: source.inputs for name, source in batches.items()}
    targets = {t.name: t.data.train.targets[t.name] for t in tasks}
    outputs = model.train()(inputs)
    losses = task_losses(by_name, outputs, targets)
    shared = model.shared_parameters()
    for name in by_name:
        whole = torch.autograd.grad(losses.mean[name], shared, retain_graph=True, allow_unused=True)
        each = []
        for d in range(3):
            one = task_losses(by_name, {name: outputs[name][d]}, {name: targets[name]}).mean[name]
            each.append(torch.autograd.grad(one, shared, retain_graph=True, allow_unused=True))
        for total, parts in zip(whole, zip(*each, strict=True), strict=True):
            if total is not None:
                torch.testing.assert_close(total, torch.stack(parts).mean(0))


# ------------------------------------------------------------------ dropout


def equal_decoders(bank: DecoderBank) -> None:
    for task in bank.tasks:
        for d in range(1, bank.number):
            bank.decoders_of(task).copy(0, d)


@pytest.mark.parametrize("make", ["linear", "modules"])
def test_dropout_is_shared_unless_it_is_set_apart(make):
    given = LINEAR if make == "linear" else {t: [mlp(o) for _ in range(3)] for t, (_, o) in LINEAR.items()}
    for control, alike in ((PTA("I"), True), (PTA("D"), False)):
        bank = DecoderBank(given, 3, control, dropout=0.5).double().train()
        equal_decoders(bank)
        for y in bank(hidden(LINEAR, samples=20)).values():
            assert torch.allclose(y[0], y[1]) is alike


def test_dropout_acts_in_training_only():
    bank = DecoderBank(LINEAR, 3, PTA("D"), dropout=0.9).double()
    x = hidden(LINEAR)
    assert all(torch.equal(y, bank.eval()(x)[t]) for t, y in bank.eval()(x).items())
    assert all(torch.equal(y, bank.train().every(x)[t]) for t, y in bank.every(x).items())
    assert not torch.equal(bank.train()(x)["a"], bank.train()(x)["a"])


def test_it_takes_the_place_of_the_dropout_after_the_last_layer():
    tasks = tiny_tasks()
    model = tiny_model(tasks, "soft", dropout=0.5)
    assert augment(model, "I", 2, dropout=0.5).structure.drop_last is False
    assert augment(tiny_model(tasks, "soft", dropout=0.5), "I", 2, dropout=0.0).structure.drop_last is True


# ------------------------------------------------------------------ choosing


def test_evaluation_uses_the_chosen_decoder():
    bank = DecoderBank(SIZES, 3).double().eval()
    bank.choose({"a": [(0.3, 1.0), (0.1, 1.0), (0.2, 0.0)], "c": [(0.5, 2.0), (0.5, 1.0), (0.5, 1.0)]})
    assert bank.chosen.tolist() == [1, 0, 1]  # error first, then loss, then the first
    x = hidden()
    every = bank.every(x)
    for task, d in zip(SIZES, (1, 0, 1), strict=True):
        torch.testing.assert_close(bank(x)[task], every[task][d])
        torch.testing.assert_close(bank.decide(every)[task], every[task][d])


def test_an_ensemble_is_the_mean_of_all_outputs():
    bank = DecoderBank(SIZES, 3, ensemble=True).double().eval()
    x = hidden()
    for task, y in bank(x).items():
        torch.testing.assert_close(y, bank.every(x)[task].mean(0))


def test_costs_are_error_and_loss_of_each_decoder():
    tasks = sharing_tasks(missing=0.3)
    by_name = check_tasks(tasks)
    model = augment(tiny_model(tasks, "hard"), "I", 3)
    scores = evaluate(model, by_name, "val", choose=True)
    for name, task in by_name.items():
        sign = -1 if task.higher_is_better else 1
        for d, (error, loss) in enumerate(scores.costs[name]):
            model.decoders.chosen[model.decoders.row[name]] = d  # type: ignore[index]
            alone = evaluate(model, by_name, "val")
            assert error == pytest.approx(sign * alone.value(name), rel=1e-5)
            assert loss == pytest.approx(alone.loss[name], rel=1e-5)
        best = min(scores.costs[name])
        assert scores.loss[name] == pytest.approx(best[1], rel=1e-5)


def test_test_scores_are_of_the_decoder_that_validation_chose():
    tasks = tiny_tasks()
    result = fit(augment(tiny_model(tasks), "I", 3), tasks, steps=12, phase=4, device="cpu")
    chosen = result.model.decoders.chosen.clone()  # type: ignore[union-attr]
    assert chosen.any()
    again = evaluate(result.model, check_tasks(tasks), "test")
    assert again == result.test
    evaluate(result.model, check_tasks(tasks), "test", choose=False)
    assert torch.equal(result.model.decoders.chosen, chosen)  # type: ignore[union-attr]


# ------------------------------------------------------------------ freezing


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("make", ["linear", "modules"])
def test_frozen_decoders_never_change(optimizer, make):
    tasks = tiny_tasks()
    model = tiny_model(tasks)
    if make == "modules":
        model.decoders = Each({t.name: mlp(t.kind.outputs, 6) for t in tasks})
    augment(model, "F", 3)
    before = {t.name: layers_of(model.decoders, t.name) for t in tasks}  # type: ignore[arg-type]
    fit(model, tasks, steps=12, phase=4, optimizer=optimizer, weight_decay=0.1, select="last", device="cpu")
    for name, layers in before.items():
        now = layers_of(model.decoders, name)  # type: ignore[arg-type]
        assert not torch.equal(now[0][0], layers[0][0])
        assert all(torch.equal(x, y) for d in (1, 2) for x, y in zip(now[d], layers[d], strict=True))


def test_frozen_decoders_do_not_count_as_parameters():
    tasks = tiny_tasks()
    plain = tiny_model(tasks).count_parameters()
    assert augment(tiny_model(tasks), "F", 5).count_parameters() == plain
    head = LinearBank({t.name: (6, t.kind.outputs) for t in tasks})
    once = sum(part.value.numel() for t in tasks for part in head.own(t.name))
    assert augment(tiny_model(tasks), "I", 5).count_parameters() == plain + 4 * once


# ------------------------------------------------------------------ adding and taking away


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("make", ["linear", "modules"])
def test_an_exported_model_predicts_the_same_with_plain_decoders(make, ensemble):
    tasks = sharing_tasks()
    model = tiny_model(tasks, "soft")
    if make == "modules":
        model.decoders = Each({t.name: mlp(t.kind.outputs, 6) for t in tasks})
    augment(model, "GP", 3, ensemble=ensemble)
    fit(model, tasks, steps=12, phase=4, device="cpu")
    exported = model.exported()
    assert isinstance(exported.decoders, LinearBank if make == "linear" else Each)
    inputs = {t.data.name: t.data.test.inputs for t in tasks}
    for task, y in model(inputs).items():
        torch.testing.assert_close(exported(inputs)[task], y)
    owned = {id(x) for x in (*exported.parameters(), *exported.buffers())}
    assert not owned & {id(x) for x in (*model.parameters(), *model.buffers())}


def test_the_first_decoder_is_the_one_that_was_there():
    tasks = tiny_tasks()
    model = tiny_model(tasks)
    before = {t.name: [part.value.clone() for part in model.decoders.own(t.name)] for t in tasks}
    augment(model, "I", 3)
    for name, parts in before.items():
        for old, new in zip(parts, model.decoders.decoders_of(name).weights[0], strict=True):
            assert torch.equal(old, new.value)


class NoReset(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(6, 1))

    def forward(self, x):
        return x @ self.gain


def test_modules_that_cannot_be_drawn_anew_need_a_maker():
    tasks = tiny_tasks(("a",))
    core = tiny_model(tasks)
    model = JointModel(tasks, core.structure, core.encoders, {"a": NoReset()})
    with pytest.raises(InputError, match=r"decoder of 'a' cannot be drawn anew.*NoReset.*give `make`"):
        augment(model, "P", 3)
    augment(model, "P", 3, make=lambda task: NoReset())
    assert model.decoders.number == 3


def test_decoders_that_tasks_share_are_refused():
    """Copies for each task would silently end the sharing."""
    tasks = tiny_tasks(("a", "c"))
    core, shared = tiny_model(tasks), nn.Linear(6, 1)
    model = JointModel(tasks, core.structure, core.encoders, {"a": shared, "c": shared})
    with pytest.raises(InputError, match="tasks share a decoder"):
        augment(model, "I", 3)
    assert isinstance(model.decoders, Each), "the model was changed"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DecoderBank(SIZES, 0), "0 decoders"),
        (lambda: DecoderBank(SIZES, 2, dropout=1.0), "dropout 1.0"),
        (lambda: DecoderBank({"a": [nn.ReLU(), nn.ReLU()]}, 2), "no weights"),
        (lambda: DecoderBank({"a": [nn.Linear(2, 2)]}, 2), "1 decoders of 'a': give 2"),
        (lambda: DecoderBank(SIZES, 2)({"z": torch.ones(1, 3)}), "no decoders for 'z'"),
        (lambda: DecoderBank(SIZES, 2)({"a": torch.ones(1, 4)}), "4 features"),
        (lambda: augment(augment(tiny_model(tiny_tasks()), "I", 2), "I", 2), "DecoderBank"),
    ],
)
def test_bad_input_is_one_clear_line(make, words):
    with pytest.raises(InputError, match=words):
        make()
