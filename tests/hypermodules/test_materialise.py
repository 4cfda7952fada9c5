"""Plain models again: equal to the generated ones, and of the classes that were given."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moduli import Dense, InputError
from moduli.hypermodules import MappingEvolution, reparameterize

transformers = pytest.importorskip("transformers")
NOW = MappingEvolution(burn_in=0, candidates=2, epsilon=0.1)


class First(nn.Module):
    """What a recurrent layer or attention puts out, without its states or weights."""

    def __init__(self, layer: nn.Module, cell: bool = False):
        super().__init__()
        self.layer, self.cell = layer, cell

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.MultiheadAttention):
            q, k, v = x, x[..., : self.layer.kdim], x[..., : self.layer.vdim]
            return self.layer(q, k, v)[0]
        out = self.layer(x[:, 0]) if self.cell else self.layer(x)
        return out[0] if isinstance(out, tuple) else out


SEQUENCE = lambda: torch.randn(3, 5, 8)  # noqa: E731
LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "linear": (lambda: nn.Linear(8, 6), lambda: torch.randn(3, 8)),
    "linear-uneven": (lambda: nn.Linear(7, 5), lambda: torch.randn(3, 7)),
    "dense": (lambda: Dense(8), lambda: torch.randn(3, 8)),
    "conv1d": (lambda: nn.Conv1d(8, 4, 3), lambda: torch.randn(2, 8, 5)),
    "conv2d": (lambda: nn.Conv2d(8, 5, 3, padding=1), lambda: torch.randn(2, 8, 4, 4)),
    "conv3d": (lambda: nn.Conv3d(4, 4, 2), lambda: torch.randn(2, 4, 3, 3, 3)),
    "grouped": (lambda: nn.Conv2d(8, 4, 3, groups=2), lambda: torch.randn(2, 8, 4, 4)),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8), lambda: torch.randn(2, 8, 4, 4)),
    "transposed1d": (lambda: nn.ConvTranspose1d(8, 4, 3), lambda: torch.randn(2, 8, 4)),
    "transposed2d": (lambda: nn.ConvTranspose2d(8, 6, 3, groups=2), lambda: torch.randn(2, 8, 4, 4)),
    "lstm": (lambda: First(nn.LSTM(8, 4, 2, batch_first=True)), SEQUENCE),
    "lstm-projected": (lambda: First(nn.LSTM(8, 6, proj_size=4)), SEQUENCE),
    "lstm-both-ways": (lambda: First(nn.LSTM(8, 4, bidirectional=True)), SEQUENCE),
    "gru": (lambda: First(nn.GRU(8, 4)), SEQUENCE),
    "rnn": (lambda: First(nn.RNN(8, 4)), SEQUENCE),
    "lstm-cell": (lambda: First(nn.LSTMCell(8, 4), cell=True), SEQUENCE),
    "gru-cell": (lambda: First(nn.GRUCell(8, 4), cell=True), SEQUENCE),
    "rnn-cell": (lambda: First(nn.RNNCell(8, 4), cell=True), SEQUENCE),
    "attention": (lambda: First(nn.MultiheadAttention(8, 2, batch_first=True)), SEQUENCE),
    "attention-apart": (lambda: First(nn.MultiheadAttention(8, 2, kdim=4, vdim=6)), SEQUENCE),
    "encoder-layer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), SEQUENCE),
}


def train(model: nn.Module, inputs: dict, steps: int = 3) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        sum((y.square().mean() for y in model(inputs).values()), torch.zeros(())).backward()
        optimizer.step()


def settled(model) -> None:
    """Ends the competition: a plain model has one module at each place."""
    model.evolution.settle(model, None)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", LAYERS)
def test_every_kind_of_layer(name):
    torch.manual_seed(0)
    make, draw = LAYERS[name]
    given, x = make(), draw()
    before, expected = copy.deepcopy(given.state_dict()), given.eval()(x)
    model = reparameterize(
        {"a": given}, block=(4, 2), context=3, adapters=[], uneven="truncate", evolution=NOW
    ).eval()
    kinds = ("weight", "in_proj_weight")
    assert all(w.name.split(".")[-1].startswith(kinds) or "_proj_" in w.name for w in model.coverage.weights)
    settled(model)
    torch.testing.assert_close(reparameterize({"a": given}, block=(4, 2), adapters=[], uneven="truncate",
                                              evolution=None).eval()({"a": x})["a"], expected)  # fmt: skip

    model.evolution.propose(model, None)
    train(model, {"a": x})
    assert {n for n, p in model.named_parameters() if p.grad is None} == set()
    settled(model)
    plain, y = model.materialise()["a"], model.eval()({"a": x})["a"]
    assert type(plain) is type(given)
    fresh = make()
    fresh.load_state_dict(plain.state_dict(), strict=True)
    for other in (plain.eval(), fresh.eval()):
        torch.testing.assert_close(other(x), y)
        assert all(isinstance(p, nn.Parameter) for p in other.parameters())
    assert not torch.allclose(y, expected)
    assert plain.state_dict().keys() == before.keys()
    for key, value in given.state_dict().items():
        assert torch.equal(value, before[key]), f"{key} of the model that was given has changed"


def test_while_candidates_compete_the_mix_is_what_comes_out():
    torch.manual_seed(0)
    given = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    model = reparameterize({"a": given}, block=(4, 4), adapters=[], evolution=NOW)
    x = torch.randn(3, 8)
    assert len(model.hypermodules.competing)
    torch.testing.assert_close(model.materialise()["a"](x), model({"a": x})["a"])


def test_a_materialised_model_is_apart():
    given = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model = reparameterize({"a": given}, block=(4, 4), adapters=[], evolution=None)
    x = torch.randn(3, 8)
    y = model({"a": x})["a"].detach()
    plain = model.materialise()["a"]
    with torch.no_grad():
        for p in plain.parameters():
            p.zero_()
    torch.testing.assert_close(model({"a": x})["a"], y)
    assert plain(x).eq(0).all()


# ------------------------------------------------------------------ what is held in several places


def test_a_layer_of_two_models_stays_one():
    shared = nn.Linear(8, 8)
    models = {"a": nn.Sequential(nn.Linear(4, 8), shared), "b": nn.Sequential(nn.Linear(6, 8), shared)}
    model = reparameterize(models, block=(4, 4), adapters=["*.0.*", "*.bias"], evolution=None)
    (weight,) = model.coverage.weights
    assert weight.tasks == ("a", "b")
    inputs = {"a": torch.randn(3, 4), "b": torch.randn(3, 6)}
    train(model, inputs)
    plain = model.materialise()
    assert plain["a"][1].weight is plain["b"][1].weight  # type: ignore[index]
    assert plain["a"][1].weight is not shared.weight  # type: ignore[index]
    for task, y in model(inputs).items():
        torch.testing.assert_close(plain[task](inputs[task]), y)


class Twice(nn.Module):
    """One layer under two names, one weight in two layers, and an embedding tied with a decoder."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.one = nn.Linear(8, 8)
        self.again = self.one
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.one.weight
        self.decoder = nn.Linear(8, 12)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.one(self.embedding(tokens)).relu()
        return self.decoder(self.tied(self.again(x).relu()))


