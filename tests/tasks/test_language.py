"""Language modelling: loss and metrics by hand, and which token is read and predicted when."""

import math

import pytest
import torch
import torch.nn.functional as F

from moduli.errors import InputError
from moduli.tasks import LanguageModel, Task, TextSource, labelled_samples, language_task, task_losses
from moduli.tasks.kinds import Tallied
from moduli.tasks.language import encode_words, number_words

CPU = torch.device("cpu")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn_targets(batch, length, tokens, missing=0.3):
    g = torch.Generator().manual_seed(1)
    y = torch.randint(0, tokens, (batch, length), generator=g)
    return y.masked_fill(torch.rand(batch, length, generator=g) < missing, -1)


# ------------------------------------------------------------------ the kind


def test_loss_is_the_mean_over_the_labelled_positions_of_a_sample():
    kind = LanguageModel(5)
    outputs, targets = drawn(4, 6, 5), drawn_targets(4, 6, 5)
    targets[2] = -1
    logp = outputs.log_softmax(-1)
    expected = []
    for b in range(4):
        known = [-logp[b, t, targets[b, t]].item() for t in range(6) if targets[b, t] >= 0]
        expected.append(sum(known) / len(known) if known else 0.0)
    torch.testing.assert_close(kind.loss(outputs, targets), torch.tensor(expected))
    assert kind.labelled(targets).tolist() == [True, True, False, True]
    assert kind.loss(outputs, targets)[2] == 0


def test_leading_axes_are_decoders():
    kind = LanguageModel(5)
    outputs, targets = drawn(3, 4, 6, 5), drawn_targets(4, 6, 5)
    apart = [kind.loss(one, targets) for one in outputs]
    torch.testing.assert_close(kind.loss(outputs, targets), torch.stack(apart))
    torch.testing.assert_close(
        kind.tally(outputs, targets), torch.stack([kind.tally(one, targets) for one in outputs])
    )


def test_a_uniform_model_has_the_perplexity_of_its_tokens():
    kind = LanguageModel(7)
    targets = drawn_targets(3, 4, 7)
    assert kind.metrics()["perplexity"].compute(torch.zeros(3, 4, 7), targets) == pytest.approx(7)


def test_metrics_are_those_of_all_tokens_and_not_means_over_batches():
    kind = LanguageModel(5)
    outputs, targets = drawn(4, 6, 5), drawn_targets(4, 6, 5)
    known = targets >= 0
    nll = F.cross_entropy(outputs[known].double(), targets[known])
    loss, found = kind.scored(sum(kind.tally(outputs[i : i + 1], targets[i : i + 1]) for i in range(4)))
    assert loss == pytest.approx(nll.item())
    assert found["perplexity"] == pytest.approx(math.exp(nll))
    assert found["accuracy"] == (outputs.argmax(-1) == targets)[known].double().mean().item()
    whole = {name: metric.compute(outputs, targets) for name, metric in kind.metrics().items()}
    assert whole == pytest.approx(found)


def test_no_label_and_no_number():
    kind = LanguageModel(3)
    empty = torch.full((2, 4), -1)
    loss, found = kind.scored(kind.tally(drawn(2, 4, 3), empty))
    assert math.isnan(loss)
    assert all(math.isnan(value) for value in found.values())
    loss, found = kind.scored(kind.tally(torch.full((2, 4, 3), torch.nan), empty + 1))
    assert (loss, found["perplexity"]) == (math.inf, math.inf)
    loss, found = kind.scored(torch.tensor([9000.0, 0, 3], dtype=torch.double))
    assert (loss, found["perplexity"]) == (3000, math.inf)  # too large for a number


def test_predictions_are_probabilities_of_the_next_token():
    kind = LanguageModel(5)
    p = kind.predict(drawn(2, 3, 5))
    assert p.shape == (2, 3, 5)
    torch.testing.assert_close(p.sum(-1), torch.ones(2, 3))
    assert (kind.primary, kind.outputs, kind.name) == ("perplexity", 5, "language_model")
    assert not kind.metrics()["perplexity"].higher_is_better
    assert kind.metrics()["accuracy"].higher_is_better
    assert isinstance(kind, Tallied)


def test_one_token_is_no_language():
    with pytest.raises(InputError, match="at least 2"):
        LanguageModel(1)


@pytest.mark.parametrize("decoders", [(), (2,)])
def test_many_language_tasks_are_not_stacked_and_keep_their_losses(decoders):
    tasks = {f"t{i}": text_task(f"t{i}") for i in range(5)}
    outputs = {name: drawn(*decoders, 3, 4, 9, seed=i) for i, name in enumerate(tasks)}
    targets = {name: drawn_targets(3, 4, 9) for name in tasks}
    losses = task_losses(tasks, outputs, targets)
    for name, task in tasks.items():
        expected = task.kind.loss(outputs[name], targets[name])
        assert torch.equal(losses.samples[name], expected)
        known = task.kind.labelled(targets[name]).sum()
        torch.testing.assert_close(losses.mean[name], (expected.sum(-1) / known).mean())


# ------------------------------------------------------------------ the source


