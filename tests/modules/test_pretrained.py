"""Encoders of Hugging Face, made from small configurations: nothing is downloaded."""

import sys

import pytest
import torch

import moduli
from moduli import HuggingFaceEncoder
from moduli.errors import InputError, MissingExtra

transformers = pytest.importorskip("transformers", reason="needs the extra 'vision'")


def config(**changes):
    sizes = {"embedding_size": 4, "hidden_sizes": [4, 6], "depths": [1, 1], "layer_type": "basic"}
    return transformers.ResNetConfig(**{**sizes, **changes})


def test_it_is_the_model_up_to_its_average_pooling():
    encoder = HuggingFaceEncoder(config()).eval()
    images = torch.rand(3, 3, 32, 32)
    maps = encoder.model(images).last_hidden_state
    assert encoder.outputs == 6
    torch.testing.assert_close(encoder(images), maps.mean((2, 3)))


def test_a_linear_layer_projects_to_the_width():
    encoder = HuggingFaceEncoder(config(), width=5).eval()
    images = torch.rand(2, 3, 32, 32)
    pooled = encoder.model(images).pooler_output.flatten(1)
    expected = pooled @ encoder.projection.weight.T + encoder.projection.bias
    assert encoder.outputs == 5
    torch.testing.assert_close(encoder(images), expected)


def test_a_resnet_50_has_2048_outputs_and_its_24_million_parameters():
    with torch.device("meta"):
        encoder = HuggingFaceEncoder(transformers.ResNetConfig())
    assert encoder.outputs == 2048
    assert sum(p.numel() for p in encoder.parameters()) == 23_508_032


def test_other_models_that_pool():
    sizes = {"hidden_size": 8, "intermediate_size": 8, "image_size": 16, "patch_size": 8}
    vit = transformers.ViTConfig(num_hidden_layers=1, num_attention_heads=2, **sizes)
    assert HuggingFaceEncoder(vit)(torch.rand(2, 3, 16, 16)).shape == (2, 8)


def test_weights_come_from_the_seed():
    def first(seed):
        torch.manual_seed(seed)
        return next(HuggingFaceEncoder(config()).parameters())

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_a_name_brings_its_weights_along(tmp_path):
    saved = transformers.ResNetModel(config())
    saved.save_pretrained(tmp_path)
    loaded = HuggingFaceEncoder(str(tmp_path), width=5)
    assert all(torch.equal(x, saved.state_dict()[name]) for name, x in loaded.model.state_dict().items())
    fresh = HuggingFaceEncoder(str(tmp_path), pretrained=False)
    assert not torch.equal(next(fresh.model.parameters()), next(saved.parameters()))


def test_it_is_shared_trained_and_saved_like_any_encoder(tmp_path):
    images, labels = torch.rand(12, 3, 16, 16), torch.arange(12) % 2
    tasks = moduli.from_arrays("faces", images, {"a": labels, "b": 1 - labels}, val=0.25, test=0.25)

    def build(seed):
        core = moduli.soft(["a", "b"], lambda k: moduli.Dense(5), 2)
        encoders = {"faces": HuggingFaceEncoder(config(), width=5)}
        return moduli.JointModel(tasks, core, encoders, moduli.LinearBank({"a": (5, 1), "b": (5, 1)}))

    options = {"steps": 4, "phase": 2, "batch_size": 4, "device": "cpu", "folder": tmp_path}
    first = moduli.compare({"soft": build}, tasks, 1, **options)
    again = moduli.compare({"soft": build}, tasks, 1, **options)  # from the saved weights, buffers included
    batch = torch.rand(2, 3, 16, 16)
    one, two = (c.best_models["soft"].eval()({"faces": batch})["a"] for c in (first, again))
    assert torch.equal(one, two)
    before = build(0).encoders({"faces": batch})["faces"]
    assert not torch.equal(first.best_models["soft"].encoders({"faces": batch})["faces"], before)


def test_what_is_no_model(tmp_path):
    with pytest.raises(InputError, match=r"cannot load the encoder '.*nothing'") as caught:
        HuggingFaceEncoder(str(tmp_path / "nothing"))
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_pool():
    encoder = HuggingFaceEncoder(config())
    encoder.model.forward = lambda images: transformers.modeling_outputs.BaseModelOutput(images)
    with pytest.raises(InputError, match="ResNetModel does not pool"):
        encoder(torch.rand(1, 3, 8, 8))


def test_transformers_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'moduli\[vision\]'"):
        HuggingFaceEncoder("microsoft/resnet-50")