def test_one_weight_in_several_places():
    torch.manual_seed(0)
    given, tokens = Twice(), torch.randint(12, (3, 5))
    model = reparameterize({"a": given}, block=(4, 4), adapters=[], evolution=None)
    assert [w.name for w in model.coverage.weights] == ["a.one.weight"]
    reasons = {left.name: left.reason for left in model.coverage.left_out}
    assert "a.embedding.weight" in reasons
    torch.testing.assert_close(model({"a": tokens})["a"], given(tokens))
    train(model, {"a": tokens})
    plain = model.materialise()["a"]
    assert plain.one is plain.again
    assert plain.tied.weight is plain.one.weight
    assert plain.decoder.weight is plain.embedding.weight
    fresh = Twice()
    fresh.load_state_dict(plain.state_dict(), strict=True)
    torch.testing.assert_close(fresh(tokens), model({"a": tokens})["a"])


def test_a_joint_model_has_no_models_to_give_back():
    from synthetic import tiny_model, tiny_tasks

    tasks = tiny_tasks()
    model = reparameterize(tiny_model(tasks, "soft"), block=(2, 2), evolution=None)
    with pytest.raises(InputError, match=r"see exported\(\)"):
        model.materialise()
    inputs = {task.data.name: torch.randn(3, *task.data.shape) for task in tasks}
    plain = model.exported()
    assert not any("hypermodules" in name for name in plain.state_dict())
    for task, y in model.eval()(inputs).items():
        torch.testing.assert_close(plain.eval()(inputs)[task], y)


# ------------------------------------------------------------------ models of other libraries