def text_task(name="text", n=100, length=4, columns=3, tokens=9) -> Task:
    text = torch.arange(n) % tokens
    return language_task(name, text, text, text, tokens, length, columns)


def test_a_stream_reads_columns_in_consecutive_segments_without_end():
    # 23 tokens and the ones that follow, in two columns of 11 (one is left out), two segments of 5 each.
    stream = TextSource(torch.arange(24), "text", length=5, columns=2).stream(2, 0, CPU)
    first, second, again = (stream.draw() for _ in range(3))
    assert first.inputs.tolist() == [[0, 1, 2, 3, 4], [11, 12, 13, 14, 15]]
    assert second.inputs.tolist() == [[5, 6, 7, 8, 9], [16, 17, 18, 19, 20]]
    for batch in (first, second, again):
        assert torch.equal(batch.targets["text"], batch.inputs + 1)
        assert batch.complete == {"text"}
    assert torch.equal(again.inputs, first.inputs)


@pytest.mark.parametrize(
    ("n", "length", "columns"), [(24, 5, 2), (21, 5, 4), (2, 3, 4), (50, 7, 1), (8, 35, 20)]
)
def test_evaluation_predicts_every_token_but_the_first_once(n, length, columns):
    source = TextSource(torch.arange(n), "text", length, columns)
    batches = list(source.batches(999, CPU))
    assert {len(batch.inputs) for batch in batches} == {columns}
    assert all(batch.inputs.shape[1] == length for batch in batches[:-1])
    inputs = torch.cat([batch.inputs for batch in batches], 1)
    targets = torch.cat([batch.targets["text"] for batch in batches], 1)
    known = targets >= 0
    assert targets[known].sort().values.tolist() == list(range(1, n))
    assert torch.equal(inputs[known] + 1, targets[known])
    column = inputs.shape[1]
    assert torch.equal(inputs[:, 1:][known[:, 1:]], (inputs[:, :-1] + 1)[known[:, 1:]])  # consecutive
    assert known.flatten()[: n - 1].all()
    assert columns * column - (n - 1) < columns
    assert all(("text" in batch.complete) == bool(known.all()) for batch in batches)


def test_the_state_of_a_stream_is_small_and_goes_on_from_there(tmp_path):
    source = TextSource(torch.arange(100), "text", 4, 3)
    stream = source.stream(3, 0, CPU)
    for _ in range(11):
        stream.draw()
    torch.save(stream.state_dict(), tmp_path / "state.pt")
    assert (tmp_path / "state.pt").stat().st_size < 2000
    expected = [stream.draw().inputs for _ in range(9)]
    again = source.stream(3, 1, CPU)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert all(torch.equal(again.draw().inputs, x) for x in expected)


def test_a_text_as_a_task():
    task = text_task(n=100, length=4, columns=3)
    assert (task.kind, task.metric, task.batch_size) == (LanguageModel(9), "perplexity", 3)
    assert (task.data.shape, task.data.tokens) == ((4,), 9)
    assert not task.higher_is_better
    assert labelled_samples(task, "train") == 24  # segments


@pytest.mark.parametrize(
    ("tokens", "options", "line"),
    [
        (torch.zeros(9), {}, r"is float32 \[9\]"),
        (torch.zeros(3, 3, dtype=torch.long), {}, r"is int64 \[3, 3\]"),
        (torch.zeros(1, dtype=torch.long), {}, "at least 2 token numbers"),
        (torch.arange(9), {"length": 0}, "length=0: give at least 1"),
        (torch.arange(9), {"columns": 0}, "columns=0: give at least 1"),
    ],
)
def test_what_is_no_text(tokens, options, line):
    with pytest.raises(InputError, match=line):
        TextSource(tokens, "text", **options)


def test_what_cannot_be_trained_on():
    source = TextSource(torch.arange(24), "text", length=12, columns=2)
    with pytest.raises(InputError, match="24 tokens, too few for 2 columns of 12: give at least 25"):
        source.stream(2, 0, CPU)
    with pytest.raises(InputError, match="batch_size=2"):
        source.stream(32, 0, CPU)
    TextSource(torch.arange(25), "text", length=12, columns=2).stream(2, 0, CPU)


def test_numbers_that_are_no_tokens():
    good, bad = torch.arange(9), torch.tensor([0, 9, -1])
    with pytest.raises(InputError, match="'text' holds token 9: give 0 to 8"):
        language_task("text", good, good, bad, 9)


# ------------------------------------------------------------------ words


def test_words_are_numbered_by_frequency():
    text = "the cat\n\nthe dog <unk> the cat\n"
    numbers = number_words(text)
    assert list(numbers) == ["the", "<eos>", "cat", "dog", "<unk>"]
    assert list(numbers.values()) == [0, 1, 2, 3, 4]
    assert encode_words(text, numbers).tolist() == [0, 2, 1, 1, 0, 3, 4, 0, 2, 1]


def test_new_words_are_unknown():
    numbers = number_words("a b a")
    assert list(numbers) == ["a", "b", "<eos>", "<unk>"]
    assert encode_words("a bird", numbers).tolist() == [0, 3, 2]
