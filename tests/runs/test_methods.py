"""Names and what is built from them."""

import pytest
import torch

from moduli import Dense, JointModel, dense_ends, soft
from moduli.errors import InputError
from moduli.runs.methods import BALANCES, METHODS
from moduli.tasks.arrays import from_arrays


def tables():
    X, y = torch.randn(40, 5), torch.randn(40)
    return from_arrays("a", X, y) + from_arrays("b", X[:, :3], (y > 0).long())


def images(size=(1, 13, 9)):
    return from_arrays("photo", torch.rand(40, *size), torch.arange(40) % 3)


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_maps_tables_and_images_to_the_outputs_of_their_tasks(kind):
    options = METHODS[kind].options(layers=2, width=6, dropout=0.1)
    for tasks in (tables(), images()):
        model = METHODS[kind].build(tasks, options, 0)
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
    with pytest.raises(InputError, match="all must be tables, or all images"):
        METHODS["hard"].build([*tables(), *images()], options, 0)


def test_weights_of_unknown_tasks_are_refused():
    balance = BALANCES["weights"]
    with pytest.raises(InputError, match=r"balance\.weights\.hart: no such task, did you mean 'heart'"):
        balance.build(["heart"], balance.options(weights={"hart": 2.0}))


def test_only_single_keeps_the_tasks_of_one_input_apart():
    X = torch.rand(30, 5)
    tasks = from_arrays("panel", X, {"a": torch.arange(30) % 3, "b": torch.rand(30)})
    for kind, method in METHODS.items():
        model = method.build(tasks, method.options(layers=2, width=6), 0)
        assert bool(model.shared_parameters()) == (kind != "single")