class Logits(nn.Module):
    """A model of Hugging Face's library, with its logits as what comes out."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).logits


def bert() -> nn.Module:
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=12, num_labels=3,
    )  # fmt: skip
    return Logits(transformers.BertForSequenceClassification(config))


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(vocab_size=30, n_positions=12, n_embd=16, n_layer=2, n_head=2)
    return Logits(transformers.GPT2LMHeadModel(config))


def vit() -> nn.Module:
    config = transformers.ViTConfig(
        image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, num_labels=3,
    )  # fmt: skip
    return Logits(transformers.ViTForImageClassification(config))


def regnet() -> nn.Module:
    config = transformers.RegNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=8, layer_type="y", num_labels=3
    )
    return Logits(transformers.RegNetForImageClassification(config))


def convnext() -> nn.Module:
    config = transformers.ConvNextConfig(
        patch_size=4, num_stages=2, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3
    )
    return Logits(transformers.ConvNextForImageClassification(config))


def words() -> Tensor:
    return torch.randint(30, (4, 10))


def images() -> Tensor:
    return torch.randn(4, 3, 16, 16)


class SmallConv(nn.Module):
    """A convolutional network written by hand."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.last = nn.BatchNorm2d(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv2(self.conv1(x).relu())))
        return self.last(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("make", "draw"),
    [(bert, words), (gpt2, words), (vit, images), (regnet, images), (convnext, images)],
    ids=["bert", "gpt2", "vit", "regnet", "convnext"],
)
def test_with_a_convolutional_network(make, draw):
    torch.manual_seed(0)
    models = {"theirs": make(), "ours": SmallConv()}
    inputs = {"theirs": draw(), "ours": images()}
    expected = {name: model.eval()(inputs[name]) for name, model in models.items()}
    model = reparameterize(models, block=(8, 8), context=2, uneven="truncate", evolution=None)
    for name, y in model.eval()(inputs).items():
        torch.testing.assert_close(y, expected[name])
    often = MappingEvolution(burn_in=0, select="random", share=1.0)
    model = reparameterize(models, block=(8, 8), context=2, uneven="truncate", evolution=often)
    assert {task for weight in model.coverage.weights for task in weight.tasks} == {"theirs", "ours"}
    for _ in range(2):
        train(model, inputs, steps=2)
        settled(model)
        model.evolution.propose(model, None)
    settled(model)
    outputs = model.eval()(inputs)
    assert any(len(tasks) == 2 for tasks, _ in model._sharing()), "no module is used by both"
    for name, plain in model.materialise().items():
        fresh = {"theirs": make, "ours": SmallConv}[name]()
        fresh.load_state_dict(plain.state_dict(), strict=True)
        torch.testing.assert_close(fresh.eval()(inputs[name]), outputs[name])
        assert not torch.allclose(outputs[name], expected[name])


# ------------------------------------------------------------------ numbers of other types


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_generated_weights_have_the_type_of_the_originals(dtype):
    torch.manual_seed(0)
    given = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).to(dtype)
    models = {"typed": given, "plain": nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))}
    inputs = {"typed": torch.randn(3, 8, dtype=dtype), "plain": torch.randn(3, 8)}
    model = reparameterize(models, block=(4, 4), adapters=[], evolution=None)
    assert model.hypermodules.table.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.equal(given(inputs["typed"]), model(inputs)["typed"]) or dtype is torch.float64
    torch.testing.assert_close(given(inputs["typed"]), model(inputs)["typed"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sum((y.float().square().mean() for y in model(inputs).values()), torch.zeros(())).backward()
    optimizer.step()
    plain = model.materialise()["typed"]
    assert {p.dtype for p in plain.parameters()} == {dtype}
    assert torch.equal(plain(inputs["typed"]), model(inputs)["typed"])


def test_a_model_that_is_converted_later():
    given = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model = reparameterize({"a": given}, block=(4, 4), adapters=[], evolution=None)
    for dtype in (torch.float64, torch.bfloat16):
        x = torch.randn(3, 8, dtype=dtype)
        y = model.to(dtype)({"a": x})["a"]
        assert y.dtype == dtype
        assert torch.equal(copy.deepcopy(model).materialise()["a"](x), y)


def test_under_autocast():
    given = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model = reparameterize({"a": given}, block=(4, 4), adapters=[], evolution=NOW)
    with torch.autocast("cpu", torch.bfloat16):
        y = model({"a": torch.randn(3, 8)})["a"]
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert model.hypermodules.table.grad is not None
    assert model.hypermodules.table.grad.dtype == torch.float32


def test_within_the_weights_of_one_task_another_can_be_called():
    torch.manual_seed(0)
    models = {name: nn.Sequential(*(nn.Linear(16, 16) for _ in range(3))) for name in ("a", "b")}
    joint, x = reparameterize(models, evolution=None), torch.randn(2, 16)
    with joint.generated(["a"]):
        standing = joint.decoders.members[0][1].weight
        torch.testing.assert_close(joint({"b": x})["b"], models["b"](x))
        assert joint.decoders.members[0][1].weight is standing, "what stood stays"
    assert joint.decoders.members[0][1].weight is None
