"""Names and what is built from them."""

import pytest
import torch

from moduli import LSTM, Dense, JointModel, dense_ends, language_task, soft
from moduli.errors import InputError
from moduli.runs.methods import METHODS
from moduli.tasks.arrays import from_arrays

TRAINED = {kind: METHODS[kind] for kind in METHODS if METHODS[kind].fit is None}
OF_LAYERS = {kind: TRAINED[kind] for kind in TRAINED if kind not in ("cmtr", "muir")}
SMALL = {"cmtr": {"ranges": {"width": [4, 6], "filters": [2, 4]}}, "muir": {"width": 6, "block": (2, 2)}}


def tables():
    X, y = torch.randn(40, 5), torch.randn(40)
    return from_arrays("a", X, y) + from_arrays("b", X[:, :3], (y > 0).long())


def images(size=(1, 13, 9)):
    return from_arrays("photo", torch.rand(40, *size), torch.arange(40) % 3)


def texts(name="review", tokens=12, length=5):
    return from_arrays(name, torch.randint(0, tokens, (40, length)), torch.arange(40) % 2, tokens=tokens)


@pytest.mark.parametrize("kind", TRAINED)
def test_every_trained_method_maps_tables_texts_and_images_to_the_outputs_of_their_tasks(kind):
    searched = kind == "cmtr"
    options = METHODS[kind].options(layers=2, dropout=0.1, **SMALL.get(kind, {"width": 6}))
    for tasks in (tables(), images(), *([] if searched else [texts() + texts("letter", length=7)])):
        model = METHODS[kind].build(tasks, options, 0).eval()
        outputs = model(
            {
                task.data.name: next(iter(task.data.val.batches(4, torch.device("cpu")))).inputs
                for task in tasks
            }
        )
        assert {name: y.shape for name, y in outputs.items()} == {t.name: (4, t.kind.outputs) for t in tasks}


def test_a_named_method_is_the_model_that_python_would_build():
    tasks = tables()
    torch.manual_seed(3)
    named = METHODS["soft"].build(
        tasks, METHODS["soft"].options(layers=2, width=6, identity=True, depth=3), 0
    )
    torch.manual_seed(3)
    structure = soft(["a", "b"], lambda k: Dense(6), 2, depth=3, identity=True)
    plain = JointModel(tasks, structure, *dense_ends(tasks, 6))
    assert named.state_dict().keys() == plain.state_dict().keys()
    assert named.structure.routes == plain.structure.routes
    assert named.count_parameters() == plain.count_parameters()


def test_the_seed_decides_permuted_orders():
    build, options = METHODS["permuted"].build, METHODS["permuted"].options(layers=6, width=4)
    routes = [build(tables(), options, seed).structure.routes for seed in (0, 0, 1)]
    assert routes[0] == routes[1] != routes[2]


def test_impossible_images_are_refused_in_one_line():
    options = METHODS["hard"].options(layers=4, width=6)
    with pytest.raises(InputError, match="13×9: too small for 4 poolings, use at most 3 layers"):
        METHODS["hard"].build(images(), options, 0)
    with pytest.raises(InputError, match="8 channels: give a width of at least that"):
        METHODS["hard"].build(images((8, 32, 32)), options, 0)
    with pytest.raises(InputError, match="layers is 0, and the tasks are images"):
        METHODS["hard"].build(images(), METHODS["hard"].options(layers=0), 0)


def test_tables_images_and_texts_cannot_share_layers():
    options, message = METHODS["hard"].options(layers=1), "all must be tables, or all images, or all texts"
    with pytest.raises(InputError, match=message):
        METHODS["hard"].build([*tables(), *images()], options, 0)
    with pytest.raises(InputError, match=message + r" \(a \(5,\), b \(3,\), review \(5,\) tokens\)"):
        METHODS["hard"].build([*tables(), *texts()], options, 0)


def test_texts_share_an_lstm_that_only_single_has_for_each_task():
    tasks = texts() + texts("letter", length=7)
    for kind, method in OF_LAYERS.items():
        model = method.build(tasks, method.options(layers=1, width=6, encoder_dropout=0.3), 0)
        encoders = set(model.encoders.members)
        assert len(encoders) == (2 if kind == "single" else 1)
        assert all(isinstance(encoder, LSTM) for encoder in encoders)
        assert {(e.dropout, e.recurrent_dropout) for e in encoders} == {(0.3, 0.3)}
        shared = set(model.shared_parameters())
        assert shared.issuperset(next(iter(encoders)).parameters()) == (kind != "single")


def test_texts_that_share_an_lstm_have_one_vocabulary():
    tasks, options = texts() + texts("letter", tokens=9), METHODS["hard"].options(layers=0)
    with pytest.raises(InputError, match="'review' have 12 tokens, of 'letter' 9: number their words by one"):
        METHODS["hard"].build(tasks, options, 0)
    apart = METHODS["single"].build(tasks, options, 0)
    assert [encoder.embedding.num_embeddings for encoder in apart.encoders.members] == [12, 9]


@pytest.mark.parametrize("kind", ["single", "hard"])
def test_without_layers_decoders_read_the_encoders(kind):
    for tasks in (tables(), texts()):
        model = METHODS[kind].build(tasks, METHODS[kind].options(layers=0, width=6, dropout=0.5), 0)
        assert not list(model.structure.parameters())
        inputs = {t.data.name: next(iter(t.data.val.batches(4, torch.device("cpu")))).inputs for t in tasks}
        encoded = model.encoders({task.name: inputs[task.data.name] for task in tasks})
        torch.testing.assert_close(model(inputs), model.decoders(encoded))


@pytest.mark.parametrize("tasks", [tables(), images()], ids=["tables", "images"])
def test_encoder_dropout_is_for_texts(tasks):
    with pytest.raises(InputError, match="encoder_dropout is for texts, and there are none"):
        METHODS["hard"].build(tasks, METHODS["hard"].options(layers=1, encoder_dropout=0.2), 0)


def test_only_single_keeps_the_tasks_of_one_input_apart():
    X = torch.rand(30, 5)
    tasks = from_arrays("panel", X, {"a": torch.arange(30) % 3, "b": torch.rand(30)})
    for kind, method in OF_LAYERS.items():
        model = method.build(tasks, method.options(layers=2, width=6), 0)
        assert bool(model.shared_parameters()) == (kind != "single")


@pytest.mark.parametrize("kind", TRAINED)
def test_language_models_are_refused(kind):
    """Their outputs are a token at every position, and no decoder of these methods gives that."""
    text = torch.randint(0, 12, (300,))
    tasks = [*texts(), language_task("novel", text, text, text, 12, length=5, columns=4)]
    words = "are all tables" if kind == "cmtr" else r"'novel' is a language model.*LSTMLanguageModel"
    with pytest.raises(InputError, match=words) as caught:
        METHODS[kind].build(tasks, METHODS[kind].options(), 0)
    assert "\n" not in str(caught.value)
